"""Fidelity: how predictions change when an explanation replaces a layer's activations."""

from __future__ import annotations

import torch
from torch import Tensor


def fidelity(logits: Tensor, replaced: Tensor) -> tuple[Tensor, Tensor]:
    """Compare a network's own logits with those after a layer's activations were replaced.

    Args:
        logits, replaced: [N, classes].

    Returns:
        The Kullback-Leibler divergence KL(p || q) in nats, [N], where p are the network's own probabilities and q those
        after the replacement; and whether the most probable class stays the same, bool [N].
    """
    p, q = logits.double().log_softmax(1), replaced.double().log_softmax(1)
    divergence = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(1)
    return divergence.clamp(min=0).float(), logits.argmax(1) == replaced.argmax(1)
