"""The descent: hierarchical alternating least squares."""

from __future__ import annotations

import torch
from torch import Tensor

_CHECK = 10
_ROUNDING = 1e-12  # of ||X||^2: a squared error this small is float32 rounding of X itself


def descend(x: Tensor, w: Tensor, h: Tensor, tolerance: float, max_iterations: int) -> int:
    """Improve W and H in place until they hardly change the error; return the iterations that it took."""
    squared_norm = (x * x).sum()
    smallest = float(squared_norm) * _ROUNDING
    previous = _squared_error(x, w, h, squared_norm)
    for iteration in range(1, max_iterations + 1):
        wt = w.T.contiguous()
        sweep(wt, h @ x.T, h @ h.T)
        sweep(h, wt @ x, wt @ wt.T)
        w.copy_(wt.T)
        if iteration % _CHECK == 0:
            error = _squared_error(x, w, h, squared_norm)
            if error <= smallest or previous - error <= tolerance * previous:
                return iteration
            previous = error
    return max_iterations


def sweep(rows: Tensor, products: Tensor, gram: Tensor) -> None:
    """Set each row of a factor to its minimizer given the other factor: clamp(row + (products - gram rows) / diagonal).

    Args:
        rows: H [K, C], or W' [K, M].
        products: W'X, or HX'.
        gram: W'W, or HH', [K, K].
    """
    for k, curvature in enumerate(gram.diagonal().tolist()):
        if curvature > 0:  # else the group is absent, and any row is a minimizer
            step = torch.addmv(products[k], rows.T, gram[k], alpha=-1)
            rows[k].add_(step, alpha=1 / curvature).clamp_(min=0)


def _squared_error(x: Tensor, w: Tensor, h: Tensor, squared_norm: Tensor) -> float:
    """||X - W H||^2 = ||X||^2 - 2 <X H', W> + <W'W, HH'>, without forming W H."""
    return float(squared_norm - 2 * ((x @ h.T) * w).sum() + ((w.T @ w) * (h @ h.T)).sum())
