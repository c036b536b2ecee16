"""What a worker can be asked to do. Frozen values without torch: the server makes them, a worker carries them out.

Each docstring names the arrays that go in with the task and come out of it. N images, K neurons or groups, M classes,
P = H * W positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from striate_service.techniques.objective import Objective
from striate_service.techniques.recipe import Recipe


@dataclass(frozen=True)
class ImageTask:
    """Starts from images, so it shares one forward with every other task on the same model and kind of input.

    In: images, uint8 [N, H, W, 3] of the model's input size, or float32 [N, 3, H, W], preprocessed.
    """

    model: str
    classes: tuple[int, ...]
    """Explain these logits. Empty: the most probable ones."""
    class_count: int
    """How many of the most probable classes to predict and, where `classes` is empty, to explain."""


@dataclass(frozen=True)
class ActivationsTask(ImageTask):
    """Out: each layer's tensor by its path; predictions as described at `predictions` in execution."""

    layers: tuple[str, ...]
    reduction: Literal["none", "mean", "max"]
    channels: tuple[int, ...]
    half: bool
    positions: tuple[tuple[int, int], ...] = ()
    """Row and column, in the layers' maps. Empty: all."""


@dataclass(frozen=True)
class DictionaryTask(ImageTask):
    """Out: magnitude [H, W]; channels int32, activations [H, W, K]; effects [H, W, K, M]; classes int32 [M], their
    class_logits [M] and, with "path", baseline_logits [M]; vectors [P, C]."""

    layer: str
    neurons: int
    attribution: Literal["gradient", "path", "none"] = "gradient"
    """Gradient times activation, integrated gradients along the path from 0, or no effects."""
    steps: int = 0
    """On the path."""
    vectors: tuple[tuple[int, int], ...] = ()
    """Positions (row, column) whose whole activation vectors are wanted."""


@dataclass(frozen=True)
class FactorizeTask(ImageTask):
    """In also, where given groups are to be found: directions [K, C].

    Out: spatial [N, H, W, K], directions [K, C], relative_error, importance [K]; choices [T, 2], numbers of groups and
    their relative errors, where the number was not given; effects [N, K, M], residual [N, M], classes int32 [M];
    kl_divergence, same_top_class bool [N], where classes are explained.
    """

    layer: str
    components: int
    """0: as many as the activations ask for."""
    rectify: bool


@dataclass(frozen=True)
class FactorizeLayersTask(ImageTask):
    """Out: of each layer, what FactorizeTask returns, under the layer's path and the name; from each layer but the last
    to the next, under the former's path: flow [N, K, L], flow_residual [N, L]."""

    layers: tuple[str, ...]
    components: int
    rectify: bool

    @property
    def each(self) -> tuple[FactorizeTask, ...]:
        """The same, layer by layer."""
        return tuple(
            FactorizeTask(self.model, self.classes, self.class_count, layer, self.components, self.rectify)
            for layer in self.layers
        )


@dataclass(frozen=True)
class IndexTask(ImageTask):
    """Out: of each layer, under its path and a name: peaks [N, C], positions int32 [N, C]; bins int32 [U], counts int32
    [C, U] (see natural_examples)."""

    layers: tuple[str, ...]


@dataclass(frozen=True)
class FactorizeActivationsTask:
    """In: activations, float32 [N, C, H, W]. Out: as FactorizeTask, without what is about classes."""

    components: int
    rectify: bool


@dataclass(frozen=True)
class MaskedGroupsTask:
    """What the network says of an image when its groups are weakened, and nothing but them is left of a layer.

    In: images [1, ...], as `ImageTask` takes them; spatial [H, W, K], directions [K, C], masks [R, K], factors from
    0 to 1. Out: logits [R, M], of `classes`.
    """

    model: str
    layer: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class RenderTask:
    """One slice of the optimization of several icons.

    In: the state so far (see feature_visualization), nothing for the first slice. Out: the state; once it is finished
    also `pictures`, uint8 [B, size, size, 3 or 4]: one an objective, or all of its facets.
    """

    model: str
    layer: str
    objectives: tuple[Objective, ...]
    recipe: Recipe
    seconds: float
    """How long the slice may take; it always makes at least one step."""


Task = ImageTask | FactorizeActivationsTask | MaskedGroupsTask | RenderTask
