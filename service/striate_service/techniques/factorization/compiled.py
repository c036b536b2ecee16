"""The descent compiled for CPUs, one problem on one thread: in torch, small steps cost ten times their arithmetic.

`descent.py` solves many problems at once in torch; these loops solve one, so a problem gives the same bytes alone and
in any batch. Each row of a factor is a group, and the number of rows is even: `w` is W' [K, M], with rows padded by
zeros to a multiple of 4; `h` is H [K, C]. The innermost loops run along rows, so that the compiler can vectorize them.
Gram matrices and errors are summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from striate_service.techniques.factorization.descent import (
    CEILING_GROWTH,
    DECAY,
    FIRST_MOMENTUM,
    GROWTH,
    SETTLED,
    SWEEPS,
    WINDOW,
)

# Sums may be reordered, which vector instructions need; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

Compiled = TypeVar("Compiled", bound=Callable[..., Any])

Array = NDArray[Any]  # float32 or float64, the same for all arguments of a call; Gram matrices are always float64


def compiled(function: Compiled) -> Compiled:
    """Compile a function when it is first called, and cache the result on disk where possible."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


@compiled
def times_x(w: Array, x: Array, out: Array) -> None:
    """out [K, C] = W'X, four rows of X and two groups at a time: each number loaded is used several times."""
    positions, channels = x.shape
    last = positions - 1
    out[:] = 0
    for i in range(0, positions, 4):  # beyond the last row w is zero, so any row of X will do
        x0, x1, x2, x3 = x[i], x[min(i + 1, last)], x[min(i + 2, last)], x[min(i + 3, last)]
        for k in range(0, len(w), 2):
            a0, a1, a2, a3 = w[k, i], w[k, i + 1], w[k, i + 2], w[k, i + 3]
            b0, b1, b2, b3 = w[k + 1, i], w[k + 1, i + 1], w[k + 1, i + 2], w[k + 1, i + 3]
            a, b = out[k], out[k + 1]
            for j in range(channels):
                a[j] += a0 * x0[j] + a1 * x1[j] + a2 * x2[j] + a3 * x3[j]
                b[j] += b0 * x0[j] + b1 * x1[j] + b2 * x2[j] + b3 * x3[j]


@compiled
def times_xt(h: Array, x: Array, out: Array) -> None:
    """out [K, M] = HX', four rows of X and two groups at a time. The padding gets the last row's values."""
    positions, channels = x.shape
    last, zero = positions - 1, x.dtype.type(0)
    for i in range(0, positions, 4):
        x0, x1, x2, x3 = x[i], x[min(i + 1, last)], x[min(i + 2, last)], x[min(i + 3, last)]
        for k in range(0, len(h), 2):
            a, b = h[k], h[k + 1]
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
            for j in range(channels):
                a0 += a[j] * x0[j]
                a1 += a[j] * x1[j]
                a2 += a[j] * x2[j]
                a3 += a[j] * x3[j]
                b0 += b[j] * x0[j]
                b1 += b[j] * x1[j]
                b2 += b[j] * x2[j]
                b3 += b[j] * x3[j]
            out[k, i], out[k, i + 1], out[k, i + 2], out[k, i + 3] = a0, a1, a2, a3
            out[k + 1, i], out[k + 1, i + 1], out[k + 1, i + 2], out[k + 1, i + 3] = b0, b1, b2, b3


@compiled
def dot(a: Array, b: Array) -> float:
    total = 0.0
    for j in range(len(a)):
        total += np.float64(a[j]) * np.float64(b[j])
    return total


@compiled
def gram(rows: Array) -> Array:
    """Return the products of all rows with each other, float64."""
    out = np.empty((len(rows), len(rows)))
    for k in range(len(rows)):
        for other in range(k + 1):
            out[k, other] = out[other, k] = dot(rows[k], rows[other])
    return out


@compiled
def sweep(rows: Array, products: Array, curvatures: Array, length: int, step: Array, least: float) -> None:
    """Set each row in turn to its minimizer: clamp(row + (products - curvatures rows) / diagonal), as `descent.sweep`.

    `step` is scratch space for a row; `length` excludes the padding; `least` is what the rows may be at least.
    """
    bound = rows.dtype.type(least)
    for k in range(len(rows)):
        if curvatures[k, k] > 0:  # else the group is absent, and any row is a minimizer
            row, product = rows[k], products[k]
            for j in range(length):
                step[j] = product[j]
            for other in range(0, len(rows), 2):
                a, b = rows[other], rows[other + 1]
                of_a, of_b = rows.dtype.type(curvatures[k, other]), rows.dtype.type(curvatures[k, other + 1])
                for j in range(length):
                    step[j] -= of_a * a[j] + of_b * b[j]
            scale = rows.dtype.type(1 / curvatures[k, k])
            for j in range(length):
                row[j] = max(row[j] + scale * step[j], bound)


