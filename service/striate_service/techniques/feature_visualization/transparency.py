"""What of an icon mattered to its neuron: the rest becomes transparent (Fel et al. 2023, MACO, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_OPAQUE = 0.8  # the quantile of attention from which on pixels are opaque (Xplique, the paper's code, shows it so)
_BLUR = 0.02  # of the icon's side: gradients differ from pixel to pixel by more than eyes should follow


def alpha(attention: Tensor) -> Tensor:
    """Return opacity [B, S, S], 0 to 1, from the gradients' magnitudes [B, S, S] at the pixels, added up over steps."""
    smooth = _blurred(attention, _BLUR * attention.shape[-1])
    flat = smooth.flatten(1)
    least, most = flat.amin(1), torch.quantile(flat, _OPAQUE, dim=1)
    span = (most - least).clamp(min=1e-12)
    return ((smooth - least[:, None, None]) / span[:, None, None]).clamp(0, 1)


def _blurred(maps: Tensor, deviation: float) -> Tensor:
    """Blur maps [B, S, S] by a Gaussian of this deviation in pixels."""
    reach = math.ceil(3 * deviation)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=maps.device) / deviation) ** 2)
    weights = weights / weights.sum()
    padded = nn.functional.pad(maps[:, None], (reach, reach, reach, reach), mode="replicate")
    down = nn.functional.conv2d(padded, weights[None, None, :, None])
    return nn.functional.conv2d(down, weights[None, None, None, :])[:, 0]
