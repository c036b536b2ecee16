"""Random transformations of an icon before the network sees it, so that it does not become adversarial noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from striate_service.techniques.recipe import Fourier, Maco, Recipe


def view(images: Tensor, size: int, recipe: Recipe, step: int) -> Tensor:
    """Transform images [B, 3, S, S] as the recipe says, and resize them to `size` pixels.

    All images get the same transformation, random by the recipe's seed and the step, in one resampling.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    match recipe:
        case Fourier():
            return _sampled(images, size, _moved(recipe, generator))
        case Maco():
            remaining = 1 - step / recipe.steps
            side = recipe.narrowest + (recipe.widest - recipe.narrowest) * remaining
            deviation = recipe.noise * remaining
            noise = torch.randn((3, size, size), generator=generator).to(images.device)
            return _sampled(images, size, _cropped(side, generator)) + deviation * noise


def _moved(recipe: Fourier, generator: torch.Generator) -> Tensor:
    """Return a small shift, scaling and rotation: [2, 3], as `affine_grid` takes it. Outside, images are grey."""
    shift_x, shift_y, scale, turn = (torch.rand(4, generator=generator) * 2 - 1).tolist()
    angle, zoom = math.radians(turn * recipe.rotation), 1 + scale * recipe.scale
    cosine, sine, pixel = math.cos(angle) * zoom, math.sin(angle) * zoom, 2 * recipe.jitter / recipe.size
    return torch.tensor([[cosine, -sine, shift_x * pixel], [sine, cosine, shift_y * pixel]])


def _cropped(side: float, generator: torch.Generator) -> Tensor:
    """Return a random crop of about this share of the image's side: [2, 3], as `affine_grid` takes it."""
    x, y, change = (torch.rand(3, generator=generator) * 2 - 1).tolist()
    side = min(1.0, side * (1 + 0.1 * change))
    return torch.tensor([[side, 0.0, x * (1 - side)], [0.0, side, y * (1 - side)]])


def _sampled(images: Tensor, size: int, affine: Tensor) -> Tensor:
    # One grid for all icons: for the sampler they are the channels of one image.
    flat = images.flatten(0, 1)[None] - 0.5
    grid = nn.functional.affine_grid(affine[None].to(images.device), [1, 1, size, size], align_corners=False)
    return nn.functional.grid_sample(flat, grid, align_corners=False).view(*images.shape[:2], size, size) + 0.5
