"""A model that the server explains, and its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.results.shown import Shown


@dataclass(frozen=True)
class Layer(Shown):
    """A module of a network whose output is one tensor."""

    name: str
    """The module's path in the network."""
    type: str
    """The module's class."""
    shape: tuple[int, ...]
    """The shape of its output for one image."""
    aliases: tuple[str, ...] = ()
    layout: str = ""
    """How its output holds a map of positions and channels: "chw" [channels, rows, columns], "hwc" [rows, columns,
    channels], "tokens" [prefix tokens + rows * columns, channels], "vector" [channels]; "none": it holds no map. Empty:
    the server does not tell."""
    grid: tuple[int, int] = (0, 0)
    """The map's rows and columns of positions, laid over the network's input."""
    prefix_tokens: tuple[str, ...] = ()
    """The tokens before the first position: "cls", "reg0", "distill"; "" where nobody knows its name."""
    signed: bool = False
    """Whether it is known to output negative numbers."""

    @property
    def is_map(self) -> bool:
        """Whether its output holds a map, which every call but `activations` needs."""
        return self.layout in ("chw", "hwc", "tokens", "vector")

    @property
    def is_spatial(self) -> bool:
        """Whether its output is [channels, height, width]."""
        return self.layout == "chw"

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return self.shape[0] if self.layout in ("chw", "vector") else self.shape[-1]

    def to_map(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return whole outputs [N, *shape], as `activations` gives them, as maps [N, channels, rows, columns].

        Raises:
            ValueError: they hold no map.
        """
        if not self.is_map:
            raise ValueError(f"{self.name} {list(self.shape)} holds no map of positions and channels")
        if self.layout == "tokens":
            outputs = outputs[:, len(self.prefix_tokens) :]
        channels_last = outputs if self.layout in ("hwc", "tokens") else np.moveaxis(outputs, 1, -1)
        return np.moveaxis(channels_last.reshape(len(outputs), *self.grid, self.channels), -1, 1)


@dataclass(frozen=True)
class Model(Shown):
    """A network with its weights."""

    name: str
    version: str
    """Its network's identity, in hexadecimal. Icons, names, natural examples and bases belong to it."""
    architecture: str = ""
    input_size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    channels: int = 3
    """Of its images: 3 are RGB, 1 is grey, 4 are RGBA."""
    classes: tuple[str, ...] = field(default=(), repr=False)
    """In the order of its logits. Empty: it classifies nothing, and answers everything but predictions."""
    activation: str = "softmax"
    """What makes probabilities of logits: "softmax", "sigmoid" or "none"."""
    target_kinds: tuple[str, ...] = ()
    """What effects can be on: "class", "output", "embedding", "region", "box"."""
    outputs: int = 0
    """How many numbers the vector has that it answers with: logits, or an embedding."""
    target_classes: tuple[str, ...] = field(default=(), repr=False)
    """What a segmenter's regions and a detector's boxes are of."""
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    default: bool = False
    """Whether the server takes it where a request names no model."""
    batch_limits: Mapping[str, int] = field(default_factory=dict)
    """By device: how many images one forward takes."""
