"""How an icon is parameterized: as Fourier coefficients of decorrelated colours (Lucid, optvis/param).

So a step of the optimizer changes all scales and all colours alike (Olah, Mordvintsev and Schubert, Distill 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate_service.techniques.recipe import Recipe

# The square root of the covariance of ImageNet's colours (Lucid, optvis/param/color.py), scaled so that its longest
# column has length 1.
_COLOUR_SQRT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOUR = _COLOUR_SQRT / _COLOUR_SQRT.norm(dim=0).max()

_START_DEVIATION = 0.01  # of the first spectrum (Lucid): nearly grey
_CONTRAST = 0.25  # of an image of unit spectrum before the sigmoid (Lucid divides by 4)


def first_spectrum(recipe: Recipe, count: int, device: torch.device | str) -> Tensor:
    """Return float32 [B, 3, S, S // 2 + 1, 2], noise by the recipe's seed: all icons start from the same image."""
    shape = (3, recipe.size, recipe.size // 2 + 1, 2)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(recipe.seed)) * _START_DEVIATION
    return noise.expand(count, *shape).clone().to(device)


def image(spectrum: Tensor) -> Tensor:
    """Return the images [B, 3, S, S], 0 to 1, that a spectrum stands for."""
    size = spectrum.shape[2]
    rows = torch.fft.fftfreq(size, device=spectrum.device)[:, None]
    columns = torch.fft.rfftfreq(size, device=spectrum.device)[None, :]
    frequency = (rows.square() + columns.square()).sqrt().clamp(min=1 / size)
    # Natural images have power that falls with frequency; the factor `size` makes the transform unitary.
    scaled = torch.view_as_complex(spectrum * (size / frequency)[..., None])
    decorrelated = torch.fft.irfft2(scaled, s=(size, size)) * _CONTRAST
    return torch.einsum("dc,bchw->bdhw", _COLOUR.to(spectrum.device), decorrelated).sigmoid()
