"""Activations: layers' outputs, whole or reduced."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.techniques.costs import FLOAT_BYTES, Cost, layer_numbers
from striate_service.techniques.tasks.base import (
    Array,
    ForwardNeeds,
    ForwardSlice,
    ImageTask,
    Networks,
    Predictions,
    to_array,
)


@dataclass(frozen=True)
class ActivationsResult:
    layers: dict[str, Array]
    """By path: as `techniques.activations.select` returns them; float32, or float16 with `half`."""
    predictions: Predictions | None


@dataclass(frozen=True, eq=False)
class ActivationsTask(ImageTask[ActivationsResult]):
    too_costly: ClassVar = (
        "layers",
        "reduce by mean or max, choose channels or positions, ask for FLOAT16, or send fewer images or layers at a "
        "time",
    )

    layers: tuple[str, ...]
    reduction: Literal["none", "mean", "max"] = "none"
    channels: tuple[int, ...] = ()
    """In the requested order. Empty: all."""
    positions: tuple[tuple[int, int], ...] = ()
    """Rows and columns of the layers' maps. Empty: all."""
    prefix_tokens: tuple[int, ...] = ()
    """Tokens before the first position, after `positions`."""
    as_maps: bool = False
    """Whether whole outputs are turned into maps [N, C, H, W]."""
    half: bool = False

    @property
    def forward(self) -> ForwardNeeds:
        return ForwardNeeds(self.layers, class_count=self.class_count, whole_outputs=True)

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        layers = [model.layer_by_name[path] for path in self.layers]
        size = 2 if self.half else FLOAT_BYTES
        return Cost(
            forwards=images,
            memory_bytes=2 * FLOAT_BYTES * images * sum(map(layer_numbers, layers)),
            result_bytes=size * images * sum(map(self._numbers, layers)),
        )

    def run(self, forward: ForwardSlice | None, networks: Networks) -> ActivationsResult:
        from striate_service.techniques.activations import select

        assert forward
        return ActivationsResult(
            {
                path: to_array(
                    select(
                        forward.layers[path],
                        networks.layer(self.model, path),
                        reduction=self.reduction,
                        channels=self.channels,
                        positions=self.positions,
                        prefix_tokens=self.prefix_tokens,
                        as_map=self.as_maps,
                        half=self.half,
                    )
                )
                for path in self.layers
            },
            forward.predictions,
        )

    def _numbers(self, layer: LayerDescription) -> int:
        channels = len(self.channels) or layer.channels
        positions = len(self.positions) + len(self.prefix_tokens) or math.prod(layer.shape) // layer.channels
        return channels * (positions if self.reduction == "none" else 1)