@compiled
def settle(rows: Array, products: Array, curvatures: Array, max_sweeps: int, least: float) -> None:
    """Sweep until the rows converge: least squares for each column, 128 at a time to fit the cache."""
    size, count = 128, len(rows)
    even = count + count % 2
    block, product, step = np.zeros((even, size)), np.zeros((even, size)), np.zeros(size)
    before, padded = np.zeros_like(block), np.zeros((even, even))
    padded[:count, :count] = curvatures
    for first in range(0, rows.shape[1], size):
        length = min(size, rows.shape[1] - first)
        block[:count, :length] = rows[:, first : first + length]
        product[:count, :length] = products[:, first : first + length]
        for _ in range(max_sweeps):
            before[:] = block
            sweep(block, product, padded, length, step, least)
            change, total = 0.0, 0.0
            for k in range(count):
                for j in range(length):
                    change += (block[k, j] - before[k, j]) ** 2
                    total += block[k, j] ** 2
            if change <= SETTLED**2 * total:
                break
        rows[:, first : first + length] = block[:count, :length]


@compiled
def extrapolate(ahead: Array, new: Array, old: Array, momentum: float, least: float) -> None:
    bound = ahead.dtype.type(least)
    for k in range(len(ahead)):
        for j in range(ahead.shape[1]):
            ahead[k, j] = max(new[k, j] + momentum * (new[k, j] - old[k, j]), bound)


@compiled
def squared_error(squared_norm: float, w: Array, products: Array, overlaps: Array, curvatures: Array) -> float:
    """||X - W H||^2 = ||X||^2 - 2 <W', HX'> + <W'W, HH'>, without forming W H."""
    total = squared_norm
    for k in range(len(w)):
        total -= 2 * dot(w[k], products[k])
        for other in range(len(w)):
            total += overlaps[k, other] * curvatures[k, other]
    return total


@compiled
def descend(
    x: Array,
    w: Array,
    h: Array,
    squared_norm: float,
    smallest: float,
    tolerance: float,
    max_iterations: int,
    plain: int,
    least: float,
) -> tuple[int, bool]:
    """Improve W and H in place, as `descent.descend` describes; return the iterations, and whether these sufficed.

    Args:
        squared_norm: ||X||^2.
        least: what H may be at least: 0, or -inf for semi-NMF.
    """
    positions, channels = w.shape[1], x.shape[1]
    new_w, new_h, ahead_w, ahead_h = w.copy(), h.copy(), w.copy(), h.copy()
    hx, wx, step = np.zeros_like(w), np.zeros_like(h), np.zeros(max(positions, channels), x.dtype)
    errors, measured_h = np.empty(max_iterations), h.copy()
    momentum, ceiling, error, too_far, steps = FIRST_MOMENTUM, 1.0, np.inf, False, 0
    for iteration in range(max_iterations):
        times_xt(ahead_h, x, hx)
        hx[:, len(x) :] = 0
        curvatures = gram(ahead_h)
        new_w[:] = ahead_w
        sweeps = SWEEPS if iteration >= plain else 1
        for _ in range(sweeps):
            sweep(new_w, hx, curvatures, positions, step, 0.0)
        reached = squared_error(squared_norm, new_w, hx, gram(new_w), curvatures)
        too_far = reached > error and not too_far  # an increase right after going back is rounding
        if too_far:
            ahead_w[:], ahead_h[:], h[:] = w, measured_h, measured_h
            ceiling, momentum = momentum, momentum / DECAY
            continue
        error = errors[steps] = reached
        settled = steps >= WINDOW and errors[steps - WINDOW] - error <= tolerance * error
        if settled or error <= smallest * squared_norm:
            w[:], h[:] = new_w, ahead_h
            return iteration + 1, True
        steps += 1
        measured_h[:] = ahead_h
        used = x.dtype.type(momentum if iteration >= plain else 0)
        if iteration >= plain:
            momentum, ceiling = min(ceiling, GROWTH * momentum), min(1.0, CEILING_GROWTH * ceiling)
        extrapolate(ahead_w, new_w, w, used, 0.0)
        w[:] = new_w
        times_x(ahead_w, x, wx)
        new_h[:] = ahead_h
        overlaps = gram(ahead_w)
        for _ in range(sweeps):
            sweep(new_h, wx, overlaps, channels, step, least)
        extrapolate(ahead_h, new_h, h, used, least)
        h[:] = new_h
    h[:] = measured_h
    return max_iterations, False


@compiled
def arrange(x: Array, w: Array, h: Array, squared_norm: float, out_w: Array, out_h: Array, importance: Array) -> float:
    """Write the arrays of a `problem.Factorization`, and return ||X - W H||^2 / ||X||^2.

    Args:
        out_w: [M, K].
        out_h: [K, C].
        importance: [K].
    """
    components, positions = len(importance), len(x)
    products = np.zeros_like(w)
    times_xt(h, x, products)
    overlaps, curvatures = gram(w), gram(h)
    found = np.empty(components)
    for k in range(components):
        found[k] = (2 * dot(w[k], products[k]) - overlaps[k, k] * curvatures[k, k]) / squared_norm
    order = np.argsort(-found, kind="mergesort")  # stable
    for rank in range(components):
        k = order[rank]
        length = np.sqrt(curvatures[k, k])
        inverse = 1 / length if length > 0 else 0.0
        importance[rank] = found[k]
        for i in range(positions):
            out_w[i, rank] = w[k, i] * length
        for j in range(x.shape[1]):
            out_h[rank, j] = h[k, j] * inverse
    return max(squared_error(squared_norm, w, products, overlaps, curvatures), 0.0) / squared_norm
