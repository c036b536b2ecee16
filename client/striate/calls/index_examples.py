"""IndexExamples: keeping what natural images show of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from striate.calls.fields import fit_value, layer_names
from striate.calls.options import ImageOptions
from striate.calls.replies import read_layer
from striate.images import LabelledImage, write_image
from striate.results.examples import IndexProgress
from striate.uploads import Upload
from striate.v1 import examples_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class IndexExamplesCall(ImageOptions):
    """Run these images through a model once, keep what they show of some layers, and say how far that is."""

    images: Iterable[LabelledImage] = field(repr=False)
    """Such as `striate.image_folder` lists. They are read as the server takes them, so there may be any number."""
    layers: str | Sequence[str]
    """Paths or aliases, one or several."""
    examples: int | None = None
    """How many to keep of each channel, 5 by default."""

    def upload(self, max_message_bytes: int) -> Upload[messages.IndexExamplesRequest]:
        """Return the requests, of which none is larger than a message may be."""
        start = messages.IndexStart(
            model=self.model, layers=layer_names(self.layers), fit=fit_value(self.fit), examples=self.examples
        )
        return Upload(
            messages.IndexExamplesRequest(start=start),
            ((image.name, _image_message(image)) for image in self.images),
            lambda batch: messages.IndexExamplesRequest(images=messages.IndexImages(images=batch)),
            max_message_bytes,
        )

    def result(
        self, response: messages.IndexExamplesResponse, upload: Upload[messages.IndexExamplesRequest]
    ) -> IndexProgress:
        return IndexProgress(
            indexed=response.indexed,
            skipped=[*upload.newly_skipped(), *((each.name, each.reason) for each in response.skipped)],
            layers={read_layer(each.layer): each.named_channels for each in response.layers},
        )


def _image_message(image: LabelledImage) -> messages.LabelledImage:
    message = messages.LabelledImage(class_name=image.class_name, name=image.name)
    write_image(message.image, image.image)
    return message
