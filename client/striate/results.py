"""What the calls return. Arrays are numpy's; N images, K neurons or groups, M classes, P positions."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Predictions = list[tuple[str, float]]
"""(class name, probability), best first."""


@dataclass(frozen=True)
class Layer:
    """A module of a network whose output is one tensor."""

    name: str
    """Its path in the network."""
    type: str
    shape: tuple[int, ...]
    """Of its output for one image."""
    aliases: tuple[str, ...] = ()

    @property
    def is_spatial(self) -> bool:
        """Whether its output is a map, [channels, height, width]."""
        return len(self.shape) == 3 and not self.shape[0] == self.shape[1] != self.shape[2]  # Swin: channels last

    @property
    def channels(self) -> int:
        """How many it has."""
        return self.shape[0] if self.is_spatial else self.shape[-1]


@dataclass(frozen=True)
class Model:
    name: str
    version: str
    """The SHA-256 of its weights."""
    architecture: str = ""
    input_size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    classes: tuple[str, ...] = field(default=(), repr=False)
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    default: bool = False
    batch_limits: Mapping[str, int] = field(default_factory=dict)
    """How many images one forward takes, by device."""


@dataclass(frozen=True)
class View:
    """Which part of an image the network saw."""

    width: int
    height: int
    """Of the original in pixels, upright."""
    crop: tuple[float, float, float, float]
    """left, top, right, bottom in the original's pixels."""


@dataclass(frozen=True)
class Label:
    """A name of a neuron or group."""

    text: str
    """Empty: it has none."""
    source: str = ""
    """ "person", "dissection", "examples", "class_effect" or "imported"."""
    score: float | None = None
    author: str = ""
    layer: str = ""
    channel: int | None = None
    direction: tuple[float, ...] | None = field(default=None, repr=False)
    """[C], of unit length, where it is the name of a direction and not of a channel."""
    model_version: str = field(default="", repr=False)
    """The weights whose neuron it names."""
    created: datetime | None = None
    """UTC. None: it ships with the model, or was made for this answer."""
    ended: datetime | None = None
    """UTC: when it was replaced or deleted. None: it counts."""


