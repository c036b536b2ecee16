"""Natural examples: how many images excite each channel, for `stores.examples`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from striate_service.models.description import ModelDescription
from striate_service.techniques.costs import FLOAT_BYTES, Cost, layer_numbers
from striate_service.techniques.tasks.base import Array, ForwardNeeds, ForwardSlice, ImageTask, Networks, to_array


@dataclass(frozen=True)
class LayerExcitation:
    """As `natural_examples.peaks` and `bin_counts` return it."""

    peaks: Array
    """[N, C]"""
    positions: Array
    """int32 [N, C]"""
    bins: Array
    """int32 [U]"""
    counts: Array
    """int32 [C, U]"""


@dataclass(frozen=True)
class IndexResult:
    layers: dict[str, LayerExcitation]
    """By path."""


@dataclass(frozen=True, eq=False)
class IndexTask(ImageTask[IndexResult]):
    too_costly: ClassVar = ("layers", "index fewer layers at a time")
    is_reply: ClassVar = False

    layers: tuple[str, ...]

    @property
    def forward(self) -> ForwardNeeds:
        return ForwardNeeds(self.layers, class_count=self.class_count)

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        from striate_service.techniques.quantile_sketch import BINS

        assert model
        layers = [model.layer_by_name[path] for path in self.layers]
        numbers, channels = sum(map(layer_numbers, layers)), sum(layer.channels for layer in layers)
        return Cost(
            forwards=images,
            memory_bytes=6 * FLOAT_BYTES * images * numbers + 8 * channels * BINS,  # the bins of all values are int64
            result_bytes=2 * FLOAT_BYTES * images * channels + FLOAT_BYTES * channels * BINS,
        )

    def run(self, forward: ForwardSlice | None, networks: Networks) -> IndexResult:
        from striate_service.techniques.natural_examples import bin_counts, peaks

        assert forward
        return IndexResult(
            {
                path: LayerExcitation(*map(to_array, (*peaks(forward.layers[path]), *bin_counts(forward.layers[path]))))
                for path in self.layers
            }
        )
