"""Make pixels of an icon transparent that do not matter to its neuron (Fel et al. 2023, MACO, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_OPAQUE_QUANTILE = 0.8  # of attention: pixels above it are opaque (as in Xplique, the paper's code)
_BLUR = 0.02  # of the icon's side: removes the noise of gradients between neighboring pixels


def alpha(attention: Tensor) -> Tensor:
    """Return opacity [B, S, S], 0 to 1, from the gradients' magnitudes at the pixels, summed over steps, [B, S, S]."""
    smooth = _blurred(attention, _BLUR * attention.shape[-1])
    flat = smooth.flatten(1)
    least, most = flat.amin(1), torch.quantile(flat, _OPAQUE_QUANTILE, dim=1)
    span = (most - least).clamp(min=1e-12)
    return ((smooth - least[:, None, None]) / span[:, None, None]).clamp(0, 1)


def _blurred(maps: Tensor, deviation: float) -> Tensor:
    """Blur maps [B, S, S] by a Gaussian; its deviation is in pixels."""
    reach = math.ceil(3 * deviation)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=maps.device) / deviation) ** 2)
    weights = weights / weights.sum()
    padded = nn.functional.pad(maps[:, None], (reach, reach, reach, reach), mode="replicate")
    down = nn.functional.conv2d(padded, weights[None, None, :, None])
    return nn.functional.conv2d(down, weights[None, None, None, :])[:, 0]
