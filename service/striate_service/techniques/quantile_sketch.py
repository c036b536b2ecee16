"""Quantiles of a stream of numbers that nobody keeps: counts in bins whose width grows with the value.

As DDSketch (Masson, Rim and Lee, VLDB 2019): with gamma = (1 + a) / (1 - a), a value's bin is the whole part of
log_gamma |x|, so that whatever is answered is within a share `a` of a value that has the rank asked for. Counts add up,
in any order and from any number of workers, to the same sketch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ACCURACY = 0.01
"""a: the answered quantile is the true one to 1%."""
SMALLEST, LARGEST = 1e-5, 1e6
"""Smaller values count as 0, larger ones as this: activations of trained networks lie well between."""
LOG_GAMMA = math.log((1 + ACCURACY) / (1 - ACCURACY))
HALF = math.ceil(math.log(LARGEST / SMALLEST) / LOG_GAMMA)
BINS = 2 * HALF + 1
"""Of negative values (the largest first), of 0, of positive values."""


class QuantileSketch:
    """One sketch for each of C channels."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, BINS), np.int64)

    def add(self, bins: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
        """Count more values.

        Args:
            bins: [U], the bins that any channel has values in, each once.
            counts: [C, U].
        """
        self._counts[:, bins] += counts

    def quantiles(self, shares: tuple[float, ...]) -> NDArray[np.float32]:
        """Return the values below which these shares of each channel's values lie: [C, len(shares)], NaN without any.

        The value of rank floor(share * (n - 1)), as numpy's "lower" quantile, to `ACCURACY`.
        """
        cumulative = self._counts.cumsum(1)
        total = cumulative[:, -1]
        columns = []
        for share in shares:
            rank = np.floor(share * np.maximum(total - 1, 0)).astype(np.int64)
            columns.append(np.where(total > 0, bin_values()[(cumulative > rank[:, None]).argmax(1)], np.nan))
        return np.stack(columns, axis=1).astype(np.float32)


def bin_values() -> NDArray[np.float64]:
    """Return each bin's representative, [BINS]: within `ACCURACY` of all values in it."""
    gamma = math.exp(LOG_GAMMA)
    positive = SMALLEST * np.exp(LOG_GAMMA * np.arange(HALF)) * 2 * gamma / (1 + gamma)
    return np.concatenate([-positive[::-1], [0.0], positive])
