"""Fidelity: how predictions change when an explanation replaces a layer's activations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def fidelity(logits: Tensor, replaced: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Compare a network's own logits with those after a layer's activations were replaced.

    Args:
        logits, replaced: [N, classes].
        activation: what makes probabilities of them, as `ModelDescription` has it. Logits that count by themselves
            ("none") are compared as those of a softmax.

    Returns:
        The Kullback-Leibler divergence KL(p || q) in nats, [N], where p are the network's own probabilities and q those
        after the replacement: of the one class that is the case, or, with "sigmoid", summed over classes that each are
        or are not. And whether the most probable class stays the same, bool [N]; of a single class, whether it stays
        on its side of one half.
    """
    same = logits.argmax(1) == replaced.argmax(1) if logits.shape[1] > 1 else (logits > 0) == (replaced > 0)
    p, q = (_log_probabilities(each.double(), activation) for each in (logits, replaced))
    divergence = functional.kl_div(q, p, reduction="none", log_target=True).flatten(1).sum(1)
    return divergence.clamp(min=0).float(), same.flatten()


def _log_probabilities(logits: Tensor, activation: str) -> Tensor:
    """Return those of what excludes each other: [N, classes], or [N, classes, is or is not]."""
    if activation == "sigmoid":
        return functional.logsigmoid(torch.stack([logits, -logits], dim=2))
    return logits.log_softmax(1)
