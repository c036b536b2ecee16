"""Select from a layer's output on its device, so that only what was requested is copied to the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from striate_service.models.description import LayerDescription
from striate_service.models.layouts import prefix_of, to_map

Reduction = Literal["none", "mean", "max"]


def select(
    outputs: Tensor,
    layer: LayerDescription,
    *,
    reduction: Reduction = "none",
    channels: Sequence[int] = (),
    positions: Sequence[tuple[int, int]] = (),
    prefix_tokens: Sequence[int] = (),
    as_map: bool = False,
    half: bool = False,
) -> Tensor:
    """Return chosen channels, positions and prefix tokens of a layer's outputs, or their mean or maximum.

    Args:
        outputs: [N, *layer.shape].
        reduction: "mean" or "max" over all axes but the channels' (over tokens, prefix tokens among them), or over the
            chosen positions and prefix tokens.
        channels: indices, in the requested order. Empty: all.
        positions: rows and columns of the layer's map, in the requested order.
        prefix_tokens: indices, in the requested order, which come after the positions.
        as_map: return [N, C, H, W], where neither positions nor prefix tokens are chosen.
        half: return float16, else float32.

    Returns:
        Of the outputs' shape with the chosen channels; [N, C, P + T] where positions or prefix tokens are chosen;
        [N, C] where reduced.
    """
    axis = 1 + layer.channel_axis
    if positions or prefix_tokens:
        rows, columns = torch.tensor(positions, dtype=torch.long, device=outputs.device).view(-1, 2).T
        chosen = to_map(outputs, layer)[:, :, rows, columns]
        outputs, axis = torch.cat([chosen, prefix_of(outputs, layer)[..., list(prefix_tokens)]], dim=2), 1
    elif as_map:
        outputs, axis = to_map(outputs, layer), 1
    if channels:
        outputs = outputs.index_select(axis, torch.tensor(channels, device=outputs.device))
    other_axes = [each for each in range(1, outputs.dim()) if each != axis]
    if other_axes and reduction == "mean":
        outputs = outputs.mean(other_axes)
    elif other_axes and reduction == "max":
        outputs = outputs.amax(other_axes)
    return outputs.to(torch.float16 if half else torch.float32)
