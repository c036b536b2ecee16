"""What layers compute for images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.shown import Shown


@dataclass(frozen=True)
class Activations(Shown, Mapping[str, NDArray[Any]]):
    """Layers' outputs by name: [N, C, H, W], or [N, C] where reduced."""

    tensors: dict[str, NDArray[Any]] = field(repr=False)
    """By the names under which the layers were asked for."""
    predictions: list[Predictions]
    """One an image."""
    views: list[View] = field(repr=False)
    """One an image."""
    layers: tuple[Layer, ...] = field(repr=False)
    model: Model = field(repr=False)

    def __getitem__(self, layer: str) -> NDArray[Any]:
        """Return a layer's output by the name under which it was asked for, by its path, or by an alias."""
        for asked, described in zip(self.tensors, self.layers, strict=True):
            if layer in (asked, described.name, *described.aliases):
                return self.tensors[asked]
        raise KeyError(layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)
