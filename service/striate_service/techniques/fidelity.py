"""Fidelity: what becomes of a prediction when a layer's activations are replaced by an explanation of them."""

from __future__ import annotations

import torch
from torch import Tensor


def fidelity(logits: Tensor, replaced: Tensor) -> tuple[Tensor, Tensor]:
    """Compare a network's own logits with those it has where a layer's activations were replaced.

    Args:
        logits, replaced: [N, classes].

    Returns:
        The Kullback-Leibler divergence KL(p || q) in nats, [N], of p, the network's own probabilities, from q, those
        after the replacement; and whether the most probable class is the same, bool [N].
    """
    p, q = logits.double().log_softmax(1), replaced.double().log_softmax(1)
    divergence = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(1)
    return divergence.clamp(min=0).float(), logits.argmax(1) == replaced.argmax(1)
