"""Factorization by another measure of fit: the Kullback-Leibler divergence, sum of X log(X / WH) - X + WH.

The divergence weighs a misfit relative to X, while the Frobenius norm is dominated by the largest values. It is
minimized by multiplicative updates (Lee and Seung 2001). They keep zeros at zero, so the start has none (NNDSVDa).
"""

from __future__ import annotations

import torch
from torch import Tensor

_WINDOW = 10  # iterations between checks of convergence, as in scikit-learn
_TINY = torch.finfo(torch.float32).tiny


def descend(
    x: Tensor, w: Tensor, h: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Improve each problem's factors until ten iterations lower its divergence by less than `tolerance` of the first.

    Args:
        x: [B, M, C]; the descent holds three arrays of its size.
        w: [B, M, K], > 0.
        h: [B, K, C], > 0.

    Returns:
        W, H, the iterations, int64 [B], and whether these sufficed, bool [B].
    """
    found_w, found_h = w.clone(), h.clone()
    iterations = torch.full((len(x),), max_iterations, device=x.device)
    converged = torch.zeros_like(iterations, dtype=torch.bool)
    which = torch.arange(len(x), device=x.device)
    first = before = divergence(x, w, h)
    for iteration in range(1, max_iterations + 1):
        w = w * ((x / _positive(w @ h)) @ h.mT) / _positive(h.sum(2))[:, None]
        h = h * (w.mT @ (x / _positive(w @ h))) / _positive(w.sum(1))[:, :, None]
        if iteration % _WINDOW == 0 or iteration == max_iterations:
            now = divergence(x, w, h)
            finished = before - now <= tolerance * first
            found_w[which], found_h[which] = w, h
            iterations[which[finished]], converged[which[finished]] = iteration, True
            if finished.all():
                break
            x, w, h, which, first, before = (part[~finished] for part in (x, w, h, which, first, now))
    return found_w, found_h, iterations, converged


def divergence(x: Tensor, w: Tensor, h: Tensor) -> Tensor:
    """Return the divergence of each problem, float64 [B]."""
    fit = _positive(w @ h)
    return (torch.xlogy(x, x / fit) - x + fit).sum((1, 2), dtype=torch.float64)


def _positive(values: Tensor) -> Tensor:
    return values.clamp(min=_TINY)
