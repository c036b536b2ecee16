"""How natural images excite each channel: its peak in every image, and the distribution of its values.

People predict what a unit does better from the natural images that excite it most than from synthetic ones (92% against
82% right; Borowski et al., "Exemplary Natural Images Explain CNN Activations Better than State-of-the-Art Feature
Visualization", ICLR 2021).

Notation: N images, C channels, H x W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.models.description import channel_axis
from striate_service.techniques.quantile_sketch import BINS, HALF, LOG_GAMMA, SMALLEST


def peaks(layer: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's largest activation in each image, and its position.

    Args:
        layer: [N, C, H, W], [N, H, W, C] (inside Swin and ConvNeXt), [N, T, C] (a transformer's tokens) or [N, C].

    Returns:
        float32 [N, C], and int32 [N, C]: row * W + column, the token, or 0.
    """
    values, positions = _by_channel(layer).max(dim=2)
    return values.float(), positions.int()


def bin_counts(layer: Tensor) -> tuple[Tensor, Tensor]:
    """Count a layer's values over all images and positions, for a `quantile_sketch.QuantileSketch`.

    Args:
        layer: as in `peaks`.

    Returns:
        bins: int32 [U], the bins that hold any value.
        counts: int32 [C, U].
    """
    values = _by_channel(layer).float().nan_to_num()
    steps = (values.abs() / SMALLEST).clamp(min=1e-30).log().div(LOG_GAMMA).floor().clamp(-1, HALF - 1).long() + 1
    channels = values.shape[1]
    bins = HALF + steps * values.sign().long() + BINS * torch.arange(channels, device=values.device)[:, None]
    counts = torch.bincount(bins.flatten(), minlength=channels * BINS).view(channels, BINS)
    used = counts.any(dim=0).nonzero().flatten()
    return used.int(), counts[:, used].int()


def _by_channel(layer: Tensor) -> Tensor:
    """[N, C, positions]"""
    axis = channel_axis(layer.shape[1:])
    return layer.movedim(1 + axis, 1).reshape(len(layer), layer.shape[1 + axis], -1)
