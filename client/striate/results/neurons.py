"""A neuron: its name, its icon, natural images that excite it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime

from PIL import Image as Pillow

from striate.results.icons import Icon
from striate.results.shown import Shown


@dataclass(frozen=True)
class Label(Shown):
    """A name of a neuron or group."""

    text: str
    """Empty: it has no name."""
    source: str = ""
    """ "person", "dissection", "examples", "class_effect", "imported", or "unavailable": it could not be looked up."""
    score: float | None = None
    """How well the name fits, by the measure of its source."""
    author: str = ""
    layer: str = ""
    channel: int | None = None
    direction: tuple[float, ...] | None = field(default=None, repr=False)
    """[C], of unit length, where a direction is named instead of a channel."""
    model_version: str = field(default="", repr=False)
    """The version of the model whose neuron is named."""
    created: datetime | None = None
    """UTC. None: the name ships with the model, or was found for this reply."""
    ended: datetime | None = None
    """UTC: when the name was replaced or deleted. None: it is in use."""


@dataclass(frozen=True)
class Example(Shown):
    """The part of a natural image that excites a neuron."""

    data: bytes = field(repr=False)
    """A WebP file."""
    activation: float
    """The neuron's largest activation in the image."""
    class_name: str = ""
    """What the image shows; empty: unknown."""
    image_name: str = ""
    """The image's name, as it was given when the image was indexed."""

    @property
    def image(self) -> Pillow.Image:
        """The picture."""
        return Pillow.open(io.BytesIO(self.data))


@dataclass(frozen=True)
class Neuron(Shown):
    """A channel, at a position of an image."""

    channel: int
    label: Label
    icon_file: Icon = field(repr=False)
    activation: float = float("nan")
    """At the position; NaN where the neuron is given without one."""
    effects: dict[str, float] = field(default_factory=dict)
    """By class or target: activation times the gradient of the class's logit."""
    other_facets: list[Icon] = field(default_factory=list, repr=False)
    """Further icons, where several facets were asked for; `icon_file` is the first."""
    examples: list[Example] = field(default_factory=list, repr=False)
    """Natural examples, strongest first, where they were asked for and the layer has been indexed."""
    negative_icon_file: Icon | None = field(default=None, repr=False)
    """What its negative direction looks for; None unless a dictionary lists it for a negative activation."""

    @property
    def sign(self) -> int:
        """-1 where its activation at the position is below 0, else 1."""
        return -1 if self.activation < 0 else 1

    @property
    def name(self) -> str:
        """The label's text, or else the channel's number; after a "-" where the activation is negative."""
        name = self.label.text or f"channel {self.channel}"
        return f"- {name}" if self.sign < 0 else name

    @property
    def icon(self) -> Pillow.Image | None:
        """The icon, of the direction in which it is active; None while it is not rendered. It has an alpha channel if
        its recipe makes one.
        """
        if self.sign < 0:
            return self.negative_icon_file.image if self.negative_icon_file else None
        return self.icon_file.image

    @property
    def facets(self) -> list[Pillow.Image]:
        """All its rendered icons, of which `icon` is the first."""
        return [picture for file in (self.icon_file, *self.other_facets) if (picture := file.image)]


@dataclass(frozen=True)
class RenderProgress(Shown):
    """How far the rendering of a layer's icons is."""

    completed: int
    """Icons that are rendered."""
    total: int
    progress: float
    """The share of all optimization steps that are done, 0 to 1."""
    remaining: float | None
    """The server's estimate of the time left, in seconds."""
    neurons: list[Neuron] = field(repr=False)
    """The neurons whose icons have been finished since the last report."""
