"""CreateMonitor: a monitor of a model's layers and of bases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from striate.calls.fields import fit_value, layer_names
from striate.calls.monitors import read_monitor
from striate.calls.options import ImageOptions
from striate.images import Image, LabelledImage, ObservedImage
from striate.results.monitoring import Monitor, Profile
from striate.v1 import monitoring_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class CreateMonitorCall(ImageOptions):
    """Compare the images of traffic with a reference, from now on."""

    name: str
    layers: str | Sequence[str] = ()
    """Paths or aliases of layers whose channels are watched."""
    bases: Sequence[str] = ()
    """Names of bases whose groups are watched."""
    reference: int | Profile | Iterable[Image | LabelledImage | ObservedImage] = field(default=(), repr=False)
    """Images without drift, such as `striate.image_folder` lists; a stored profile of the same layers and bases, which
    need not be named then; or how many first images of traffic become the reference."""
    window: int | None = None
    """How many of the newest images of traffic are compared, 500 by default."""
    pictures: bool = True
    """False: keep no pictures of images, only numbers."""

    @property
    def images(self) -> Iterable[Image | LabelledImage | ObservedImage]:
        """The reference, where it is sent."""
        return () if isinstance(self.reference, int | Profile) else self.reference

    def request(self) -> messages.CreateMonitorRequest:
        layers, bases = self.layers, self.bases
        if isinstance(self.reference, Profile) and not (layers or bases):
            layers, bases = self.reference.layers, self.reference.bases
        return messages.CreateMonitorRequest(
            name=self.name,
            model=self.model,
            layers=layer_names(layers) if layers else (),
            bases=bases,
            window=self.window,
            reference_from_traffic=self.reference if isinstance(self.reference, int) else 0,
            omit_pictures=not self.pictures,
            fit=fit_value(self.fit),
        )

    def result(self, response: messages.CreateMonitorResponse) -> Monitor:
        return read_monitor(response.monitor)
