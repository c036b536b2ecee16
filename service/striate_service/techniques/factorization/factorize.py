"""Factorize matrices: check, start, descend, measure."""

from __future__ import annotations

import math
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
    arrange_for,
    check_components,
    check_factors,
    check_matrix,
    measure,
)
from striate_service.techniques.factorization.start import nndsvd

# Groups that are told apart by little appear late, after many iterations that gain little each: with 1e-5, 88 of the 96
# factorizations of descent.py end where scikit-learn's do, with 1e-6 94, and with this all of them.
_TOLERANCE = 3e-7
_SMALL_TOLERANCE = 1e-6  # small problems take plain iterations throughout, which do not stop in such a place
# Semi-NMF ends on a plain where many factors are as good: with this tolerance, within a factor 1.0001 of the limit.
_SEMI_TOLERANCE = 1e-5
_DIVERGENCE_TOLERANCE = 1e-5
_MAX_ITERATIONS = 2000
_CLEAR_GAIN = 1e-3  # in the relative error: more than rounding and early stopping explain


def factorize(
    x: Tensor,
    components: int,
    *,
    method: Literal["nmf", "semi-nmf"] = "nmf",
    rectify: bool = False,
    loss: Literal["frobenius", "kullback-leibler"] = "frobenius",
    init: Start | None = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
) -> Factorization:
    """Factorize a matrix, or each of a batch.

    The same input gives the same bytes, and on a CPU a matrix gives the same bytes alone and in any batch. A batch uses
    torch.get_num_threads() threads.

    Args:
        x: [M, C] or [B, M, C], finite; computed in float32, and in float64 where W H comes within 1% of X.
        components: K, 1 to min(M, C).
        method: "nmf": X, W and H are >= 0. "semi-nmf": W is (Ding, Li and Jordan 2010).
        rectify: factorize X with negative values as 0, by "nmf". Errors and shares are still those of X as it is.
        loss: what is minimized: ||X - W H||^2, or, for "nmf", the divergence of `divergence.py`, which starts from
            "nndsvda".
        init: the start: scikit-learn's method of that name, or W [..., M, K] and H [..., K, C]. None: "nndsvd"; small
            problems also try "nndsvda", and keep that result where it is clearly better.
        tolerance: stop when `descent.WINDOW` iterations lower the squared error by no more than this share of it, by
            default 3e-7 (1e-6 for small problems, 1e-5 for other semi-NMF). For the divergence: when ten iterations
            lower it by no more than this share of its first value. 0: when they lower it no more.
        max_iterations: by default 2000, and fewer for a large matrix (`costs.most_iterations`).

    Raises:
        ValueError: `x` or `init` is not such a matrix, K is out of range, or a name is not known.
    """
    if method not in ("nmf", "semi-nmf"):
        raise ValueError(f'method should be "nmf" or "semi-nmf", not {method!r}')
    if loss not in ("frobenius", "kullback-leibler") or (loss != "frobenius" and method != "nmf"):
        raise ValueError(f'loss should be "frobenius", or with "nmf" "kullback-leibler", not {loss!r}')
    if isinstance(init, str) and init not in ("nndsvd", "nndsvda"):
        raise ValueError(f'init should be "nndsvd", "nndsvda" or factors to start from, not {init!r}')
    if rectify and method != "nmf":
        raise ValueError('rectify goes with "nmf"')
    check_matrix(x, signed=rectify or method == "semi-nmf")
    check_components(x, components)
    if max_iterations is None:
        max_iterations = min(_MAX_ITERATIONS, most_iterations(x.shape[-2], x.shape[-1], components))
    given = (x if x.dim() == 3 else x[None]).detach().float()
    batch = given.clamp(min=0) if rectify else given
    least = 0.0 if method == "nmf" else -math.inf
    if isinstance(init, tuple):
        w, h = (factor.detach().expand(len(batch), *factor.shape[-2:]).double() for factor in init)
        check_factors(batch, components, w, h, least)
        init = w, h
    if loss == "frobenius":
        if tolerance is None:
            tolerance = _usual_tolerance(batch, method)
        found = _least_squares(batch, components, init, tolerance, max_iterations, least)
    else:
        w, h = init if isinstance(init, tuple) else nndsvd(batch, components, fill=True)
        limit = _DIVERGENCE_TOLERANCE if tolerance is None else tolerance
        found = arrange(measure(batch, *divergence.descend(batch, w.float(), h.float(), limit, max_iterations)))
    if rectify:
        found = arrange_for(given, found)
    return found if x.dim() == 3 else found.unbind()[0]


def _usual_tolerance(x: Tensor, method: str) -> float:
    if is_small(x):
        return _SMALL_TOLERANCE
    return _TOLERANCE if method == "nmf" else _SEMI_TOLERANCE


def _least_squares(
    x: Tensor, components: int, init: Start | None, tolerance: float, max_iterations: int, least: float
) -> Factorization:
    found = _solve(x, components, init or "nndsvd", tolerance, max_iterations, least)
    if init is not None or not is_small(x):
        return found
    other = _solve(x, components, "nndsvda", tolerance, max_iterations, least)
    better = other.relative_error < (1 - _CLEAR_GAIN) * found.relative_error
    chosen = (
        torch.where(better.view(-1, *[1] * (part.dim() - 1)), instead, part)
        for part, instead in zip(found.parts(), other.parts(), strict=True)
    )
    return Factorization(*chosen)


def _solve(
    x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int, least: float
) -> Factorization:
    if x.device.type != "cpu":
        return factorize_together(x, components, init, tolerance, max_iterations, least)
    from striate_service.techniques.factorization.cpu import factorize_each  # numba takes half a second to load

    return factorize_each(x, components, init, tolerance, max_iterations, least)


def factorize_together(
    x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int, least: float = 0.0
) -> Factorization:
    """Factorize a batch [B, M, C] in torch, on the device that holds it; H is >= `least`."""
    w, h = nndsvd(x, components, fill=init == "nndsvda", least=least) if isinstance(init, str) else init
    x = x.double() if is_small(x) else x
    w, h, *ended = descend(x, w.to(x.dtype).mT.contiguous(), h.to(x.dtype), tolerance, max_iterations, least)
    found = measure(x, w.mT, h, *ended)
    if is_small(x):
        return arrange(found)
    near = found.relative_error.square() <= SMALLEST_32
    if near.any():
        exact = x[near].double()
        better_w, better_h, more, converged = descend(
            exact, w[near].double(), h[near].double(), tolerance, max_iterations, least
        )
        w, h, (iterations, sufficed) = w.double(), h.double(), (part.clone() for part in ended)
        w[near], h[near], sufficed[near] = better_w, better_h, converged
        iterations[near] += more
        found = measure(x.double(), w.mT, h, iterations, sufficed)
    return arrange(found)
