"""The start, NNDSVD (Boutsidis and Gallopoulos 2008): non-negative parts of the leading singular vectors.

Semi-NMF starts there too, with whole vectors as rows of H. Over 105 matrices, real and random, it ends as near to X
from this start as from k-means, by distance or by angle (medians within 0.002 %), and nearer than from shifted singular
vectors (Gillis and Kumar 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor


def nndsvd(x: Tensor, components: int, *, fill: bool = False, least: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return W and H to start from. Deterministic: it needs no seed.

    For each singular triple it keeps the positive parts of both vectors or the negative ones, whichever pair has the
    larger product of norms.

    Args:
        x: [B, M, C].
        fill: replace zeros by the mean of |X| (NNDSVDa).
        least: what H may be at least: 0, or -inf for semi-NMF, where H takes the whole of its vectors.

    Returns:
        float64 [B, M, K] and [B, K, C].
    """
    u, s, v = leading_singular_triples(x.double(), components)
    parts = [((sign * u).clamp(min=0), (sign * v).clamp(min=least)) for sign in (1, -1)]
    products = [w.norm(dim=1) * h.norm(dim=2) for w, h in parts]
    positive = (products[0] >= products[1])[:, None]
    w, h = (torch.where(positive if k == 0 else positive.mT, parts[0][k], parts[1][k]) for k in range(2))
    lengths = w.norm(dim=1), h.norm(dim=2)
    size = (s * lengths[0] * lengths[1]).sqrt()
    w, h = (w * _share(size, lengths[0])[:, None], h * _share(size, lengths[1])[:, :, None])
    if fill:
        mean = x.double().abs().mean((1, 2))[:, None, None]
        w, h = torch.where(w != 0, w, mean), torch.where(h != 0, h, mean)
    return w, h


def leading_singular_triples(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return u [B, M, K], s [B, K] and v [B, K, C], from the smaller Gram matrix of X [B, M, C], in float64."""
    tall = x.shape[1] >= x.shape[2]
    eigenvalues, eigenvectors = torch.linalg.eigh(x.mT @ x if tall else x @ x.mT)
    s = eigenvalues.flip(1)[:, :count].clamp(min=0).sqrt()
    s = torch.where(s > 1e-6 * s[:, :1], s, 0)  # smaller ones are rounding, which has no direction
    near = eigenvectors.flip(2)[:, :, :count]
    far = (x @ near if tall else x.mT @ near) / torch.where(s > 0, s, torch.inf)[:, None]
    return (far, s, near.mT) if tall else (near, s, far.mT)


def _share(size: Tensor, length: Tensor) -> Tensor:
    return torch.where(length > 0, size / length, 0)
