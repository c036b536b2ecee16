"""The start compiled for CPUs: NNDSVD, as `start.py` describes it, from a block Krylov space instead of a Gram matrix.

The rows of all matrices are vectors, as in `compiled.py`; rows over positions are padded with zeros.
"""

from __future__ import annotations

import functools

import numpy as np

from striate_service.techniques.factorization.compiled import Array, compiled, dot, gram, times_x, times_xt

# Blocks of K vectors in the Krylov basis. With 5, all of 148 factorizations of real activations end where they do with
# 8 blocks; with 4, some do not.
_BLOCKS = 5


def nndsvd(x: Array, w: Array, h: Array, components: int, *, fill: bool, least: float) -> None:
    """Write the start into `w` and `h`, which hold zeros. X is float32.

    Args:
        fill: replace zeros by the mean of |X| (NNDSVDa).
        least: what H may be at least: 0, or -inf for semi-NMF.
    """
    basis, images, products = krylov(x, _probe(len(w), len(x)), _BLOCKS)
    squares, mixtures = np.linalg.eigh(products)
    leading = np.ascontiguousarray(mixtures[:, ::-1][:, :components].T)
    non_negative_parts(leading, squares[::-1].copy(), basis, images, w, h, least)
    if fill:
        mean = np.abs(x).mean(dtype=np.float64)
        for factor, length in ((w, len(x)), (h, x.shape[1])):
            shown = factor[:components, :length]
            shown[shown == 0] = mean


@functools.lru_cache(maxsize=8)
def _probe(size: int, positions: int) -> Array:
    """Return random rows, the same on every call."""
    probe = np.zeros((size, positions + -positions % 4), np.float32)
    probe[:, :positions] = np.random.default_rng(0).standard_normal((size, positions))
    return probe


@compiled
def orthonormalize(rows: Array, first: int) -> None:
    """Make each row from `first` on orthogonal to the rows before it and of unit length; dependent rows become zero."""
    for k in range(first, len(rows)):
        row = rows[k]
        before = np.sqrt(dot(row, row))
        for _ in range(2):  # twice is enough (Giraud et al. 2005)
            for earlier in range(k):
                other = rows[earlier]
                overlap = rows.dtype.type(dot(row, other))
                for j in range(len(row)):
                    row[j] -= overlap * other[j]
        after = np.sqrt(dot(row, row))
        # What remains of a dependent row is rounding, which has no direction.
        scale = rows.dtype.type(1 / after if after > 1e-5 * before else 0)
        for j in range(len(row)):
            row[j] *= scale


@compiled
def krylov(x: Array, probe: Array, blocks: int) -> tuple[Array, Array, Array]:
    """Return a basis Q of a block Krylov space (Musco and Musco 2015), QX', and the latter's Gram matrix.

    Q holds probe X, probe X (X'X), ... orthonormalized. The leading singular triples of X are nearly those of X Q'Q.

    Args:
        probe: [b, M], random.
        blocks: the number of blocks in the basis.
    """
    size = len(probe)
    basis = np.zeros((size * blocks, x.shape[1]), x.dtype)
    images = np.zeros((size * blocks, probe.shape[1]), x.dtype)
    times_x(probe, x, basis[:size])
    for block in range(blocks):
        first, end = block * size, (block + 1) * size
        orthonormalize(basis[:end], first)
        times_xt(basis[first:end], x, images[first:end])
        images[first:end, len(x) :] = 0
        if block + 1 < blocks:
            times_x(images[first:end], x, basis[end : end + size])
    return basis, images, gram(images)


@compiled
def non_negative_parts(
    leading: Array, squares: Array, basis: Array, images: Array, w: Array, h: Array, least: float
) -> None:
    """Set the rows of W' and H to parts of singular vectors that are mixtures of the rows of `images` and `basis`.

    Args:
        leading: [K, b], each vector's coefficients.
        squares: squared singular values.
    """
    u, v = np.empty(w.shape[1]), np.empty(h.shape[1])
    for k in range(len(leading)):
        if squares[k] <= 1e-12 * squares[0]:
            break  # the rest is rounding, which has no direction
        u[:], v[:] = 0, 0  # u carries the singular value
        for other in range(leading.shape[1]):
            share, image, vector = leading[k, other], images[other], basis[other]
            for i in range(len(u)):
                u[i] += share * image[i]
            for j in range(len(v)):
                v[j] += share * vector[j]
        above_u, below_u = _squared_parts(u)
        above_v, below_v = _squared_parts(v)
        if least < 0:  # H keeps the whole of v
            above_v = below_v = above_v + below_v
        sign = 1.0 if above_u * above_v >= below_u * below_v else -1.0
        of_u, of_v = (above_u, above_v) if sign > 0 else (below_u, below_v)
        if of_u > 0 and of_v > 0:
            ratio = sign * (of_v / of_u) ** 0.25  # gives both vectors the length sqrt(||u|| ||v||)
            for i in range(len(u)):
                w[k, i] = max(ratio * u[i], 0.0)
            ratio = sign * (of_u / of_v) ** 0.25
            for j in range(len(v)):
                h[k, j] = max(ratio * v[j], least)


@compiled
def _squared_parts(row: Array) -> tuple[float, float]:
    """Return the squared lengths of the positive and of the negative part."""
    above, below = 0.0, 0.0
    for j in range(len(row)):
        square = row[j] * row[j]
        above += square if row[j] > 0 else 0.0
        below += square if row[j] < 0 else 0.0
    return above, below