@dataclass(frozen=True)
class Activations(Mapping[str, NDArray[Any]]):
    """Layers' outputs by name: [N, C, H, W], or [N, C] where reduced."""

    tensors: dict[str, NDArray[Any]] = field(repr=False)
    """By the names that were asked for."""
    predictions: list[Predictions]
    """One an image."""
    views: list[View] = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    model: Model = field(repr=False)

    def __getitem__(self, layer: str) -> NDArray[Any]:
        """Return a layer by the name that was asked for, or by its path."""
        for asked, described in zip(self.tensors, self.layers, strict=True):
            if layer in (asked, described.name, *described.aliases):
                return self.tensors[asked]
        raise KeyError(layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


@dataclass(frozen=True)
class Icon:
    """A picture of what excites a neuron or group."""

    status: str
    """ "ready", "queued", "not_requested" or "failed"."""
    data: bytes = field(default=b"", repr=False)
    """A WebP file, when ready."""

    @property
    def image(self) -> Pillow.Image | None:
        return Pillow.open(io.BytesIO(self.data)) if self.data else None


@dataclass(frozen=True)
class Example:
    """A part of a natural image that excites a neuron."""

    data: bytes = field(repr=False)
    """A WebP file."""
    activation: float
    """The neuron's largest in the image."""
    class_name: str = ""
    """What the image shows; empty: unknown."""
    image_name: str = ""
    """As whoever indexed it calls it."""

    @property
    def image(self) -> Pillow.Image:
        return Pillow.open(io.BytesIO(self.data))


@dataclass(frozen=True)
class Neuron:
    """A channel, at a position of an image."""

    channel: int
    label: Label
    icon_file: Icon = field(repr=False)
    activation: float = float("nan")
    effects: dict[str, float] = field(default_factory=dict)
    """On each class: activation times the gradient of its logit."""
    other_facets: list[Icon] = field(default_factory=list, repr=False)
    """Further pictures of what excites it, where several were asked for; `icon_file` is the first."""
    examples: list[Example] = field(default_factory=list, repr=False)
    """Natural images that excite it, strongest first, where they were asked for and its layer has been indexed."""

    @property
    def name(self) -> str:
        return self.label.text or f"channel {self.channel}"

    @property
    def icon(self) -> Pillow.Image | None:
        """The feature visualization; None while it is not rendered. It has an alpha channel if its recipe makes one."""
        return self.icon_file.image

    @property
    def facets(self) -> list[Pillow.Image]:
        """All its rendered pictures, of which `icon` is the first."""
        return [picture for file in (self.icon_file, *self.other_facets) if (picture := file.image)]


@dataclass(frozen=True)
class SemanticDictionary:
    """What each position of a layer means, in neurons."""

    model: Model = field(repr=False)
    layer: Layer
    view: View = field(repr=False)
    predictions: Predictions
    magnitude: NDArray[np.float32] = field(repr=False)
    """[H, W]: the length of each position's activation vector."""
    positions: NDArray[np.int32] = field(repr=False)
    """[P, 2]: (row, column)."""
    channels: NDArray[np.int32] = field(repr=False)
    """[P, K], strongest first."""
    activations: NDArray[np.float32] = field(repr=False)
    """[P, K]"""
    classes: list[str]
    effects: NDArray[np.float32] = field(repr=False)
    """[P, K, M]"""
    neurons: dict[int, Neuron] = field(repr=False)
    """Every channel that a position mentions."""
    image: Pillow.Image | None = field(repr=False)
    """What the network saw; None if the image was preprocessed."""
    logits: dict[str, float] = field(default_factory=dict, repr=False)
    """By class."""
    baseline_logits: dict[str, float] = field(default_factory=dict, repr=False)
    """By class, where the layer is 0, with integrated gradients: the effects of all neurons at all positions add up to
    `logits` less these."""
    position_icons: list[Icon] = field(default_factory=list, repr=False)
    """One a position, where they were asked for: what the layer as a whole sees there."""

    def at(self, row: int, column: int) -> list[Neuron]:
        """Return the strongest neurons of a position, strongest first.

        Raises:
            IndexError: the position was not asked for, or is not in the layer.
        """
        place = self._places.get((row, column))
        if place is None:
            _, height, width = self.layer.shape
            raise IndexError(f"({row}, {column}) is not among the positions; the layer has {height} x {width}")
        return [
            replace(
                self.neurons[int(self.channels[place, k])],
                activation=float(self.activations[place, k]),
                effects=dict(zip(self.classes, self.effects[place, k].tolist(), strict=True)),
            )
            for k in range(self.channels.shape[1])
        ]

    @property
    def pending_icons(self) -> int:
        """How many icons are not rendered yet."""
        icons = [*(neuron.icon_file for neuron in self.neurons.values()), *self.position_icons]
        return sum(icon.status == "queued" for icon in icons)

    def icon_at(self, row: int, column: int) -> Pillow.Image | None:
        """Return the icon of a position's whole activation vector; None while it is not rendered.

        Raises:
            IndexError: it was not asked for.
        """
        place = self._places.get((row, column))
        if place is None or not self.position_icons:
            raise IndexError(f"there is no icon of ({row}, {column}); ask for it with position_icons=True")
        return self.position_icons[place].image

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        from striate.show.html import page

        return page(self.layer.name, [self], path)

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        return {(row, column): place for place, (row, column) in enumerate(self.positions.tolist())}


@dataclass(frozen=True)
class RenderProgress:
    """How far rendering is."""

    completed: int
    total: int
    progress: float
    """0 to 1, of all optimization steps."""
    remaining: float | None
    """The server's estimate in seconds."""
    neurons: list[Neuron] = field(repr=False)
    """What was finished since the last one."""
