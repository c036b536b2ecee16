"""Select from a layer's output on its device, so that only what was requested is copied to the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from striate_service.models.description import channel_axis

Reduction = Literal["none", "mean", "max"]


def select(
    layer: Tensor,
    *,
    reduction: Reduction = "none",
    channels: Sequence[int] = (),
    positions: Sequence[tuple[int, int]] = (),
    half: bool = False,
) -> Tensor:
    """Return chosen channels and positions of a layer's output, or their mean or maximum.

    Args:
        layer: [N, C, H, W], [N, H, W, C] (inside Swin and ConvNeXt), [N, T, C] (a transformer's tokens) or [N, C].
        reduction: "mean" or "max" over H and W, or over T. A layer without positions is not reduced.
        channels: indices, in the requested order. Empty: all.
        positions: rows and columns of a layer [N, C, H, W], in the requested order. Empty: all.
        half: return float16, else float32.

    Returns:
        Of `layer`'s shape with the chosen channels; [N, C, P] where positions are chosen; [N, C] where reduced.
    """
    axis_of_channels = 1 + channel_axis(layer.shape[1:])
    if channels:
        layer = layer.index_select(axis_of_channels, torch.tensor(channels, device=layer.device))
    if positions:
        rows, columns = torch.tensor(positions, device=layer.device).T
        layer = layer[:, :, rows, columns]
    other_axes = [axis for axis in range(1, layer.dim()) if axis != axis_of_channels]
    if other_axes and reduction == "mean":
        layer = layer.mean(other_axes)
    elif other_axes and reduction == "max":
        layer = layer.amax(other_axes)
    return layer.to(torch.float16 if half else torch.float32)
