"""Parameterize icons by Fourier coefficients of decorrelated colors (Lucid, optvis/param).

A step of the optimizer then changes all scales and all colors equally (Olah, Mordvintsev and Schubert, Distill 2017).
The recipe `fourier` optimizes the coefficients, `maco` only their phases: the magnitudes stay those of natural images
(Fel et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from striate_service.techniques.recipe import Fourier, Maco, Recipe

# The square root of the covariance of ImageNet's colors (Lucid, optvis/param/color.py), scaled so that its longest
# column has length 1.
_COLOR_SQRT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOR = _COLOR_SQRT / _COLOR_SQRT.norm(dim=0).max()

_START_DEVIATION = 0.01  # of the first spectrum (Lucid): nearly grey
_FACTOR = 0.25  # before the sigmoid (Lucid divides by 4)
_USUAL_CONTRAST = 1.0  # of what is shown before it is finished, where the recipe sets no limit
_LEAST = 1e-12  # keeps gradients finite where an image is grey


def first_parameters(recipe: Recipe, facets: Sequence[int], device: torch.device | str) -> Tensor:
    """Return the first parameters, random by the recipe's seed.

    Fourier coefficients, float32 [B, 3, S, S // 2 + 1, 2], or phases in radians, float32 [B, 3, S, S // 2 + 1].

    Args:
        facets: [B], each picture's facet number; pictures of one number start from the same image.
    """
    shape = (3, recipe.size, recipe.size // 2 + 1)

    def noise(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(recipe.seed + number)
        match recipe:
            case Fourier():
                return torch.randn((*shape, 2), generator=generator) * _START_DEVIATION
            case Maco():
                return torch.rand(shape, generator=generator) * (2 * math.pi)

    return torch.stack([noise(number) for number in facets]).to(device)


def image(parameters: Tensor, recipe: Recipe) -> Tensor:
    """Return the images [B, 3, S, S], 0 to 1, that parameters stand for."""
    logits = _logits(parameters, recipe)
    if recipe.contrast is not None and isinstance(recipe, Fourier):
        # Constant for the gradient. One that lowers what an image has too much of lets coefficients swing about where
        # they balance, and then the last bit of a sum, which depends on the batch, decides what the icon looks like.
        scale = 1 + (_root_mean_square(logits) / recipe.contrast).square()
        logits = logits / scale.sqrt().detach()
    return logits.sigmoid()


def preview(parameters: Tensor, recipe: Recipe) -> Tensor:
    """Return images as `image` does, with as much contrast as at the end: they are nearly grey before."""
    logits = _logits(parameters, recipe)
    return (logits * (recipe.contrast or _USUAL_CONTRAST) / _root_mean_square(logits)).sigmoid()


def _root_mean_square(logits: Tensor) -> Tensor:
    """Return each picture's, [B, 1, 1, 1]."""
    return logits.square().mean((1, 2, 3), keepdim=True).add(_LEAST).sqrt()


def _logits(parameters: Tensor, recipe: Recipe) -> Tensor:
    """Return the logits of colors, [B, 3, S, S]."""
    match recipe:
        case Fourier():
            # In natural images amplitude falls with frequency. The factor `size` makes the transform unitary.
            scale = recipe.size / _frequencies(recipe.size, parameters.device).clamp(min=1 / recipe.size)
            spectrum, factor = torch.view_as_complex(parameters * scale[..., None]), _FACTOR
        case Maco():
            magnitude = natural_magnitude(recipe, parameters.device)
            spectrum, factor = torch.polar(magnitude.expand_as(parameters), _odd_phases(parameters)), 1.0
    decorrelated = torch.fft.irfft2(spectrum, s=(recipe.size, recipe.size)) * factor
    logits: Tensor = torch.einsum("dc,bchw->bdhw", _COLOR.to(parameters.device), decorrelated)
    return logits


def natural_magnitude(recipe: Maco, device: torch.device | str = "cpu") -> Tensor:
    """Return the magnitudes of natural images' Fourier coefficients, [S, S // 2 + 1], the same for each
    decorrelated color.

    Amplitude falls with a power of frequency, equally in all directions: about 1 / f in natural scenes (Field 1987),
    with a slope that depends on the kind of scene (Torralba and Oliva 2003). The paper averages ImageNet's spectra. The
    mean is grey.
    """
    frequency = _frequencies(recipe.size, device)
    falling = frequency.clamp(min=1 / recipe.size).pow(-recipe.slope).masked_fill(frequency == 0, 0)
    # By Parseval's theorem the image's variance is the sum of power over all S x S frequencies, divided by S ** 4. The
    # half spectrum holds each frequency for two, except in its first and last column.
    power = falling.square()
    total = 2 * power.sum() - power[:, 0].sum() - power[:, -1].sum()
    color = (
        _COLOR.square().sum(1).mean().sqrt()
    )  # the deviation of RGB logits for a unit deviation of decorrelated colors
    deviation = float(total.sqrt() * color) / recipe.size**2
    return falling.mul(recipe.contrast / deviation)


def _odd_phases(phases: Tensor) -> Tensor:
    """Return phases as a real image has them: opposite at opposite frequencies.

    The half spectrum holds both of two opposite frequencies only in its first and its last column.
    """
    first, last = (edge - edge.flip(2).roll(1, 2) for edge in (phases[..., :1], phases[..., -1:]))
    return torch.cat([first, phases[..., 1:-1], last], dim=3)


def _frequencies(size: int, device: torch.device | str) -> Tensor:
    """Return spatial frequencies in cycles a pixel, [S, S // 2 + 1]."""
    rows = torch.fft.fftfreq(size, device=device)[:, None]
    columns = torch.fft.rfftfreq(size, device=device)[None, :]
    frequencies: Tensor = (rows.square() + columns.square()).sqrt()
    return frequencies
