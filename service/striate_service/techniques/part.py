"""What one forward, which several tasks share, computed for one of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from striate_service.backends.local.shared_memory import Arrays


@dataclass(frozen=True)
class Part:
    """N images."""

    inputs: Arrays
    """What came with the task."""
    pixels: Tensor
    """[N, 3, H, W], normalized."""
    layers: dict[str, Tensor]
    """By path, [N, *layer shape]."""
    logits: Tensor | None
    """[N, classes]"""
    classes: Tensor
    """int64 [N, M]: the logits that are explained."""
    gradients: dict[str, Tensor]
    """By layer, [N, M, C, H, W]."""
