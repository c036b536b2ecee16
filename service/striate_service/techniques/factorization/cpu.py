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
from striate_service.techniques.factorization.descent import PLAIN, SMALLEST_32, SMALLEST_64, is_small, plain_iterations
from striate_service.techniques.factorization.problem import Factorization, Start


def factorize_each(
    x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int, least: float
) -> Factorization:
    """Factorize a batch [B, M, C] of float32 problems, on up to torch.get_num_threads() threads; H is >= `least`."""
    matrices, (batch, positions, channels) = x.contiguous().numpy(), x.shape
    w, h = np.zeros((batch, positions, components), np.float32), np.zeros((batch, components, channels), np.float32)
    importance, errors = np.zeros((batch, components), np.float32), np.zeros(batch)
    iterations, converged = np.zeros(batch, np.int64), np.ones(batch, np.bool_)

    def solve(n: int) -> None:
        given = (init[0][n], init[1][n]) if isinstance(init, tuple) else init
        out = w[n], h[n], importance[n]
        errors[n], iterations[n], converged[n] = _solve(
            matrices[n], components, given, tolerance, max_iterations, least, out
        )

    threads = min(batch, torch.get_num_threads())
    # numpy's own threads gain nothing on the start's small matrices, and spin on cores that other problems use.
    with _blas().limit(limits=1):
        if threads == 1:
            for n in range(batch):
                solve(n)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(solve, range(batch)))
    found = w, h, np.sqrt(errors).astype(np.float32), importance, iterations, converged
    return Factorization(*map(torch.from_numpy, found))


@functools.cache
def _blas() -> ThreadpoolController:
    """Return the control of the BLAS threads that numpy uses; finding the library takes 8 ms, so it is cached."""
    return ThreadpoolController().select(user_api="blas")


def _solve(
    x: Array,
    components: int,
    init: Start,
    tolerance: float,
    max_iterations: int,
    least: float,
    out: tuple[Array, Array, Array],
) -> tuple[float, int, bool]:
    """Factorize X [M, C] into `out`, which holds zeros.

    Returns:
        The squared relative error, the iterations, and whether these sufficed.
    """
    squared_norm = compiled.dot(x.reshape(-1), x.reshape(-1))
    if squared_norm == 0:
        return 0.0, 0, True
    if is_small(x):
        exact = x.astype(np.float64)
        w, h = _exact_start(exact, components, init, least)
        plain = plain_iterations(x, least, max_iterations)
        steps, converged = compiled.descend(
            exact, w, h, squared_norm, SMALLEST_64, tolerance, max_iterations, plain, least
        )
        return compiled.arrange(exact, w, h, squared_norm, *out), steps, converged
    if isinstance(init, str):
        w, h = _zeros(x, components)
        compiled_start.nndsvd(x, w, h, components, fill=init == "nndsvda", least=least)
    else:
        w, h = _exact_start(x, components, init, least)
    steps, converged = compiled.descend(x, w, h, squared_norm, SMALLEST_32, tolerance, max_iterations, PLAIN, least)
    error = compiled.arrange(x, w, h, squared_norm, *out)
    left = max_iterations - steps
    if error <= SMALLEST_32 and left:
        exact, w, h = (part.astype(np.float64) for part in (x, w, h))
        more, converged = compiled.descend(exact, w, h, squared_norm, SMALLEST_64, tolerance, left, PLAIN, least)
        steps += more
        error = compiled.arrange(exact, w, h, squared_norm, *out)
    return error, steps, converged


def _zeros(x: Array, components: int) -> tuple[Array, Array]:
    """Return zeros for W' and H as `compiled` expects them: an even number of rows, and those of W' padded."""
    (positions, channels), even = x.shape, components + components % 2
    return np.zeros((even, positions + -positions % 4), x.dtype), np.zeros((even, channels), x.dtype)


def _exact_start(x: Array, components: int, init: Start, least: float) -> tuple[Array, Array]:
    w, h = _zeros(x, components)
    if isinstance(init, str):
        found = start.nndsvd(torch.from_numpy(x)[None], components, fill=init == "nndsvda", least=least)
        init = found[0][0], found[1][0]
    w[:components, : len(x)], h[:components] = init[0].mT.numpy(), init[1].numpy()
    return w, h
