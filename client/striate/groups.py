"""Neuron groups: what `factorize` and bases return. Arrays are numpy's; N images, K groups, C channels, M classes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate.group_key import draw_key
from striate.results import Icon, Label, Layer, Model, Predictions, View


@dataclass(frozen=True)
class Crop:
    """A place where a group is present."""

    image: int
    """Which of the images."""
    box: tuple[float, float, float, float]
    """left, top, right, bottom in that image's pixels."""
    strength: float
    """At its centre."""


@dataclass(frozen=True)
class Fidelity:
    """What becomes of the prediction for an image when nothing but the groups is left of the layer."""

    kl_divergence: float
    """In nats, from the network's own probabilities to those then."""
    same_top_class: bool


@dataclass(frozen=True)
class Choice:
    """What a number of groups would leave unexplained."""

    components: int
    relative_error: float
    explained_variance: float
    """1 - relative_error^2"""


@dataclass(frozen=True)
class Group:
    """Neurons that are active together."""

    color: str
    """ "#rrggbb" """
    icon_file: Icon = field(repr=False)
    label: Label
    importance: float
    """The share of the activations that the group explains by itself, 0 to 1."""
    channels: list[int]
    """Its strongest, at most 5."""
    effects: dict[str, float]
    """On each class, summed over positions and images."""
    crops: list[Crop] = field(default_factory=list, repr=False)
    """Where in the given images it is strongest, at most 4, strongest first."""
    sobol_indices: dict[str, float] = field(default_factory=dict)
    """On each class, the mean over images; empty unless they were asked for."""

    @property
    def name(self) -> str:
        return self.label.text or "channels " + ", ".join(map(str, self.channels[:3]))

    @property
    def icon(self) -> Pillow.Image | None:
        """The feature visualization of the group's direction; None while it is not rendered."""
        return self.icon_file.image


@dataclass(frozen=True)
class Factorization:
    """Neuron groups of some images, by non-negative matrix factorization."""

    model: Model | None = field(repr=False)
    layer: Layer | None
    views: list[View] = field(repr=False)
    predictions: list[Predictions]
    spatial: NDArray[np.float32] = field(repr=False)
    """[N, H, W, K]: how strongly each group is present."""
    directions: NDArray[np.float32] = field(repr=False)
    """[K, C], of unit length."""
    relative_error: float
    """||X - W H|| / ||X||"""
    groups: list[Group]
    classes: list[str]
    effects: NDArray[np.float32] = field(repr=False)
    """[N, K, M]"""
    residual_effects: NDArray[np.float32] = field(repr=False)
    """[N, M]: the effects of what the groups leave out."""
    overlays: list[bytes] = field(repr=False)
    """WebP files, one an image."""
    images: list[Pillow.Image | None] = field(repr=False)
    """What the network saw of each; None if the image was preprocessed."""
    fidelity: list[Fidelity] = field(default_factory=list)
    """One an image; none without classes."""
    choices: list[Choice] = field(default_factory=list, repr=False)
    """The numbers of groups that were tried, where none was given."""
    sobol_indices: NDArray[np.float32] | None = field(default=None, repr=False)
    """[N, K, M]: the share of a logit's variance that is lost when a group alone stops varying."""
    basis: str = ""
    """The basis that these groups are, or were saved as."""

    def overlay(self, number: int = 0) -> Pillow.Image:
        """Return the groups' colours over image `number`."""
        return Pillow.open(io.BytesIO(self.overlays[number]))

    def key(self) -> Pillow.Image:
        """Return what the colours of `overlay` stand for, a row a group: colour, icon, name, and importance."""
        return draw_key(self.groups)

    def crops(self, k: int) -> list[Pillow.Image]:
        """Return the places where group `k` is strongest, cut out of the images; none of preprocessed ones."""
        found = []
        for crop in self.groups[k].crops:
            image, view = self.images[crop.image], self.views[crop.image]
            if image is not None:
                start = round(view.crop[0]), round(view.crop[1])
                left, top, right, bottom = (round(edge) - start[axis % 2] for axis, edge in enumerate(crop.box))
                found.append(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
        return found

    @property
    def pending_icons(self) -> int:
        """How many icons are not rendered yet."""
        return sum(group.icon_file.status == "queued" for group in self.groups)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        from striate.show.html import page

        return page(self.layer.name if self.layer else "activations", [self], path)


@dataclass(frozen=True)
class Flow:
    """How K groups of one layer feed L groups of the next, by linear attribution."""

    influence: NDArray[np.float32] = field(repr=False)
    """[N, K, L]: the gradient of group l's strength times group k's part of the activations."""
    residual: NDArray[np.float32] = field(repr=False)
    """[N, L]: the same for what the earlier groups leave out."""


@dataclass(frozen=True)
class FactorizedLayers:
    """The groups of several layers of the same images."""

    layers: list[Factorization]
    """In the order in which they compute."""
    flows: list[Flow]
    """The i-th is from layers[i] to layers[i + 1]."""

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        from striate.show.html import page

        return page(" to ".join(each.layer.name for each in self.layers if each.layer), [self, *self.layers], path)


@dataclass(frozen=True)
class BuildProgress:
    """How far the building of a basis is."""

    phase: str
    """ "reading": images go through the network; "factorizing"; "saved": the last."""
    image_count: int
    """Images that have gone through the network."""
    total_images: int | None
    """Where the server reads a folder."""
    progress: float
    """Of factorizing, 0 to 1."""
    skipped: list[tuple[str, str]]
    """Images that could not be read since the last one, and why; they go by their number, or path in the folder."""
    basis: Basis | None = None
    """Once it is saved, without its groups."""


@dataclass(frozen=True)
class Basis:
    """Groups that are kept under a name, for one layer of one version of a model."""

    name: str
    model: Model
    layer: str
    components: int
    image_count: int
    """How many images they were found in."""
    relative_error: float
    """||X - W H|| / ||X|| over these."""
    fit: str
    """How these were brought to the model's input size: "crop", "stretch" or "pad"."""
    rectify: bool
    created: datetime
    """UTC."""
    groups: list[Group] = field(default_factory=list, repr=False)
    """Empty in a list of bases."""
    directions: NDArray[np.float32] | None = field(default=None, repr=False)
    """[K, C]; None in a list of bases."""
