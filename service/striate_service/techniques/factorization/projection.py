"""Measure how strongly given groups are present: least squares onto their directions, with strengths >= 0 or signed."""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.factorization.descent import SETTLED, is_small, sweep
from striate_service.techniques.factorization.problem import Factorization, check_matrix, measure
from striate_service.techniques.methods import Method, has_signed_strengths, takes_negatives

_MAX_SWEEPS = 10_000  # nearly parallel directions need many; usual ones need less than a hundred


def project(x: Tensor, directions: Tensor, *, method: Method = "nmf", rectify: bool = False) -> Factorization:
    """Return the W that minimizes ||X - W H||, for given H. The minimum is global.

    Args:
        x: [M, C] or [B, M, C], finite.
        directions: H, [K, C], shared by the batch, or [B, K, C]; finite, of any length, and K may exceed C.
        method: what H was found by. "nmf": X and H are >= 0. W is >= 0, but for methods with signed strengths.
        rectify: take negative values of X as 0. Errors and shares are still those of X as it is.

    Returns:
        The weights, with the directions unchanged and in the given order.

    Raises:
        ValueError: `x` or `directions` is not such a matrix, or their channels differ in number.
    """
    check_matrix(x, signed=rectify or takes_negatives(method))
    check_matrix(directions, "directions", signed=takes_negatives(method))
    if directions.shape[-1] != x.shape[-1]:
        raise ValueError(f"directions have {directions.shape[-1]} channels, and x has {x.shape[-1]}")
    batch = (x if x.dim() == 3 else x[None]).detach().float()
    h = directions.detach().float().expand(len(batch), *directions.shape[-2:])
    fit = fit_signed_weights if has_signed_strengths(method) else fit_weights
    seen = batch.clamp(min=0) if rectify else batch
    w = torch.stack([fit(*problem) for problem in zip(seen, h, strict=True)])
    none = torch.zeros(len(batch), dtype=torch.int64)
    found = measure(batch, w, h, none, none == 0)
    return (found if x.dim() == 3 else found.unbind()[0]).float()


def fit_weights(x: Tensor, h: Tensor) -> Tensor:
    """Return W >= 0 [M, K] for X [M, C] and H [K, C], all float32."""
    precise = x.double() if is_small(x) else x
    products, curvatures = (h.to(precise.dtype) @ precise.mT).double(), h.double() @ h.double().mT
    return minimize_rows(torch.zeros_like(products), products, curvatures).mT.float().contiguous()


def fit_signed_weights(x: Tensor, h: Tensor) -> Tensor:
    """Return W [M, K], of either sign, for X [M, C] and H [K, C], all float32."""
    weights: Tensor = x.double() @ torch.linalg.pinv(h.double())
    return weights.float()


def minimize_rows(
    rows: Tensor, products: Tensor, curvatures: Tensor, max_sweeps: int = _MAX_SWEEPS, least: float = 0.0
) -> Tensor:
    """Return the `rows` >= `least` that minimize the error, given the other factor: sweep until they converge. In
    float64.

    Args:
        rows: W' [K, M] or H [K, C], to start from.
        products, curvatures: as for `descent.sweep`, without the dimension B.
    """
    if rows.device.type == "cpu":
        from striate_service.techniques.factorization import compiled  # numba takes half a second to load

        rows = rows.clone(memory_format=torch.contiguous_format)
        compiled.settle(rows.numpy(), products.contiguous().numpy(), curvatures.contiguous().numpy(), max_sweeps, least)
        return rows
    for _ in range(max_sweeps):
        before, rows = rows, sweep(rows[None], products[None], curvatures[None], least=least)[0]
        if (rows - before).norm() <= SETTLED * rows.norm():
            break
    return rows
