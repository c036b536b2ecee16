"""The descent: extrapolated hierarchical alternating least squares, for many problems at once on any device.

Each column of W and each row of H in turn is set to its exact minimizer, which needs only the small Gram matrices HH',
HX' and W'W, W'X (Cichocki and Phan 2009; Gillis and Glineur 2012). An iteration sweeps W and then H, once each, as
scikit-learn's coordinate descent does. The next iteration starts from an extrapolated point (Ang and Gillis 2019):

    ahead = max(new + momentum (new - old), 0)

Semi-NMF is the same with H unbounded: neither its minimizers nor its extrapolated points are clamped.

The momentum grows while the error falls. Where the error rises, the next iteration goes back to the last point before
the rise, with less momentum. Extrapolation cuts the iterations to between a third and a fifth.

The first iterations decide which of the many local minima the descent reaches, so they are plain: no extrapolation, one
sweep. Later ones sweep each factor SWEEPS times, since the products with X are most of their cost (Gillis and Glineur
2012). Of 96 factorizations of real activations, into 4, 6, 8 and 10 groups, all end in the groups of scikit-learn's
coordinate descent from the same start (every r > 0.99), and 95 do with 20 or 30 plain iterations
(benchmarks/factorization.py counts them). It takes 1.9 times the time of 10 plain ones and a tolerance of
1e-5, with which 85 do. A first descent on a basis of a few directions of X would save a quarter of
the time, but two in a hundred would end elsewhere. Small problems may have an exact solution and many bad minima, and
cost little: they are plain throughout and in float64.

W is transposed here: each row of a factor is a group.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

PLAIN = 40  # iterations, for the reason above
SWEEPS = 2  # of a factor in a later iteration
WINDOW = 3
"""A problem is finished when this many iterations have lowered its squared error by less than the tolerance."""

# The authors' values.
FIRST_MOMENTUM = 0.5
GROWTH = 1.05
CEILING_GROWTH = 1.01
DECAY = 1.5

# As shares of ||X||^2. The squared error is the difference of terms of that size; below these it is mostly rounding.
SMALLEST_32 = 1e-4
SMALLEST_64 = 1e-14

SETTLED = 1e-9
"""Non-negative least squares is solved when a sweep changes the solution by less than this share of it."""

_SMALL = 2**14  # numbers in X


def is_small(x: Tensor | NDArray[Any]) -> bool:
    return x.shape[-2] * x.shape[-1] <= _SMALL


def plain_iterations(x: Tensor | NDArray[Any], least: float, max_iterations: int) -> int:
    """Return how many iterations are plain. Semi-NMF of a small problem has no bad minima: see `start.py`."""
    return max_iterations if is_small(x) and least == 0 else PLAIN


def descend(
    x: Tensor, w: Tensor, h: Tensor, tolerance: float, max_iterations: int, least: float = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Improve the factors of each problem until they hardly change its error.

    Every WINDOW iterations, finished problems leave the batch: they cost no more, and the device synchronizes seldom.

    Args:
        x: [B, M, C].
        w: W', [B, K, M].
        h: [B, K, C].
        tolerance: of the squared error.
        least: what H may be at least: 0, or -inf for semi-NMF.

    Returns:
        W', H, the iterations, int64 [B], and whether these sufficed, bool [B].
    """
    found_w, found_h = w.clone(), h.clone()
    iterations = torch.full((len(x),), max_iterations, device=x.device)
    converged = torch.zeros_like(iterations, dtype=torch.bool)
    squared_norm = x.square().sum((1, 2), dtype=torch.float64)
    smallest = SMALLEST_32 if x.dtype == torch.float32 else SMALLEST_64
    error = torch.full_like(squared_norm, torch.inf)
    earlier, momentum, ceiling = error, torch.full_like(error, FIRST_MOMENTUM), torch.ones_like(error)
    which = torch.arange(len(x), device=x.device)
    plain = plain_iterations(x, least, max_iterations)
    ahead_w, ahead_h, measured_h = w, h, h
    too_far = torch.zeros_like(which, dtype=torch.bool)
    for iteration in range(max_iterations):
        products, curvatures = ahead_h @ x.mT, ahead_h @ ahead_h.mT
        sweeps = SWEEPS if iteration >= plain else 1
        new_w = sweep(ahead_w, products, curvatures, sweeps)
        reached = squared_norm - 2 * _inner(new_w, products) + _inner(new_w @ new_w.mT, curvatures)
        too_far = (reached > error) & ~too_far  # an increase right after going back is rounding
        error = torch.where(too_far, error, reached)
        used = torch.where(too_far, 0, momentum if iteration >= plain else 0).to(x.dtype)[:, None, None]
        back = too_far[:, None, None]
        measured_h = torch.where(back, measured_h, ahead_h)
        ahead_w, w = torch.where(back, w, _extrapolated(new_w, w, used)), torch.where(back, w, new_w)
        new_h = sweep(ahead_h, ahead_w @ x, ahead_w @ ahead_w.mT, sweeps, least)
        ahead_h = torch.where(back, measured_h, _extrapolated(new_h, h, used, least))
        h = torch.where(back, measured_h, new_h)
        if iteration >= plain:
            grown, higher = torch.minimum(ceiling, GROWTH * momentum), (CEILING_GROWTH * ceiling).clamp(max=1)
            ceiling = torch.where(too_far, momentum, higher)
            momentum = torch.where(too_far, momentum / DECAY, grown)
        if (iteration + 1) % WINDOW == 0 or iteration + 1 == max_iterations:
            finished = (error <= smallest * squared_norm) | (earlier - error <= tolerance * error)
            earlier = error
            found_w[which], found_h[which] = w, measured_h
            iterations[which[finished]], converged[which[finished]] = iteration + 1, True
            if finished.all():
                break
            if finished.any():
                rest = ~finished
                x, w, h, measured_h = x[rest], w[rest], h[rest], measured_h[rest]
                ahead_w, ahead_h, which, too_far = ahead_w[rest], ahead_h[rest], which[rest], too_far[rest]
                squared_norm, error, earlier = squared_norm[rest], error[rest], earlier[rest]
                momentum, ceiling = momentum[rest], ceiling[rest]
    return found_w, found_h, iterations, converged


def sweep(rows: Tensor, products: Tensor, curvatures: Tensor, times: int = 1, least: float = 0.0) -> Tensor:
    """Set each row of a factor in turn to its minimizer: clamp(row + (products - curvatures rows) / diagonal).

    Args:
        rows: H [B, K, C], or W' [B, K, M].
        products: W'X, or HX'.
        curvatures: W'W, or HH', [B, K, K].
        least: what the rows may be at least.
    """
    rows = rows.clone()
    diagonal = curvatures.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0, 1 / diagonal, 0)  # else the group is absent, and any row is a minimizer
    for k in [*range(rows.shape[1])] * times:
        step = products[:, k] - (curvatures[:, k, None] @ rows)[:, 0]
        rows[:, k] = (rows[:, k] + scale[:, k, None] * step).clamp(min=least)
    return rows


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), dtype=torch.float64)


def _extrapolated(new: Tensor, old: Tensor, momentum: Tensor, least: float = 0.0) -> Tensor:
    return (new + momentum * (new - old)).clamp(min=least)
