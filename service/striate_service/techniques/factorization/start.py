"""Where to start: NNDSVD (Boutsidis and Gallopoulos 2008), the non-negative parts of the leading singular vectors."""

from __future__ import annotations

import torch
from torch import Tensor


def nndsvd(x: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Return W and H to start from. Deterministic: needs no seed.

    Of each singular triple beyond the first, the positive or the negative parts of both vectors are kept, whichever
    pair has the larger product of norms.

    Args:
        x: float64 [B, M, C].

    Returns:
        [B, M, K] and [B, K, C].
    """
    u, s, v = leading_singular_triples(x, components)
    positive = u.clamp(min=0), v.clamp(min=0)
    negative = (-u).clamp(min=0), (-v).clamp(min=0)
    norms = [(a.norm(dim=1), b.norm(dim=2)) for a, b in (positive, negative)]
    products = [a * b for a, b in norms]
    chosen = products[0] > products[1]
    chosen[:, 0] = products[0][:, 0] >= products[1][:, 0]  # the first pair has one sign
    w = torch.where(chosen[:, None], positive[0], negative[0])
    h = torch.where(chosen[:, :, None], positive[1], negative[1])
    w_norm, h_norm = w.norm(dim=1), h.norm(dim=2)
    scale = (s * w_norm * h_norm).sqrt()
    w = w * (scale / torch.where(w_norm > 0, w_norm, 1))[:, None]
    h = h * (scale / torch.where(h_norm > 0, h_norm, 1))[:, :, None]
    return w, h


def leading_singular_triples(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return u [B, M, K], s [B, K] and v [B, K, C] from the eigenvectors of the smaller Gram matrix of X."""
    tall = x.shape[1] >= x.shape[2]
    gram = x.mT @ x if tall else x @ x.mT
    eigenvalues, eigenvectors = torch.linalg.eigh(gram)
    s = eigenvalues.flip(1)[:, :count].clamp(min=0).sqrt()
    near = eigenvectors.flip(2)[:, :, :count]
    # A zero singular value has no partner vector: it would be noise divided by zero.
    far = (x @ near if tall else x.mT @ near) / torch.where(s > s[:, :1] * 1e-7, s, torch.inf)[:, None]
    return (far, s, near.mT) if tall else (near, s, far.mT)
