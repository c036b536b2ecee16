"""Observing: numbers of each image that tell whether a network sees what it used to see (`techniques/drift.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from striate_service.models.description import ModelDescription
from striate_service.techniques.costs import FLOAT_BYTES, Cost, layer_numbers
from striate_service.techniques.methods import Method
from striate_service.techniques.tasks.base import (
    Array,
    ForwardNeeds,
    ForwardSlice,
    ImageTask,
    Networks,
    Predictions,
    to_array,
)

_SWEEPS = 100  # that a projection usually takes


@dataclass(frozen=True, eq=False)
class WatchedGroups:
    """K groups of a layer, of a stored basis."""

    layer: str
    directions: Array
    """[K, C]"""
    method: Method
    rectify: bool


@dataclass(frozen=True)
class LayerObservation:
    """Of N images."""

    peaks: Array
    """[N, C]: each channel's largest activation."""
    means: Array
    """[N, C]: its mean over positions."""
    sparsity: Array
    """[N]: the share of activations that are 0 or less."""


@dataclass(frozen=True)
class GroupObservation:
    """Of N images."""

    use: Array
    """[N, K]: how strongly each group is present, the mean over positions."""
    novelty: Array
    """[N]: the share of the layer's squared activations that no group explains."""


@dataclass(frozen=True)
class ObserveResult:
    layers: dict[str, LayerObservation]
    """By path."""
    groups: tuple[GroupObservation, ...]
    """In the order of the task's."""
    predictions: Predictions | None
    """The most probable class; None for a network without classes."""


@dataclass(frozen=True, eq=False)
class ObserveTask(ImageTask[ObserveResult]):
    too_costly: ClassVar = ("layers", "watch fewer layers, or bases of fewer groups")
    is_reply: ClassVar = False

    layers: tuple[str, ...]
    groups: tuple[WatchedGroups, ...] = ()

    @property
    def _paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.layers, *(each.layer for each in self.groups))))

    @property
    def forward(self) -> ForwardNeeds:
        return ForwardNeeds(self._paths, class_count=self.class_count)

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        numbers = sum(layer_numbers(model.layer_by_name[path]) for path in self._paths)
        channels = sum(model.layer_by_name[path].channels for path in self.layers)
        used = sum(len(each.directions) for each in self.groups)
        operations = sum(
            layer_numbers(model.layer_by_name[each.layer])
            * images
            * len(each.directions)
            * (1 + _SWEEPS / model.layer_by_name[each.layer].channels)
            for each in self.groups
        )
        return Cost(
            forwards=images,
            other_seconds=operations / 1e10,
            memory_bytes=4 * FLOAT_BYTES * images * numbers,
            result_bytes=FLOAT_BYTES * images * (2 * channels + used + 2),
        )

    def run(self, forward: ForwardSlice | None, networks: Networks) -> ObserveResult:
        from striate_service.techniques import observing

        assert forward
        return ObserveResult(
            layers={
                path: LayerObservation(*map(to_array, observing.layer_numbers(forward.layers[path])))
                for path in self.layers
            },
            groups=tuple(
                GroupObservation(
                    *map(
                        to_array,
                        observing.group_use(
                            forward.layers[each.layer],
                            networks.to_device(each.directions),
                            method=each.method,
                            rectify=each.rectify,
                        ),
                    )
                )
                for each in self.groups
            ),
            predictions=forward.predictions,
        )
