"""What techniques cost, from shapes alone: for admission, time limits and the sizes of replies. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from striate_service.models.description import LayerDescription, ModelDescription

FLOAT = 4  # bytes of a float32

_OPERATIONS_A_SECOND = 1e10  # multiply-adds of one core in a factorization: 7e9 to 2e10 measured (AVX2)
_MOST_OPERATIONS = 2e11  # of one factorization: they take a core half a minute at worst
_FEWEST_ITERATIONS = 20
_USUAL_ITERATIONS = 100  # in which real activations converge


@dataclass(frozen=True)
class Cost:
    """What a task takes."""

    forwards: float
    """Time in the network, in forwards of one image. The scheduler learns how long such a forward takes."""
    memory_bytes: int
    """Of the arrays that it needs in a worker at its peak, beside the network and what its forward takes."""
    result_bytes: int
    """Of its result."""
    other_seconds: float = 0.0
    """Time outside of the network, on one core. The scheduler learns how far from it each kind of task is."""


def layer_numbers(layer: LayerDescription) -> int:
    """Return how many numbers a layer gives for one image."""
    return int(np.prod(layer.shape))


def share_after(model: ModelDescription, layer: LayerDescription) -> float:
    """Estimate which share of a forward comes after a layer, from its place among the layers."""
    return 1 - model.layers.index(layer) / len(model.layers)


def factorization_seconds(positions: int, channels: int, components: int) -> float:
    """Return the time of a factorization of [positions, channels] on one core."""
    iterations = min(_USUAL_ITERATIONS, most_iterations(positions, channels, components))
    return iterations * _operations(positions, channels, components) / _OPERATIONS_A_SECOND


def most_iterations(positions: int, channels: int, components: int) -> int:
    """Return how many iterations a factorization may take: fewer of a large matrix, so that its time is bounded.

    From shapes alone, so that a matrix gives the same groups wherever and beside whatever it is factorized.
    """
    return max(_FEWEST_ITERATIONS, int(_MOST_OPERATIONS / _operations(positions, channels, components)))


def _operations(positions: int, channels: int, components: int) -> float:
    """Return the multiply-adds of an iteration: products of the matrix and of the factors, and sweeps over both."""
    return 4.0 * positions * channels * components + 8.0 * (positions + channels) * components**2
