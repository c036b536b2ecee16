"""Descriptions of models, layers and preprocessing. Imports no torch, since the server's process uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input: resized, cropped and normalized as torchvision's presets do it."""

    resize: int | tuple[int, int]
    """The shorter side after resizing; or height and width, whatever they were; in pixels."""
    crop: int | tuple[int, int]
    """The part in the middle that the network sees: a square's side, or height and width, in pixels."""
    interpolation: str
    """ "bilinear" or "bicubic", both antialiased."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Per channel (RGB), of values from 0 to 1."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees, in pixels."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


@dataclass(frozen=True)
class LayerDescription:
    """A module whose output is one tensor."""

    path: str
    type: str
    shape: tuple[int, ...]
    """The output's shape for one image."""
    aliases: tuple[str, ...] = ()

    @property
    def is_spatial(self) -> bool:
        """Whether the output is a map, [channels, height, width]."""
        return len(self.shape) == 3 and channel_axis(self.shape) == 0

    @property
    def channels(self) -> int:
        return self.shape[channel_axis(self.shape)]


@dataclass(frozen=True)
class ModelDescription:
    name: str
    version: str
    """The network's identity (models/identity.py), in hexadecimal."""
    architecture: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    """In the order of the logits. Empty: the network classifies nothing."""
    layers: tuple[LayerDescription, ...] = field(repr=False)
    """In forward order."""
    activation: str = "softmax"
    """What makes probabilities of logits: "softmax", "sigmoid" or "none"."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        return (len(self.preprocessing.mean), *self.preprocessing.size)

    @cached_property
    def layer_by_name(self) -> dict[str, LayerDescription]:
        """Layers by path and by alias."""
        by_alias = {alias: layer for layer in self.layers for alias in layer.aliases}
        return by_alias | {layer.path: layer for layer in self.layers}


def channel_axis(shape: Sequence[int]) -> int:
    """Return the axis of the channels in a layer's output for one image.

    Vectors and sequences (a transformer's [tokens, channels]) have their channels last. Maps have them first, except
    that Swin and ConvNeXt have inner maps of [height, width, channels]. Input images are square, so two equal extents
    are a map's height and width.
    """
    if len(shape) != 3 or shape[0] == shape[1] != shape[2]:
        return len(shape) - 1
    return 0
