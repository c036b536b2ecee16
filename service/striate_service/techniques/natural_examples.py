"""How natural images excite each channel: its peak in every image, and the distribution of its values.

People predict what a unit does better from the natural images that excite it most than from synthetic ones (92% against
82% right; Borowski et al., "Exemplary Natural Images Explain CNN Activations Better than State-of-the-Art Feature
Visualization", ICLR 2021).

Notation: N images, C channels, H x W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.quantile_sketch import BINS, HALF, LOG_GAMMA, SMALLEST


def peaks(layer: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's largest activation in each image, and its position.

    Args:
        layer: [N, C, H, W].

    Returns:
        float32 [N, C], and int32 [N, C]: row * W + column.
    """
    values, positions = layer.flatten(2).max(dim=2)
    return values.float(), positions.int()


def bin_counts(layer: Tensor) -> tuple[Tensor, Tensor]:
    """Count a layer's values over all images and positions, for a `quantile_sketch.QuantileSketch`.

    Args:
        layer: as in `peaks`.

    Returns:
        bins: int32 [U], the bins that hold any value.
        counts: int32 [C, U].
    """
    values = layer.flatten(2).float().nan_to_num()
    steps = (values.abs() / SMALLEST).clamp(min=1e-30).log().div(LOG_GAMMA).floor().clamp(-1, HALF - 1).long() + 1
    channels = values.shape[1]
    bins = HALF + steps * values.sign().long() + BINS * torch.arange(channels, device=values.device)[:, None]
    counts = torch.bincount(bins.flatten(), minlength=channels * BINS).view(channels, BINS)
    used = counts.any(dim=0).nonzero().flatten()
    return used.int(), counts[:, used].int()
