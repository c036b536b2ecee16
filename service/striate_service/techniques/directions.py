"""What a group's direction says of channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LISTED_CHANNELS = 5
"""A group is described by so many of its strongest channels."""


def channel_shares(direction: NDArray[np.float32]) -> dict[int, float]:
    """Return a direction's strongest positive channels, strongest first, at most `LISTED_CHANNELS`, and the share that
    each has of the direction's squared length, so that all channels' shares add up to 1.

    Args:
        direction: [C].
    """
    strongest = np.argsort(-direction, kind="stable")[:LISTED_CHANNELS]
    length = float(np.square(direction, dtype=np.float64).sum())
    return {
        channel: float(direction[channel]) ** 2 / length for channel in strongest.tolist() if direction[channel] > 0
    }
