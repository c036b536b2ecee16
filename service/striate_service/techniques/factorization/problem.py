"""What goes in and what comes out: checked matrices, and factors that are scaled, ordered and measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factorization:
    """X is about W H. Groups come in descending order of importance. Of a batch, everything has B before its shape."""

    weights: Tensor
    """W: float32 [M, K]."""
    directions: Tensor
    """H: float32 [K, C], rows of unit length (a group that explains nothing has a row of zeros)."""
    relative_error: Tensor
    """||X - W H|| / ||X||, float32 []; 0 where X is 0."""
    importance: Tensor
    """float32 [K]: 1 - ||X - w_k h_k||^2 / ||X||^2, the share of X that the group explains alone; 0 where X is 0."""
    iterations: Tensor
    """int64 []."""

    def unbind(self) -> list[Factorization]:
        """Return the factorizations of a batch one by one."""
        parts = (getattr(self, field.name).unbind() for field in fields(self))
        return [Factorization(*part) for part in zip(*parts, strict=True)]


def check_matrix(x: Tensor) -> None:
    """Raise ValueError unless `x` is a finite, non-negative matrix [M, C], or a batch of them [B, M, C]."""
    if x.dim() not in (2, 3) or x.numel() == 0:
        raise ValueError(f"x should be a matrix, or a batch of them, and not empty; its shape is {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x holds NaN or infinity")
    if x.min() < 0:
        raise ValueError(f"x holds negative values, as low as {x.min():.3g}")


def check_components(x: Tensor, components: int) -> None:
    most = min(x.shape[-2:])
    if not 1 <= components <= most:
        raise ValueError(
            f"components should be 1 to {most} for matrices of {x.shape[-2]} x {x.shape[-1]}, not {components}"
        )


def measured(x: Tensor, w: Tensor, h: Tensor, iterations: Tensor) -> Factorization:
    """Say how much of X the factors explain, in float64 where float32 would cancel.

    Args:
        x: [B, M, C].
        w: [B, M, K].
        h: [B, K, C].
        iterations: [B].
    """
    squared_norm = x.double().square().sum((1, 2))
    scale = torch.where(squared_norm > 0, squared_norm, 1)
    squared_lengths = h.double().square().sum(2)
    # ||X - w h||^2 = ||X||^2 - 2 w'Xh + ||w||^2 ||h||^2
    along = (torch.bmm(x, h.mT) * w).sum(1, dtype=torch.float64)
    importance = (2 * along - w.double().square().sum(1) * squared_lengths) / scale[:, None]
    left = torch.baddbmm(x, w, h, alpha=-1).square().sum((1, 2), dtype=torch.float64)
    return Factorization(w, h, (left / scale).sqrt().float(), importance.float(), iterations)


def normalized(x: Tensor, w: Tensor, h: Tensor, iterations: Tensor) -> Factorization:
    """Give directions unit length, order the groups by importance, and measure them. Shapes as in `measured`."""
    lengths = h.norm(dim=2)
    w, h = w * lengths[:, None], h / torch.where(lengths > 0, lengths, 1)[:, :, None]
    found = measured(x, w, h, iterations)
    order = found.importance.argsort(dim=1, descending=True, stable=True)
    return Factorization(
        w.gather(2, order[:, None].expand_as(w)),
        h.gather(1, order[:, :, None].expand_as(h)),
        found.relative_error,
        found.importance.gather(1, order),
        iterations,
    )
