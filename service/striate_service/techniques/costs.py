"""What techniques cost, from shapes alone: for admission, time limits and the sizes of replies. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.techniques.methods import Method

FLOAT_BYTES = 4  # bytes of a float32

MOST_CHOICES = 16
"""The largest number of groups that is tried where the caller gives none."""

_OPERATIONS_A_SECOND = 1e10  # multiply-adds of a factorization on one core: 7e9 to 2e10 measured (AVX2)
_MOST_OPERATIONS = 2e11  # multiply-adds of one factorization: half a minute on one core at worst
_FEWEST_ITERATIONS = 20
_USUAL_ITERATIONS = 100  # real activations converge within these

# Of scikit-learn's decompositions, whose own defaults are 200, 300 and 1000.
ICA_ITERATIONS = 200
K_MEANS_ITERATIONS = 100
_DICTIONARY_POSITIONS = 50_000  # that dictionary learning looks at in all: its dictionaries hardly change after fewer
_ICA_STEP = 40.0  # multiply-adds of an iteration for a position and two groups: tanh of each, and products
# Of a position's sparse code, at all, for each group and for each channel: measured, it is far more than its products.
_CODE, _CODE_GROUP, _CODE_CHANNEL = 4e5, 3e4, 1.5e3


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


def decomposition_seconds(method: Method, positions: int, channels: int, components: int) -> float:
    """Return the seconds that one core takes to decompose [positions, channels] by any method."""
    smaller = min(positions, channels)
    match method:
        case "nmf" | "semi-nmf":
            return factorization_seconds(positions, channels, components)
        case "pca":
            operations = 10.0 * positions * channels * smaller
        case "fast-ica":
            operations = 10.0 * positions * channels * smaller + ICA_ITERATIONS * _ICA_STEP * positions * components**2
        case "k-means":
            operations = 3.0 * K_MEANS_ITERATIONS * positions * channels * components
        case "dictionary-learning":
            seen = positions * (1 + dictionary_steps(positions))
            operations = seen * (_CODE + _CODE_GROUP * components + _CODE_CHANNEL * channels)
    return operations / _OPERATIONS_A_SECOND


def dictionary_steps(positions: int) -> int:
    """Return how often dictionary learning looks at all positions: 1 to 20 times."""
    return max(1, min(20, _DICTIONARY_POSITIONS // positions))


def most_iterations(positions: int, channels: int, components: int) -> int:
    """Return how many iterations a factorization may take: fewer for a large matrix, so that its time is bounded.

    The limit depends on shapes alone, so a matrix gives the same groups on any machine and in any batch.
    """
    return max(_FEWEST_ITERATIONS, int(_MOST_OPERATIONS / _operations(positions, channels, components)))


def _operations(positions: int, channels: int, components: int) -> float:
    """Return the multiply-adds of one iteration: products of the matrix with both factors, and sweeps over both."""
    return 4.0 * positions * channels * components + 8.0 * (positions + channels) * components**2
