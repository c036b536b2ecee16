"""Selecting from what a layer computed, on its device, so that no more than was asked for is copied from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from striate_service.models.description import channel_axis

Reduction = Literal["none", "mean", "max"]


def select(layer: Tensor, *, reduction: Reduction = "none", channels: Sequence[int] = (), half: bool = False) -> Tensor:
    """Return chosen channels of a layer's output, reduced over its positions.

    Args:
        layer: [N, C, H, W], [N, H, W, C] (inside Swin and ConvNeXt), [N, T, C] (a transformer's tokens) or [N, C].
        reduction: "mean" or "max" over H and W, or over T. A layer without positions stays as it is.
        channels: their indices, in the order wanted. Empty: all.
        half: round to float16, else float32.

    Returns:
        Of `layer`'s shape with the chosen channels; [N, C] where reduced.
    """
    axis_of_channels = 1 + channel_axis(layer.shape[1:])
    positions = [axis for axis in range(1, layer.dim()) if axis != axis_of_channels]
    if channels:
        layer = layer.index_select(axis_of_channels, torch.tensor(channels, device=layer.device))
    if positions and reduction == "mean":
        layer = layer.mean(positions)
    elif positions and reduction == "max":
        layer = layer.amax(positions)
    return layer.to(torch.float16 if half else torch.float32)
