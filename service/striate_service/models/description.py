"""Descriptions of models, layers and preprocessing. Imports no torch, since the server's process uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
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
    keeps_proportions: bool = False
    """Whether a `resize` to height and width keeps the picture's proportions, and so covers both: one is larger."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees, in pixels."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


class Layout(Enum):
    """How a layer's output for one image holds a map of positions and channels."""

    NONE = "none"
    """It holds none: attention weights, queries by heads, ..."""
    CHW = "chw"
    """[channels, rows, columns]"""
    HWC = "hwc"
    """[rows, columns, channels]"""
    TOKENS = "tokens"
    """[prefix tokens + rows * columns, channels]"""
    VECTOR = "vector"
    """[channels]: a map of one position."""


@dataclass(frozen=True)
class Tokens:
    """How a transformer's tokens lie, as its source tells. Outputs are still measured: these may be of other grids."""

    grid: tuple[int, int]
    """Rows and columns of positions."""
    prefix: tuple[str, ...] | None = None
    """Names of the tokens before the first position; None: the source does not tell."""


@dataclass(frozen=True)
class LayerDescription:
    """A module whose output is one tensor, whose first extent is the number of images."""

    path: str
    type: str
    shape: tuple[int, ...]
    """The output's shape for one image."""
    aliases: tuple[str, ...] = ()
    layout: Layout = Layout.NONE
    grid: tuple[int, int] = (0, 0)
    """The map's rows and columns of positions; (0, 0) where the output holds no map."""
    prefix_tokens: tuple[str, ...] = ()
    """Names of the tokens before the first position ("cls", "reg0", "distill"); "" where it is not known."""
    signed: bool = False
    """Whether it is known to output negative numbers."""

    @property
    def is_map(self) -> bool:
        return self.layout is not Layout.NONE

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in the output for one image. Where that holds no map, the last one."""
        return 0 if self.layout in (Layout.CHW, Layout.VECTOR) else len(self.shape) - 1

    @property
    def channels(self) -> int:
        return self.shape[self.channel_axis]

    @property
    def positions(self) -> int:
        """How many positions the map has."""
        return self.grid[0] * self.grid[1]

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Of the map: channels, rows, columns."""
        return (self.channels, *self.grid)


class TargetKind(Enum):
    """What effects of a network can be on: the kinds of techniques/targets.py, and classes, which are outputs."""

    CLASS = "class"
    OUTPUT = "output"
    EMBEDDING = "embedding"
    REGION = "region"
    BOX = "box"


@dataclass(frozen=True)
class ModelDescription:
    name: str
    version: str
    """The network's identity (models/identity.py), in hexadecimal."""
    architecture: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    """In the order of the logits. Empty: the network classifies no images."""
    layers: tuple[LayerDescription, ...] = field(repr=False)
    """In forward order."""
    activation: str = "softmax"
    """What makes probabilities of logits: "softmax", "sigmoid" or "none"."""
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Modules that are no layers, by path, and why: "it runs 4 times in a forward pass"."""
    outputs: int = 0
    """How many numbers the vector has that the network answers with: logits, or an embedding. 0: with none."""
    region_classes: tuple[str, ...] = ()
    """Of a segmenter, in the order of its maps."""
    box_classes: tuple[str, ...] = ()
    """Of a detector, in the order of its boxes' logits."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        return (len(self.preprocessing.mean), *self.preprocessing.size)

    @property
    def target_kinds(self) -> tuple[TargetKind, ...]:
        """What effects can be on."""
        of_vector = (TargetKind.OUTPUT, TargetKind.EMBEDDING) if self.outputs else ()
        return (
            *([TargetKind.CLASS] if self.classes else []),
            *of_vector,
            *([TargetKind.REGION] if self.region_classes else []),
            *([TargetKind.BOX] if self.box_classes else []),
        )

    @property
    def target_classes(self) -> tuple[str, ...]:
        """What a segmenter's regions and a detector's boxes are of."""
        return self.region_classes or self.box_classes

    @cached_property
    def layer_by_name(self) -> dict[str, LayerDescription]:
        """Layers by path and by alias."""
        by_alias = {alias: layer for layer in self.layers for alias in layer.aliases}
        return by_alias | {layer.path: layer for layer in self.layers}
