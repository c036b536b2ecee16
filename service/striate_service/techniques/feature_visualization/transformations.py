"""Random transformations of an icon before the network sees it, so that it does not become adversarial noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from striate_service.techniques.outcomes import Refused
from striate_service.techniques.recipe import Fourier, Maco, Recipe


def view(images: Tensor, size: tuple[int, int], recipe: Recipe, step: int) -> Tensor:
    """Transform images [B, 3, S, S] as the recipe says, and resize them to `size`, height and width in pixels.

    Where that is not square, an image fills the shorter side, and grey lies beside it.

    All images get the same transformation, random by the recipe's seed and the step, in one resampling. In a rectangle
    they stand in the middle, with grey beside them.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    match recipe:
        case Fourier():
            return _sampled(images, size, _moved(recipe, generator))
        case Maco():
            remaining = 1 - step / recipe.steps
            side = recipe.narrowest + (recipe.widest - recipe.narrowest) * remaining
            deviation = recipe.noise * remaining
            noise = torch.randn((3, *size), generator=generator).to(images.device)
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


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Return images [B, 3, H, W] for a network of other channels: grey, or opaque RGBA.

    Raises:
        Refused: the network's channels are no colors.
    """
    match channels:
        case 3:
            return images
        case 1:
            red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
            return 0.299 * red + 0.587 * green + 0.114 * blue  # as Pillow turns RGB into grey
        case 4:
            return torch.cat([images, torch.ones_like(images[:, :1])], 1)
    raise Refused("model", f"takes {channels} channels, which are no colors: there are no icons of it.")


def _sampled(images: Tensor, size: tuple[int, int], affine: Tensor) -> Tensor:
    # One grid for all icons: for the sampler they are the channels of one image.
    flat, (height, width) = images.flatten(0, 1)[None] - 0.5, size
    if height != width:
        least = min(size)
        affine = affine * torch.tensor([width / least, height / least, 1.0])
    grid = nn.functional.affine_grid(affine[None].to(images.device), [1, 1, height, width], align_corners=False)
    return nn.functional.grid_sample(flat, grid, align_corners=False).view(*images.shape[:2], height, width) + 0.5
