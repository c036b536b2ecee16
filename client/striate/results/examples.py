"""What natural images have shown of a layer's channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from striate.results.models import Layer, Model
from striate.results.neurons import Example, Label
from striate.results.shown import Shown


@dataclass(frozen=True)
class IndexProgress(Shown):
    """How far indexing is."""

    indexed: int
    """Images so far."""
    skipped: list[tuple[str, str]]
    """(name, why) of images that could not be read, since the last report."""
    layers: dict[Layer, int]
    """In the last report, when all is stored: how many channels of each layer the images' classes name."""


@dataclass(frozen=True)
class ChannelExamples(Shown):
    """What natural images have shown of a channel."""

    channel: int
    label: Label
    """As somebody has named it, or else by the classes of the images that excite it."""
    examples: list[Example] = field(repr=False)
    """Strongest first."""
    quantiles: dict[float, float]
    """By share: the value below which this share of the channel's activations lies, over all images and positions."""
    mean_peaks: dict[str, float]
    """By class, strongest first: the mean over the class's images of the channel's largest activation."""

    @property
    def name(self) -> str:
        """The label's text, or else the channel's number."""
        return self.label.text or f"channel {self.channel}"


@dataclass(frozen=True)
class LayerExamples(Shown):
    """What natural images have shown of a layer."""

    model: Model = field(repr=False)
    layer: Layer
    images: int
    """How many images were indexed."""
    indexed: datetime
    """When, in UTC."""
    channels: dict[int, ChannelExamples] = field(repr=False)
    """By channel."""
