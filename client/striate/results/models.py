"""A model that the server explains, and its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layer:
    """A module of a network whose output is one tensor."""

    name: str
    """The module's path in the network."""
    type: str
    """The module's class."""
    shape: tuple[int, ...]
    """The shape of its output for one image."""
    aliases: tuple[str, ...] = ()

    @property
    def is_spatial(self) -> bool:
        """Whether its output is a map, [channels, height, width]."""
        return len(self.shape) == 3 and not self.shape[0] == self.shape[1] != self.shape[2]  # Swin: channels last

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return self.shape[0] if self.is_spatial else self.shape[-1]


@dataclass(frozen=True)
class Model:
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
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    default: bool = False
    """Whether the server takes it where a request names no model."""
    batch_limits: Mapping[str, int] = field(default_factory=dict)
    """By device: how many images one forward takes."""
