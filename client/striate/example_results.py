"""What natural images have shown of a layer's channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from striate.results import Example, Label, Layer, Model


@dataclass(frozen=True)
class IndexProgress:
    """How far indexing is."""

    indexed: int
    """Images so far."""
    skipped: list[tuple[str, str]]
    """(name, why) of images that could not be read, since the last one."""
    layers: dict[Layer, int]
    """In the last one, when all is stored: how many channels of each layer the images' classes name."""


@dataclass(frozen=True)
class ChannelExamples:
    """What natural images have shown of a channel."""

    channel: int
    label: Label
    """As somebody named it, else by the classes of the images that excite it."""
    examples: list[Example] = field(repr=False)
    """Strongest first."""
    quantiles: dict[float, float]
    """By share: the value below which so many of its activations lie, over all images and positions."""
    mean_peaks: dict[str, float]
    """By class, those that excite it most first: the mean over the class's images of its largest activation."""

    @property
    def name(self) -> str:
        return self.label.text or f"channel {self.channel}"


@dataclass(frozen=True)
class LayerExamples:
    """What natural images have shown of a layer."""

    model: Model = field(repr=False)
    layer: Layer
    images: int
    """How many there were."""
    indexed: datetime
    """When, in UTC."""
    channels: dict[int, ChannelExamples] = field(repr=False)
