"""How strongly given groups are present: non-negative least squares onto their directions."""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.factorization.descent import sweep
from striate_service.techniques.factorization.problem import Factorization, check_matrix, measured

_MAX_SWEEPS = 10_000
_SETTLED = 1e-9


def project(x: Tensor, directions: Tensor) -> Factorization:
    """Return the W >= 0 that minimizes ||X - W H||, for given H.

    Args:
        x: [M, C] or [B, M, C], finite, >= 0.
        directions: H, [K, C], shared by the batch, or [B, K, C].

    Returns:
        The weights, with the directions as they were given and in their order.

    Raises:
        ValueError: `x` or `directions` is not such a matrix, or their channels differ in number.
    """
    check_matrix(x)
    check_matrix(directions)
    if directions.shape[-1] != x.shape[-1]:
        raise ValueError(f"directions have {directions.shape[-1]} channels, and x has {x.shape[-1]}")
    batch = x if x.dim() == 3 else x[None]
    h = directions.expand(len(batch), *directions.shape[-2:])
    w = torch.stack([_weights(*parts) for parts in zip(batch.double(), h.double(), strict=True)])
    found = measured(batch.float(), w.float(), h.float(), torch.zeros(len(batch), dtype=torch.int64))
    return found if x.dim() == 3 else found.unbind()[0]


def _weights(x: Tensor, h: Tensor) -> Tensor:
    wt = x.new_zeros(1, len(h), len(x))
    products, gram = h @ x.T, h @ h.T
    for _ in range(_MAX_SWEEPS):
        before = wt
        wt = sweep(wt, products[None], gram[None])
        if (wt - before).norm() <= _SETTLED * wt.norm():
            break
    return wt[0].T.contiguous()
