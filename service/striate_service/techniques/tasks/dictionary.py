"""Semantic dictionary: each position's strongest neurons, and their effects on targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from striate_service.models.description import ModelDescription
from striate_service.techniques.costs import FLOAT_BYTES, Cost, layer_numbers, share_after
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.base import (
    Array,
    ForwardNeeds,
    ForwardSlice,
    ImageTask,
    Networks,
    Predictions,
    to_array,
)

if TYPE_CHECKING:
    from torch import Tensor

_PATH_POINTS = 16  # points of a path in one forward pass, which bounds the memory


@dataclass(frozen=True)
class DictionaryResult:
    """Of one image. P are its positions, row by row, and after them its prefix tokens, if the task asked for these."""

    magnitude: Array
    """[H, W]: the length of each position's activation vector."""
    prefix_magnitude: Array
    """[T]: the same of prefix tokens; [0] where they were not asked for."""
    channels: Array
    """int32 [P, K], strongest first, by the task's order."""
    activations: Array
    """[P, K]"""
    targets: tuple[Target, ...]
    """M: what is explained."""
    effects: Array | None
    """[P, K, M]; None where no effects were asked for."""
    values: Array | None
    """[M], of `targets`: logits, mostly."""
    baseline: Array | None
    """[M]: the same where the layer's output is 0; only for "path"."""
    vectors: Array | None
    """[V, C]: the whole activation vectors that the task asked for."""
    predictions: Predictions | None


@dataclass(frozen=True, eq=False)
class DictionaryTask(ImageTask[DictionaryResult]):
    too_costly: ClassVar = ("layer", "choose a deeper layer, fewer classes or targets, or fewer steps")

    layer: str
    neurons: int
    attribution: Literal["gradient", "path", "none"] = "gradient"
    """Gradient times activation, integrated gradients along the path from 0 to the activations, or no effects."""
    steps: int = 0
    """Points on the path."""
    prefix: bool = False
    """Whether prefix tokens are wanted too. For "path" they have one of their own, along which positions stay as they
    are, as prefix tokens do along that of positions."""
    vectors: tuple[int, ...] = ()
    """Which of `DictionaryResult`'s P whole activation vectors are wanted."""
    by_magnitude: bool = True
    """The strongest neurons are those farthest from 0. False: the most active."""
    smooth_max_pool: bool = False
    """For "gradient": let it pass max pools as `techniques.max_pooling` says."""

    @property
    def rate_key(self) -> str:
        return f"{self.kind}, {self.attribution}"

    @property
    def forward(self) -> ForwardNeeds:
        explains = self.attribution != "none" and bool(self.explained_count)
        return ForwardNeeds(
            (self.layer,),
            gradient_layers=(self.layer,) if explains and not self._on_path else (),
            targets=self.targets,
            class_count=self.class_count,
            explains=explains,
            smooth_max_pool=self.smooth_max_pool,
        )

    @property
    def _on_path(self) -> bool:
        return self.attribution == "path" and bool(self.explained_count)

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        layer = model.layer_by_name[self.layer]
        numbers, positions = layer_numbers(layer), layer_numbers(layer) // layer.channels
        targets = self.explained_count if self.forward.explains else 0
        paths = self.steps * (2 if self.prefix else 1) if self._on_path else 1
        passes = share_after(model, layer) * (1 + 2 * targets) * paths
        points = 3 * _PATH_POINTS if self._on_path else 0  # the points, the network's outputs for them, and gradients
        return Cost(
            forwards=1 + passes if targets else 1,
            memory_bytes=FLOAT_BYTES * numbers * (6 + targets + points),  # sorted channel indices are int64
            result_bytes=FLOAT_BYTES * (positions * self.neurons * (2 + targets) + len(self.vectors) * layer.channels)
            + self.target_bytes,
        )

    def run(self, forward: ForwardSlice | None, networks: Networks) -> DictionaryResult:
        import torch

        from striate_service.techniques.attribution import neuron_effects

        assert forward
        maps, prefix = forward.layers[self.layer][0], self._prefix(forward.prefix)[0]
        layer = torch.cat([maps.flatten(1), prefix], dim=1)
        strength = layer.abs() if self.by_magnitude else layer
        channels = strength.argsort(dim=0, descending=True, stable=True)[: self.neurons]
        effects = values = baseline = vectors = None
        if forward.targets:
            gradients, at_zero = self._gradients(forward, networks)
            effects = to_array(neuron_effects(layer, gradients, channels).permute(2, 0, 1))
            values = to_array(forward.values[0])
            baseline = None if at_zero is None else to_array(at_zero)
        if self.vectors:
            vectors = to_array(layer[:, list(self.vectors)].T)
        return DictionaryResult(
            magnitude=to_array(maps.norm(dim=0)),
            prefix_magnitude=to_array(prefix.norm(dim=0)),
            channels=to_array(channels.int().T),
            activations=to_array(layer.gather(0, channels).T),
            targets=forward.targets,
            effects=effects,
            values=values,
            baseline=baseline,
            vectors=vectors,
            predictions=forward.predictions,
        )

    def _gradients(self, forward: ForwardSlice, networks: Networks) -> tuple[Tensor, Tensor | None]:
        """Return the targets' gradients, [M, C, P], and for "path" the targets at the path's start, [M]."""
        import torch

        from striate_service.techniques.attribution import path_gradients

        if not self._on_path:
            of_positions, of_prefix = forward.gradients[self.layer][0], self._prefix(forward.prefix_gradients)[0]
            return torch.cat([of_positions.flatten(2), of_prefix], dim=2), None

        maps, prefix = forward.layers[self.layer][0], self._prefix(forward.prefix)[0]

        def values_with(positions: Tensor, tokens: Tensor | None) -> Tensor:
            pixels = forward.pixels.expand(len(positions), -1, -1, -1)
            return networks.values_with(self.model, pixels, self.layer, positions, forward.targets, tokens)

        def of_positions_alone(points: Tensor) -> Tensor:
            return values_with(points, None)

        def of_tokens_alone(points: Tensor) -> Tensor:
            return values_with(maps.expand(len(points), *maps.shape), points)

        gradients, at_zero = path_gradients(maps, of_positions_alone, self.steps, _PATH_POINTS)
        if not self.prefix:
            return gradients.flatten(2), at_zero
        of_tokens, _ = path_gradients(prefix, of_tokens_alone, self.steps, _PATH_POINTS)
        return torch.cat([gradients.flatten(2), of_tokens], dim=2), at_zero

    def _prefix(self, tokens: dict[str, Tensor]) -> Tensor:
        """Return the layer's prefix tokens, none where they are not wanted: [N, ..., T]."""
        return tokens[self.layer][..., : None if self.prefix else 0]
