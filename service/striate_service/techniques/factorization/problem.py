"""Check the input of a factorization; scale, order and measure its factors."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

Start = Literal["nndsvd", "nndsvda"] | tuple[Tensor, Tensor]
"""A method of `start.nndsvd` ("nndsvda" fills zeros with the mean of X); or W [..., M, K] and H [..., K, C]."""


@dataclass(frozen=True)
class Factorization:
    """X is about W H. Groups are in descending order of importance. In a batch every array has a first dimension B."""

    weights: Tensor
    """W: float32 [M, K], >= 0 but for methods whose strengths are signed (`methods.has_signed_strengths`)."""
    directions: Tensor
    """H: float32 [K, C], rows of unit length (a group that explains nothing has a row of zeros)."""
    relative_error: Tensor
    """||X - W H|| / ||X||, float32 []; 0 where X is 0."""
    importance: Tensor
    """float32 [K]: 1 - ||X - w_k h_k||^2 / ||X||^2, the share of X that the group explains alone; 0 where X is 0."""
    iterations: Tensor
    """int64 []; 0 where nothing was iterated."""
    converged: Tensor
    """bool []: the iterations sufficed."""

    def unbind(self) -> list[Factorization]:
        """Return the factorizations of a batch one by one."""
        return [Factorization(*parts) for parts in zip(*map(Tensor.unbind, self.parts()), strict=True)]

    def parts(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def float(self) -> Factorization:
        """Return the factorization in float32."""
        return Factorization(*(part.float() if part.is_floating_point() else part for part in self.parts()))


def check_matrix(x: Tensor, name: str = "x", *, signed: bool = False) -> None:
    """Raise ValueError unless `x` is a finite matrix [M, C], or a batch of them [B, M, C], and >= 0 unless `signed`."""
    if x.dim() not in (2, 3) or x.numel() == 0:
        raise ValueError(f"{name} should be a matrix, or a batch of them, and not empty; its shape is {tuple(x.shape)}")
    if x.device.type == "cpu":
        # By numpy, on one thread: waking torch's threads took 6 ms for a matrix that is factorized in 1 ms (2 cores).
        values = x.detach().float().numpy()
        least, most = float(values.min()), float(values.max())
    else:
        least, most = (float(bound) for bound in x.aminmax())
    # Both bounds are NaN if a value is NaN.
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError(f"{name} holds NaN or infinity")
    if least < 0 and not signed:
        raise ValueError(f"{name} holds negative values, as low as {least:.3g}")


def check_components(x: Tensor, components: int) -> None:
    most = min(x.shape[-2:])
    if not 1 <= components <= most:
        raise ValueError(
            f"components should be 1 to {most} for matrices of {x.shape[-2]} x {x.shape[-1]}, not {components}"
        )


def check_factors(x: Tensor, components: int, w: Tensor, h: Tensor, least: float) -> None:
    """Raise ValueError unless W >= 0 and H >= `least` are factors to start from, for `x` [B, M, C]."""
    batch, positions, channels = x.shape
    shapes = (batch, positions, components), (batch, components, channels)
    for name, factor, shape, bound in zip("WH", (w, h), shapes, (0.0, least), strict=True):
        if tuple(factor.shape) != shape:
            raise ValueError(f"init's {name} should be of shape {shape}, not {tuple(factor.shape)}")
        if not torch.isfinite(factor).all() or factor.min() < bound:
            raise ValueError(f"init's {name} holds NaN, infinity or negative values")


def measure(x: Tensor, w: Tensor, h: Tensor, iterations: Tensor, converged: Tensor) -> Factorization:
    """Return the factors with how much of X [B, M, C] they explain."""
    squared_norm = x.square().sum((1, 2), dtype=torch.float64)
    scale = torch.where(squared_norm > 0, squared_norm, 1)
    # ||X - w h||^2 = ||X||^2 - 2 w'Xh + ||w||^2 ||h||^2
    along = ((x @ h.mT) * w).sum(1, dtype=torch.float64)
    alone = w.square().sum(1, dtype=torch.float64) * h.square().sum(2, dtype=torch.float64)
    left = torch.baddbmm(x, w, h, alpha=-1).square().sum((1, 2), dtype=torch.float64)
    return Factorization(w, h, (left / scale).sqrt(), (2 * along - alone) / scale[:, None], iterations, converged)


def arrange(found: Factorization) -> Factorization:
    """Give directions unit length, and order groups by importance; in float32."""
    lengths = torch.linalg.vector_norm(found.directions, dim=2)
    w = found.weights * lengths[:, None]
    h = found.directions / torch.where(lengths > 0, lengths, 1)[:, :, None]
    order = found.importance.argsort(dim=1, descending=True, stable=True)
    w, h = w.gather(2, order[:, None].expand_as(w)).contiguous(), h.gather(1, order[:, :, None].expand_as(h))
    importance = found.importance.gather(1, order)
    return Factorization(w, h, found.relative_error, importance, found.iterations, found.converged).float()


def arrange_for(x: Tensor, found: Factorization) -> Factorization:
    """Return the factors of a clamped copy of X [B, M, C], measured against X itself."""
    return arrange(measure(x, found.weights, found.directions, found.iterations, found.converged))
