"""What techniques cost, from shapes alone: for admission, time limits and the sizes of replies. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from striate_service.models.description import LayerDescription, ModelDescription

FLOAT_BYTES = 4  # bytes of a float32

_OPERATIONS_A_SECOND = 1e10  # multiply-adds of a factorization on one core: 7e9 to 2e10 measured (AVX2)
_MOST_OPERATIONS = 2e11  # multiply-adds of one factorization: half a minute on one core at worst
_FEWEST_ITERATIONS = 20
_USUAL_ITERATIONS = 100  # real activations converge within these


@dataclass(frozen=True)
class Cost:
    """The time and memory that a task needs."""

    forwards: float
    """Time in the network, in forward passes of one image. The scheduler learns how long such a pass takes."""
    memory_bytes: int
    """Peak memory of the task's arrays in a worker, besides the network and its forward pass."""
    result_bytes: int
    other_seconds: float = 0.0
    """Estimated time outside the network, on one core. The scheduler learns each kind's ratio of actual to estimate."""


def layer_numbers(layer: LayerDescription) -> int:
    """Return how many numbers a layer outputs for one image."""
    return math.prod(layer.shape)


def share_after(model: ModelDescription, layer: LayerDescription) -> float:
    """Estimate the share of a forward pass that follows a layer, from its index among the layers."""
    return 1 - model.layers.index(layer) / len(model.layers)


def factorization_seconds(positions: int, channels: int, components: int) -> float:
    """Return the seconds that one core takes to factorize [positions, channels]."""
    iterations = min(_USUAL_ITERATIONS, most_iterations(positions, channels, components))
    return iterations * _operations(positions, channels, components) / _OPERATIONS_A_SECOND


def most_iterations(positions: int, channels: int, components: int) -> int:
    """Return how many iterations a factorization may take: fewer for a large matrix, so that its time is bounded.

    The limit depends on shapes alone, so a matrix gives the same groups on any machine and in any batch.
    """
    return max(_FEWEST_ITERATIONS, int(_MOST_OPERATIONS / _operations(positions, channels, components)))


def _operations(positions: int, channels: int, components: int) -> float:
    """Return the multiply-adds of one iteration: products of the matrix with both factors, and sweeps over both."""
    return 4.0 * positions * channels * components + 8.0 * (positions + channels) * components**2
