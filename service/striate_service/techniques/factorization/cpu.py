"""On a CPU: each problem by itself, in compiled loops, several at once on threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate_service.techniques.factorization import compiled, start
from striate_service.techniques.factorization.descent import SMALLEST_32, SMALLEST_64, is_small, plain_iterations
from striate_service.techniques.factorization.problem import Factorization, Start

# The Krylov basis of the start: this many blocks of K + 2 vectors. On real activations, with 6 and 10 groups, the
# singular vectors are then as exact as scikit-learn's randomized ones, at a third of their cost.
_BLOCKS = 5
_EXTRA = 2

Floats = NDArray[np.float32] | NDArray[np.float64]


def factorize_each(x: Tensor, components: int, init: Start, tolerance: float, max_iterations: int) -> Factorization:
    """Factorize a batch [B, M, C] of float32 problems, on up to torch.get_num_threads() threads."""
    matrices = x.contiguous().numpy()
    even, padded = components + components % 2, x.shape[1] + -x.shape[1] % 4  # what `compiled` wants
    w, h = np.zeros((len(x), even, padded)), np.zeros((len(x), even, x.shape[2]))
    importance, errors, iterations = np.zeros((len(x), components)), np.zeros(len(x)), np.zeros(len(x), np.int64)
    if isinstance(init, tuple):
        w[:, :components, : x.shape[1]], h[:, :components] = init[0].mT.numpy(), init[1].numpy()
    probe = np.zeros((min(even + _EXTRA, x.shape[2] + x.shape[2] % 2), padded), np.float32)
    squared_norms = [compiled.dot(matrix, matrix) for matrix in matrices.reshape(len(x), -1)]
    probe[:, : x.shape[1]] = np.random.default_rng(0).standard_normal((len(probe), x.shape[1]))

    plain = plain_iterations(x, max_iterations)

    def descend(n: int, dtype: type[np.float32 | np.float64], smallest: float) -> None:
        matrix, at = matrices[n].astype(dtype, copy=False), (w[n].astype(dtype), h[n].astype(dtype))
        left = max_iterations - int(iterations[n])
        iterations[n] += compiled.descend(matrix, *at, squared_norms[n], smallest, tolerance, left, plain)
        errors[n] = compiled.measure(matrix, *at, squared_norms[n], importance[n])
        w[n], h[n] = at

    def solve(n: int) -> None:
        if squared_norms[n] == 0:
            w[n], h[n] = 0, 0
            return
        if isinstance(init, str):
            at = w[n, :components, : x.shape[1]], h[n, :components]
            if is_small(x):
                found = start.nndsvd(x[n, None], components, fill=init == "nndsvda")
                at[0][:], at[1][:] = found[0][0].T.numpy(), found[1][0].numpy()
            else:
                nndsvd(matrices[n], probe, *at, fill=init == "nndsvda")
        if not is_small(x):
            descend(n, np.float32, SMALLEST_32)
        if is_small(x) or errors[n] <= SMALLEST_32:
            descend(n, np.float64, SMALLEST_64)

    threads = min(len(x), torch.get_num_threads())
    if threads == 1:
        for n in range(len(x)):
            solve(n)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(solve, range(len(x))))
    return Factorization(
        torch.from_numpy(w[:, :components, : x.shape[1]]).mT,
        torch.from_numpy(h[:, :components]),
        torch.from_numpy(errors).sqrt(),
        torch.from_numpy(importance),
        torch.from_numpy(iterations),
    )


def nndsvd(x: Floats, probe: Floats, w: NDArray[np.float64], h: NDArray[np.float64], *, fill: bool) -> None:
    """Set W' and H to the start that `start.nndsvd` describes."""
    basis, images, products = compiled.krylov(x, probe, _BLOCKS)
    squares, mixtures = np.linalg.eigh(products)
    leading = mixtures[:, ::-1][:, : len(w)].T.astype(x.dtype)
    for k, (u, v) in enumerate(zip(leading @ images[:, : w.shape[1]], leading @ basis, strict=True)):
        if squares[-1 - k] <= 1e-12 * squares[-1]:
            break  # it is rounding, which has no direction. Of the others u carries the singular value.
        parts = [(np.maximum(sign * u, 0), np.maximum(sign * v, 0)) for sign in (1, -1)]
        lengths = [(np.linalg.norm(a), np.linalg.norm(b)) for a, b in parts]
        chosen = int(lengths[0][0] * lengths[0][1] < lengths[1][0] * lengths[1][1])
        size = np.sqrt(lengths[chosen][0] * lengths[chosen][1])
        if size > 0:
            w[k], h[k] = (part * (size / length) for part, length in zip(parts[chosen], lengths[chosen], strict=True))
    if fill:
        mean = x.mean(dtype=np.float64)
        w[w == 0], h[h == 0] = mean, mean
