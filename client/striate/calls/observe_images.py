"""Observe: images that a monitor sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from striate.calls.monitors import as_observed, observed_message
from striate.images import Image, LabelledImage, ObservedImage
from striate.results.monitoring import ObserveProgress
from striate.uploads import Upload
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ObserveImagesCall:
    """Let a monitor see these images."""

    monitor: str
    """Its name."""
    images: Iterable[Image | LabelledImage | ObservedImage] = field(repr=False)
    """They are read as the server takes them, so there may be any number."""
    reference: bool = False
    """They are of the reference, not of traffic."""

    def upload(self, max_message_bytes: int) -> Upload[messages.ObserveRequest]:
        """Return the requests, of which none is larger than a message may be."""
        start = messages.ObserveStart(monitor=self.monitor, reference=self.reference)
        return Upload(
            messages.ObserveRequest(start=start),
            ((as_observed(image).id, observed_message(image)) for image in self.images),
            lambda batch: messages.ObserveRequest(images=messages.ObserveImages(images=batch)),
            max_message_bytes,
        )

    def result(self, response: messages.ObserveResponse, upload: Upload[messages.ObserveRequest]) -> ObserveProgress:
        return ObserveProgress(
            stored=response.stored,
            repeated=response.repeated_images,
            skipped=[*upload.newly_skipped(), *((each.name, each.reason) for each in response.skipped)],
        )
