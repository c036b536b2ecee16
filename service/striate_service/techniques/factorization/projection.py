"""Measure how strongly given groups are present: non-negative least squares onto their directions."""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.factorization.descent import SETTLED, is_small, sweep
from striate_service.techniques.factorization.problem import Factorization, check_matrix, measure

_MAX_SWEEPS = 10_000  # nearly parallel directions need many; usual ones need less than a hundred


def project(x: Tensor, directions: Tensor) -> Factorization:
    """Return the W >= 0 that minimizes ||X - W H||, for given H. The minimum is global.

    Args:
        x: [M, C] or [B, M, C], finite, >= 0.
        directions: H, [K, C], shared by the batch, or [B, K, C]; finite, >= 0, of any length, and K may exceed C.

    Returns:
        The weights, with the directions unchanged and in the given order.

    Raises:
        ValueError: `x` or `directions` is not such a matrix, or their channels differ in number.
    """
    check_matrix(x)
    check_matrix(directions, "directions")
    if directions.shape[-1] != x.shape[-1]:
        raise ValueError(f"directions have {directions.shape[-1]} channels, and x has {x.shape[-1]}")
    batch = (x if x.dim() == 3 else x[None]).detach().float()
    h = directions.detach().float().expand(len(batch), *directions.shape[-2:])
    w = torch.stack([fit_weights(*problem) for problem in zip(batch, h, strict=True)])
    found = measure(batch, w, h, torch.zeros(len(batch), dtype=torch.int64))
    return (found if x.dim() == 3 else found.unbind()[0]).float()


def fit_weights(x: Tensor, h: Tensor) -> Tensor:
    """Return W [M, K] for X [M, C] and H [K, C], all float32."""
    precise = x.double() if is_small(x) else x
    products, curvatures = (h.to(precise.dtype) @ precise.mT).double(), h.double() @ h.double().mT
    return minimize_rows(torch.zeros_like(products), products, curvatures).mT.float().contiguous()


def minimize_rows(rows: Tensor, products: Tensor, curvatures: Tensor, max_sweeps: int = _MAX_SWEEPS) -> Tensor:
    """Return the `rows` >= 0 that minimize the error, given the other factor: sweep until they converge. In float64.

    Args:
        rows: W' [K, M] or H [K, C], to start from.
        products, curvatures: as for `descent.sweep`, without the dimension B.
    """
    if rows.device.type == "cpu":
        from striate_service.techniques.factorization import compiled  # numba takes half a second to load

        rows = rows.clone(memory_format=torch.contiguous_format)
        compiled.settle(rows.numpy(), products.contiguous().numpy(), curvatures.contiguous().numpy(), max_sweeps)
        return rows
    for _ in range(max_sweeps):
        before, rows = rows, sweep(rows[None], products[None], curvatures[None])[0]
        if (rows - before).norm() <= SETTLED * rows.norm():
            break
    return rows
