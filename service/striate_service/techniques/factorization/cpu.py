"""On a CPU: each problem by itself, in compiled loops, several at once on threads."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from striate_service.techniques.factorization import compiled, compiled_start, start
from striate_service.techniques.factorization.compiled import Array
from striate_service.techniques.factorization.descent import PLAIN, SMALLEST_32, SMALLEST_64, is_small
from striate_service.techniques.factorization.problem import Factorization, Start

# The start finds a basis of a few directions that holds most of X. The descent first runs on this basis, where an
# iteration costs less, and then on all of X. Over 116 factorizations of real activations the median error is the same,
# and the median time is a quarter less.
_ROUGH_TOLERANCE = 1e-4


def factorize_each(x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int) -> Factorization:
    """Factorize a batch [B, M, C] of float32 problems, on up to torch.get_num_threads() threads."""
    matrices, (batch, positions, channels) = x.contiguous().numpy(), x.shape
    w, h = np.zeros((batch, positions, components), np.float32), np.zeros((batch, components, channels), np.float32)
    importance, errors = np.zeros((batch, components), np.float32), np.zeros(batch)
    iterations = np.zeros(batch, np.int64)

    def solve(n: int) -> None:
        given = (init[0][n], init[1][n]) if isinstance(init, tuple) else init
        out = w[n], h[n], importance[n]
        errors[n], iterations[n] = _solve(matrices[n], components, given, tolerance, max_iterations, out)

    threads = min(batch, torch.get_num_threads())
    # numpy's own threads gain nothing on the start's small matrices, and spin on cores that other problems use.
    with _blas().limit(limits=1):
        if threads == 1:
            for n in range(batch):
                solve(n)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(solve, range(batch)))
    found = (torch.from_numpy(part) for part in (w, h, np.sqrt(errors).astype(np.float32), importance, iterations))
    return Factorization(*found)


@functools.cache
def _blas() -> ThreadpoolController:
    """Return the control of the BLAS threads that numpy uses; finding the library takes 8 ms, so it is cached."""
    return ThreadpoolController().select(user_api="blas")


def _solve(
    x: Array, components: int, init: Start, tolerance: float, max_iterations: int, out: tuple[Array, Array, Array]
) -> tuple[float, int]:
    """Factorize X [M, C] into `out`, which holds zeros; return the squared relative error and the iterations."""
    squared_norm = compiled.dot(x.reshape(-1), x.reshape(-1))
    if squared_norm == 0:
        return 0.0, 0
    if is_small(x):
        exact = x.astype(np.float64)
        w, h = _exact_start(exact, components, init)
        whole = np.zeros((0, w.shape[1]))
        steps = compiled.descend(
            exact, whole, w, h, squared_norm, SMALLEST_64, tolerance, max_iterations, max_iterations
        )
        return compiled.arrange(exact, w, h, squared_norm, *out), steps
    steps, plain = 0, PLAIN
    if isinstance(init, str):
        w, h = _zeros(x, components)
        basis, images = compiled_start.nndsvd(x, w, h, components, fill=init == "nndsvda")
        if 2 * len(basis) * sum(x.shape) <= x.size:
            limit = max(tolerance, _ROUGH_TOLERANCE)
            steps = compiled.descend(basis, images, w, h, squared_norm, SMALLEST_32, limit, max_iterations, plain)
            plain = 0
    else:
        w, h = _exact_start(x, components, init)
    whole = np.zeros((0, w.shape[1]), np.float32)
    left = max_iterations - steps
    steps += compiled.descend(x, whole, w, h, squared_norm, SMALLEST_32, tolerance, left, plain)
    error = compiled.arrange(x, w, h, squared_norm, *out)
    if error <= SMALLEST_32:
        exact, w, h, whole = (part.astype(np.float64) for part in (x, w, h, whole))
        left = max_iterations - steps
        steps += compiled.descend(exact, whole, w, h, squared_norm, SMALLEST_64, tolerance, left, PLAIN)
        error = compiled.arrange(exact, w, h, squared_norm, *out)
    return error, steps


def _zeros(x: Array, components: int) -> tuple[Array, Array]:
    """Return zeros for W' and H as `compiled` expects them: an even number of rows, and those of W' padded."""
    (positions, channels), even = x.shape, components + components % 2
    return np.zeros((even, positions + -positions % 4), x.dtype), np.zeros((even, channels), x.dtype)


def _exact_start(x: Array, components: int, init: Start) -> tuple[Array, Array]:
    w, h = _zeros(x, components)
    if isinstance(init, str):
        found = start.nndsvd(torch.from_numpy(x)[None], components, fill=init == "nndsvda")
        init = found[0][0], found[1][0]
    w[:components, : len(x)], h[:components] = init[0].mT.numpy(), init[1].numpy()
    return w, h
