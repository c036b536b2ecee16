"""BuildBasis: finding the groups of any number of images, and keeping them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from striate.calls.fields import fit_value, method_value
from striate.calls.options import ImageOptions, MethodOptions
from striate.calls.replies import read_basis_facts
from striate.images import Image, write_image
from striate.results.bases import Basis, BuildProgress
from striate.uploads import Upload
from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class BuildBasisCall(ImageOptions, MethodOptions):
    """Find groups in these images, keep them as a basis, and say how far that is."""

    name: str
    """What to save the groups as."""
    images: Iterable[Image] = field(repr=False)
    """They are read as the server takes them, so there may be any number of them; none where `folder` is given."""
    layer: str
    """The path or alias of a layer of shape [channels, height, width]."""
    components: int | None = None
    """How many groups, 6 by default."""
    folder: str = ""
    """A folder on the server's machine instead of images, within one that its setting `image_folders` allows."""

    def upload(self, max_message_bytes: int) -> Upload[messages.BuildBasisRequest]:
        """Return the requests, of which none is larger than a message may be."""
        start = messages.BuildStart(
            name=self.name,
            model=self.model,
            layer=self.layer,
            fit=fit_value(self.fit),
            components=self.components,
            method=method_value(self.method),
            rectify=self.rectify,
            folder=self.folder,
        )
        return Upload(
            messages.BuildBasisRequest(start=start),
            ((str(number), _image_message(image)) for number, image in enumerate(self.images)),
            lambda batch: messages.BuildBasisRequest(images=messages.BuildImages(images=batch)),
            max_message_bytes,
        )

    def result(
        self, response: messages.BuildBasisResponse, upload: Upload[messages.BuildBasisRequest]
    ) -> BuildProgress:
        skipped_here = upload.newly_skipped()
        return BuildProgress(
            phase=messages.BuildPhase.Name(response.phase).removeprefix("BUILD_PHASE_").lower(),
            image_count=response.image_count,
            total_images=response.total_images if response.HasField("total_images") else None,
            progress=response.progress,
            skipped=[
                *skipped_here,
                *((self._image_name(each.name, upload.skipped), each.reason) for each in response.skipped),
            ],
            basis=Basis(**read_basis_facts(response.basis)) if response.HasField("basis") else None,
        )

    def _image_name(self, name: str, skipped_here: list[tuple[str, str]]) -> str:
        """Return a path in the server's folder as it is, and an image's number as the caller counts.

        The server numbers the images that it gets, and images that were skipped here never reach it.
        """
        if self.folder:
            return name
        number = int(name)
        for skipped, _ in skipped_here:
            number += int(skipped) <= number
        return str(number)


def _image_message(image: Image) -> pb.Image:
    message = pb.Image()
    write_image(message, image)
    return message
