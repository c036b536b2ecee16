"""Naming channels by the classes of the images that excite them: soft weighted pointwise mutual information.

The measure of CLIP-Dissect (Oikarinen and Weng, ICLR 2023), with a folder's labels in CLIP's place. With B_k the images
that excite channel k most, the i-th strongest of them being its member with a probability p_i that falls with i,

    wpmi(t, k) = log p(t | B_k) - lambda log p(t),    log p(t | B_k) = sum_i log(1 + p_i (p(t | x_i) - 1))

CLIP gives p(t | x) as a softmax over all concepts; a label says it outright: 1 for the image's class and 0 for others.
The paper estimates p(t) from all channels; here it is what the same number of images drawn by chance from the folder
would give, since their labels tell: p(t | x) is then the class's share of the folder. So 0 is chance, and the most that
can be had is known, which makes a score of it that can be compared with a threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_IMAGES = 100
"""Of the strongest images of a channel, that count: the paper's."""
LEAST_IMAGES = 8
"""With fewer, chance names too many: in a folder of two classes, 8 images are of one class for 1 channel in 128."""
LEAST_SHARE = 0.25
"""Of the information that a channel which only ever responds to the class would have, from which on the class names it.
About half of the strongest images are then of the class in a folder of 20 classes, and a quarter in one of 1000."""
_FIRST, _LAST = 0.998, 0.97  # p_i of the strongest image and of the last one: the paper's


def class_names(
    strongest: NDArray[np.integer], class_counts: NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the class that tells most about what excites each channel, and how much of what it could tell: 1 for a
    channel that only ever responds to the class, 0 or less for chance.

    Args:
        strongest: [C, K], K up to `MOST_IMAGES`: the classes of each channel's strongest images, strongest first; -1
            where the class is unknown, or the image excites the channel no more than any other does.
        class_counts: [M], the folder's images of each class.

    Returns:
        int32 [C], -1 where there are too few images to tell; float32 [C].
    """
    channels = len(strongest)
    populated = int((class_counts > 0).sum())
    # As many as a class has images: more would be strangers, however well a channel tells its class.
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
        shares: [M], each class's share of the folder. An image of unknown class is one by chance.
    """
    counted = strongest.shape[1]
    stranger = np.log1p(-_membership(counted))  # an image of another class: log(1 + p_i (0 - 1))
    by_chance = _by_chance(counted, shares)
    known = strongest >= 0
    information: NDArray[np.float64] = np.where(known, stranger, 0.0).sum(1, keepdims=True) - known @ by_chance
    rows, columns = np.nonzero(known)
    np.subtract.at(information, (rows, strongest[rows, columns]), stranger[columns])  # one of its own: log 1
    return information


def most_information(counted: int, shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return `soft_wpmi` of a channel whose strongest images are all of a class, for each class: [M]."""
    most: NDArray[np.float64] = -_by_chance(counted, shares).sum(0)
    return np.maximum(most, np.finfo(np.float64).tiny)


def _membership(counted: int) -> NDArray[np.float64]:
    """p: [K]."""
    return _FIRST - np.arange(counted) / counted * (_FIRST - _LAST)


def _by_chance(counted: int, shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(1 + p_i (share - 1)): [K, M]."""
    chance: NDArray[np.float64] = np.log1p(_membership(counted)[:, None] * (shares[None] - 1))
    return chance
