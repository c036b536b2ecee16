"""How an icon is disturbed before the network sees it, so that it does not become adversarial noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from striate_service.techniques.recipe import Recipe


def view(images: Tensor, size: int, recipe: Recipe, step: int) -> Tensor:
    """Show images [B, 3, S, S] to the network: brought to `size` pixels, and shifted, scaled and turned a little.

    All are disturbed alike, at random by the recipe's seed and the step; outside them it is grey. One resampling does
    everything.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    shift_x, shift_y, scale, turn = (torch.rand(4, generator=generator) * 2 - 1).tolist()
    angle, zoom = math.radians(turn * recipe.rotation), 1 + scale * recipe.scale
    cosine, sine, pixel = math.cos(angle) * zoom, math.sin(angle) * zoom, 2 * recipe.jitter / recipe.size
    affine = torch.tensor([[cosine, -sine, shift_x * pixel], [sine, cosine, shift_y * pixel]], device=images.device)
    # One grid for all icons: they are the channels of one image to the sampler.
    flat = images.flatten(0, 1)[None] - 0.5
    grid = nn.functional.affine_grid(affine[None], [1, 1, size, size], align_corners=False)
    return nn.functional.grid_sample(flat, grid, align_corners=False).view(*images.shape[:2], size, size) + 0.5
