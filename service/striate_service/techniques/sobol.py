"""Sobol indices: how much of an output's variance depends on each of several inputs, interactions included.

Used as in CRAFT (Fel et al., CVPR 2023, section 3.2): the inputs are masks that weaken each neuron group by a factor
from 0 to 1, and the outputs are the logits for the weakened groups. The total-effect index of input k is

    S_k = E[Var(f | all inputs but k)] / Var(f)

by Jansen's estimator (1999): for points A and B in [0, 1]^K, where A_k is A with column k from B,

    S_k is about mean((f(A) - f(A_k))^2) / (2 Var(f(A), f(B)))

so P points cost P (K + 2) evaluations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def masks(points: int, components: int) -> NDArray[np.float32]:
    """Return the inputs to evaluate: A, B, A_1, ... A_K, concatenated, [P (K + 2), K]. Every call returns the same.

    A and B are the halves of a Halton sequence in 2K dimensions, which covers the cube more evenly than random points.
    It is scrambled, since in many dimensions the plain sequence's first points lie on lines.
    """
    from scipy.stats import qmc  # here: importing takes a second, and few requests need indices

    both = qmc.Halton(2 * components, scramble=True, seed=0).random(points).astype(np.float32)
    a, b = both[:, :components], both[:, components:]
    mixed = np.repeat(a[None], components, axis=0)
    each = np.arange(components)
    mixed[each, :, each] = b.T
    return np.concatenate([a, b, mixed.reshape(-1, components)])


def total_indices(outputs: NDArray[np.floating], components: int) -> NDArray[np.float32]:
    """Return the total-effect index of each input on each output, [K, M]; 0 for an output that does not vary.

    Args:
        outputs: [P (K + 2), M], in the order of `masks`.
    """
    a, b, *mixed = np.split(outputs.astype(np.float64), components + 2)
    variance = np.concatenate([a, b]).var(axis=0)
    changes = np.stack([np.square(a - each).mean(axis=0) for each in mixed])
    return (changes / np.where(variance > 0, 2 * variance, np.inf)).astype(np.float32)
