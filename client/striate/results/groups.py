"""Groups of neurons that are active together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate.results.icons import Icon, Illustrated
from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.neurons import Label
from striate.results.shown import Shown


@dataclass(frozen=True)
class Crop(Shown):
    """A place in an image where a group is present."""

    image: int
    """The image's number."""
    box: tuple[float, float, float, float]
    """left, top, right, bottom in the image's pixels."""
    strength: float
    """The group's strength at the center."""


@dataclass(frozen=True)
class Fidelity(Shown):
    """How the prediction for an image changes when the layer is replaced by what its groups explain of it."""

    kl_divergence: float
    """In nats, from the network's own probabilities to those with the replaced layer."""
    same_top_class: bool
    """Whether the most probable class stays the same."""
    probabilities: list[float] = field(default_factory=list)
    """What becomes of the probabilities of the image's predictions, in their order. Empty: an earlier server does not
    say."""


@dataclass(frozen=True)
class Choice(Shown):
    """What a certain number of groups leaves unexplained."""

    components: int
    """The number of groups."""
    relative_error: float
    explained_variance: float
    """1 - relative_error^2"""


@dataclass(frozen=True)
class Convergence(Shown):
    """How a method that iterates ended."""

    iterations: int
    ran_out: bool
    """The most that were allowed were taken before it had settled."""


@dataclass(frozen=True)
class Group(Shown):
    """Neurons that are active together."""

    color: str
    """ "#rrggbb" """
    icon_file: Icon = field(repr=False)
    label: Label
    importance: float
    """The share of the activations that the group explains by itself, 0 to 1."""
    channels: list[int]
    """The strongest channels of its direction, at most 5."""
    effects: dict[str, float]
    """By class or target, summed over positions and images."""
    crops: list[Crop] = field(default_factory=list, repr=False)
    """The places where it is strongest in the given images, at most 4, strongest first."""
    sobol_indices: dict[str, float] = field(default_factory=dict)
    """By class, the mean over images; empty unless they were asked for."""

    @property
    def name(self) -> str:
        """The label's text, or else the strongest channels."""
        return self.label.text or "channels " + ", ".join(map(str, self.channels[:3]))

    @property
    def icon(self) -> Pillow.Image | None:
        """The icon of the group's direction; None while it is not rendered."""
        return self.icon_file.image


@dataclass(frozen=True)
class FactorizationData(Illustrated):
    """Neuron groups of some images, by matrix factorization: X = W H + what the groups leave out.

    X: the layer's activations, a row a position; W: the groups' strengths, `spatial`; H: their `directions`.
    """

    model: Model | None = field(repr=False)
    """None where activations were factorized that came from elsewhere."""
    layer: Layer | None
    """None where activations were factorized that came from elsewhere."""
    views: list[View] = field(repr=False)
    """One an image."""
    predictions: list[Predictions]
    """One an image."""
    spatial: NDArray[np.float32] = field(repr=False)
    """[N, H, W, K]: how strongly each group is present at each position; >= 0 but for the methods "pca" and
    "fast_ica"."""
    directions: NDArray[np.float32] = field(repr=False)
    """[K, C], of unit length; >= 0 for the method "nmf" only."""
    relative_error: float
    """||X - W H|| / ||X||, X being the layer as it is."""
    groups: list[Group]
    classes: list[str]
    """What effects are on: classes, or the targets that were asked for, in words."""
    effects: NDArray[np.float32] = field(repr=False)
    """[N, K, M]: the groups' effects on `classes`."""
    residual_effects: NDArray[np.float32] = field(repr=False)
    """[N, M]: the effects of what the groups leave out."""
    overlays: Sequence[bytes] = field(repr=False)
    """One an image: WebP files of the groups' colors over it, at most 640 pixels a side, drawn when they are looked at.
    """
    images: list[Pillow.Image | None] = field(repr=False)
    """What the network saw of each image; None if the image was preprocessed."""
    fidelity: list[Fidelity] = field(default_factory=list)
    """One an image; empty where the model has no classes."""
    choices: list[Choice] = field(default_factory=list, repr=False)
    """The numbers of groups that the server tried, where it chose the number."""
    sobol_indices: NDArray[np.float32] | None = field(default=None, repr=False)
    """[N, K, M]: the share of a logit's variance that is lost when one group alone stops varying."""
    basis: str = ""
    """The name of the basis that the groups come from, or were saved as."""
    method: str = ""
    """By which they were found, as `calls.options.Method` names it. Empty: an earlier server does not say."""
    convergence: Convergence | None = None
    """None where nothing was iterated."""
    smooth_max_pool: bool = False
    """Whether effects passed max pools by the gradient that `smooth_max_pool` asks for."""

    @property
    def left_out(self) -> float:
        """The share of the layer's squared norm that no group explains; `shares` and this add up to 1."""
        return min(1.0, self.relative_error**2)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """[K]: how what is explained divides among the groups: <w_k h_k, W H> / ||W H||^2 of it.

        Where groups overlap, each has half of what two of them have in common. (A group's `importance` is what it
        explains by itself; these do not add up.)
        """
        strengths = self.spatial.reshape(-1, len(self.groups)).astype(np.float64)
        directions = self.directions.astype(np.float64)
        products = (strengths.T @ strengths) * (directions @ directions.T)  # [K, K]: <w_k h_k, w_l h_l>
        whole = products.sum()
        return products.sum(1) * ((1 - self.left_out) / whole) if whole > 0 else np.zeros(len(self.groups))

    @property
    def icons(self) -> list[Icon]:
        """The groups' icons."""
        return [group.icon_file for group in self.groups]


@dataclass(frozen=True)
class Flow(Shown):
    """How K groups of one layer feed L groups of the next, by linear attribution."""

    influence: NDArray[np.float32] = field(repr=False)
    """[N, K, L]: the gradient of group l's strength times group k's part of the activations."""
    residual: NDArray[np.float32] = field(repr=False)
    """[N, L]: the same for what the earlier layer's groups leave out."""


@dataclass(frozen=True)
class FactorizedLayersData(Illustrated):
    """The groups of several layers of the same images."""

    layers: Sequence[FactorizationData]
    """In the order in which the network computes them."""
    flows: list[Flow]
    """The i-th is from layers[i] to layers[i + 1]."""

    @property
    def icons(self) -> list[Icon]:
        """The groups' icons, layer by layer."""
        return [icon for each in self.layers for icon in each.icons]
