"""Quantiles of a stream without storing it: counts in bins whose width grows with the value.

As DDSketch (Masson, Rim and Lee, VLDB 2019): with gamma = (1 + a) / (1 - a), a value's bin is floor(log_gamma |x|), so
that a returned quantile differs from the true one by at most a share `a`. Counts may be added in any order and from any
number of workers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ACCURACY = 0.01
"""The share a: returned quantiles are accurate to 1%."""
SMALLEST, LARGEST = 1e-5, 1e6
"""Smaller values count as 0, larger ones as LARGEST: activations of trained networks lie well between."""
LOG_GAMMA = math.log((1 + ACCURACY) / (1 - ACCURACY))
HALF = math.ceil(math.log(LARGEST / SMALLEST) / LOG_GAMMA)
BINS = 2 * HALF + 1
"""For negative values (the largest magnitude first), for 0, and for positive values."""


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
        """Return the values below which these shares of each channel's values lie: [C, len(shares)]; NaN: no values.

        It is the value of rank floor(share * (n - 1)), numpy's "lower" quantile, within `ACCURACY`.
        """
        cumulative = self._counts.cumsum(1)
        total = cumulative[:, -1]
        columns = []
        for share in shares:
            rank = np.floor(share * np.maximum(total - 1, 0)).astype(np.int64)
            columns.append(np.where(total > 0, bin_values()[(cumulative > rank[:, None]).argmax(1)], np.nan))
        return np.stack(columns, axis=1).astype(np.float32)


def bin_values() -> NDArray[np.float64]:
    """Return a value for each bin that is within `ACCURACY` of all values in the bin: [BINS]."""
    gamma = math.exp(LOG_GAMMA)
    positive = SMALLEST * np.exp(LOG_GAMMA * np.arange(HALF)) * 2 * gamma / (1 + gamma)
    return np.concatenate([-positive[::-1], [0.0], positive])
