"""Name channels by the classes of the images that excite them: soft weighted pointwise mutual information.

The measure of CLIP-Dissect (Oikarinen and Weng, ICLR 2023), with a folder's labels instead of CLIP. Let B_k be the
images that excite channel k most, where the i-th strongest is a member with a probability p_i that falls with i. Then

    wpmi(t, k) = log p(t | B_k) - lambda log p(t),    log p(t | B_k) = sum_i log(1 + p_i (p(t | x_i) - 1))

CLIP gives p(t | x) as a softmax over all concepts; a label gives 1 for the image's class and 0 for others. The paper
estimates p(t) from all channels; here p(t) is the value for the same number of images drawn at random from the folder,
for each of which p(t | x) is the class's share of the folder. So 0 means chance. The largest possible value is known as
well, and the ratio to it is a score that can be compared with a threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_IMAGES = 100
"""How many of a channel's strongest images count: the paper's number."""
LEAST_IMAGES = 8
"""Fewer images name too many channels by chance: of two classes, all 8 are of one class for 1 channel in 128."""
LEAST_SHARE = 0.25
"""The score from which on a class names a channel; 1 is a channel that responds to that class alone. At this score
half of the strongest images are of the class in a folder of 20 classes, and a quarter in a folder of 1000."""
_FIRST, _LAST = 0.998, 0.97  # p_i of the strongest image and of the weakest: the paper's


def class_names(
    strongest: NDArray[np.integer], class_counts: NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return each channel's most informative class and its score: 1 for a channel that responds to that class alone, 0
    or less for chance.

    Args:
        strongest: [C, K], K up to `MOST_IMAGES`: the classes of each channel's strongest images, strongest first; -1
            where the class is unknown, or the image excites the channel no more than any other does.
        class_counts: [M], the folder's images of each class.

    Returns:
        int32 [C], -1 where there are too few images; float32 [C].
    """
    channels = len(strongest)
    populated = int((class_counts > 0).sum())
    # At most a class's mean number of images: beyond that, even a perfect detector's images are of other classes.
    counted = min(strongest.shape[1], int(class_counts.sum()) // populated) if populated > 1 else 0
    if counted < LEAST_IMAGES:
        return np.full(channels, -1, np.int32), np.zeros(channels, np.float32)
    shares = class_counts / class_counts.sum()
    information = soft_wpmi(strongest[:, :counted], shares)
    scores = np.where(class_counts > 0, information / most_information(counted, shares), -np.inf)
    best = scores.argmax(1)
    return best.astype(np.int32), scores[np.arange(channels), best].astype(np.float32)


def soft_wpmi(strongest: NDArray[np.integer], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the information, in nats, of every class on every channel: [C, M]. lambda is 1.

    Args:
        strongest: as in `class_names`.
        shares: [M], each class's share of the folder. An image of unknown class counts as one drawn at random.
    """
    counted = strongest.shape[1]
    log_other = np.log1p(-_membership(counted))  # an image of another class: log(1 + p_i (0 - 1))
    chance = _chance_log_probability(counted, shares)
    known = strongest >= 0
    information: NDArray[np.float64] = np.where(known, log_other, 0.0).sum(1, keepdims=True) - known @ chance
    rows, columns = np.nonzero(known)
    np.subtract.at(
        information, (rows, strongest[rows, columns]), log_other[columns]
    )  # an image of the class itself: log 1 = 0
    return information


def most_information(counted: int, shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the `soft_wpmi` of each class for a channel whose strongest images are all of that class: [M]."""
    most: NDArray[np.float64] = -_chance_log_probability(counted, shares).sum(0)
    return np.maximum(most, np.finfo(np.float64).tiny)


def _membership(counted: int) -> NDArray[np.float64]:
    """Return p_i: [K]."""
    return _FIRST - np.arange(counted) / counted * (_FIRST - _LAST)


def _chance_log_probability(counted: int, shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log(1 + p_i (share - 1)): [K, M]."""
    chance: NDArray[np.float64] = np.log1p(_membership(counted)[:, None] * (shares[None] - 1))
    return chance
