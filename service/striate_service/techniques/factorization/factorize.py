"""Factorize matrices: check, start, descend, measure."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from striate_service.techniques.costs import most_iterations
from striate_service.techniques.factorization import divergence
from striate_service.techniques.factorization.descent import SMALLEST_32, descend, is_small
from striate_service.techniques.factorization.problem import (
    Factorization,
    Start,
    arrange,
    check_components,
    check_factors,
    check_matrix,
    measure,
)
from striate_service.techniques.factorization.start import nndsvd

# With this tolerance the error on real activations ends within a factor 1.00001 of its limit, 1.000001 in the median.
_TOLERANCE = 1e-5
_SMALL_TOLERANCE = 1e-6  # small problems take plain iterations, which converge more slowly
_DIVERGENCE_TOLERANCE = 1e-5
_MAX_ITERATIONS = 2000
_CLEAR_GAIN = 1e-3  # in the relative error: more than rounding and early stopping explain


def factorize(
    x: Tensor,
    components: int,
    *,
    loss: Literal["frobenius", "kullback-leibler"] = "frobenius",
    init: Start | None = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
) -> Factorization:
    """Factorize a non-negative matrix, or each of a batch.

    The same input gives the same bytes, and on a CPU a matrix gives the same bytes alone and in any batch. A batch uses
    torch.get_num_threads() threads.

    Args:
        x: [M, C] or [B, M, C], finite, >= 0; computed in float32, and in float64 where W H comes within 1% of X.
        components: K, 1 to min(M, C).
        loss: what is minimized: ||X - W H||^2, or the divergence of `divergence.py`, which starts from "nndsvda".
        init: the start: scikit-learn's method of that name, or W [..., M, K] and H [..., K, C]. None: "nndsvd"; small
            problems also try "nndsvda", and keep that result where it is clearly better.
        tolerance: stop when `descent.WINDOW` iterations lower the squared error by less than this share of it, by
            default 1e-5 (1e-6 for small problems). For the divergence: when ten iterations lower it by less than this
            share of its first value.
        max_iterations: by default 2000, and fewer for a large matrix (`costs.most_iterations`).

    Raises:
        ValueError: `x` or `init` is not such a matrix, K is out of range, or `loss` or `init` is no known name.
    """
    check_matrix(x)
    check_components(x, components)
    if loss not in ("frobenius", "kullback-leibler"):
        raise ValueError(f'loss should be "frobenius" or "kullback-leibler", not {loss!r}')
    if isinstance(init, str) and init not in ("nndsvd", "nndsvda"):
        raise ValueError(f'init should be "nndsvd", "nndsvda" or factors to start from, not {init!r}')
    if max_iterations is None:
        max_iterations = min(_MAX_ITERATIONS, most_iterations(x.shape[-2], x.shape[-1], components))
    batch = (x if x.dim() == 3 else x[None]).detach().float()
    if isinstance(init, tuple):
        w, h = (factor.detach().expand(len(batch), *factor.shape[-2:]).double() for factor in init)
        check_factors(batch, components, w, h)
        init = w, h
    if loss == "frobenius":
        limit = tolerance or (_SMALL_TOLERANCE if is_small(batch) else _TOLERANCE)
        found = _least_squares(batch, components, init, limit, max_iterations)
    else:
        w, h = init if isinstance(init, tuple) else nndsvd(batch, components, fill=True)
        limit = tolerance or _DIVERGENCE_TOLERANCE
        w, h, iterations = divergence.descend(batch, w.float(), h.float(), limit, max_iterations)
        found = arrange(measure(batch, w, h, iterations))
    return found if x.dim() == 3 else found.unbind()[0]


def _least_squares(
    x: Tensor, components: int, init: Start | None, tolerance: float, max_iterations: int
) -> Factorization:
    found = _solve(x, components, init or "nndsvd", tolerance, max_iterations)
    if init is not None or not is_small(x):
        return found
    other = _solve(x, components, "nndsvda", tolerance, max_iterations)
    better = other.relative_error < (1 - _CLEAR_GAIN) * found.relative_error
    chosen = (
        torch.where(better.view(-1, *[1] * (part.dim() - 1)), instead, part)
        for part, instead in zip(found.parts(), other.parts(), strict=True)
    )
    return Factorization(*chosen)


def _solve(x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int) -> Factorization:
    if x.device.type != "cpu":
        return factorize_together(x, components, init, tolerance, max_iterations)
    from striate_service.techniques.factorization.cpu import factorize_each  # numba takes half a second to load

    return factorize_each(x, components, init, tolerance, max_iterations)


def factorize_together(x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int) -> Factorization:
    """Factorize a batch [B, M, C] in torch, on the device that holds it."""
    w, h = nndsvd(x, components, fill=init == "nndsvda") if isinstance(init, str) else init
    x = x.double() if is_small(x) else x
    w, h, iterations = descend(x, w.to(x.dtype).mT.contiguous(), h.to(x.dtype), tolerance, max_iterations)
    found = measure(x, w.mT, h, iterations)
    if is_small(x):
        return arrange(found)
    near = found.relative_error.square() <= SMALLEST_32
    if near.any():
        exact = x[near].double()
        better_w, better_h, more = descend(exact, w[near].double(), h[near].double(), tolerance, max_iterations)
        w, h, iterations = w.double(), h.double(), iterations.clone()
        w[near], h[near] = better_w, better_h
        iterations[near] += more
        found = measure(x.double(), w.mT, h, iterations)
    return arrange(found)
