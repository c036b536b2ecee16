"""The parts of images that excite a channel, or a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate_service.models.description import channel_axis

SIZE = 96
"""Pixels of a crop's sides."""

CELLS = 5
"""Positions that a crop spans. A position's receptive field covers much more, but little of it matters: a square of 3
to 8 positions holds 90% of the gradient's energy, in most layers 5 (measured on SqueezeNet and `parts`)."""


def crop(pixels: NDArray[np.uint8], position: int, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the surroundings of a position, [SIZE, SIZE, 3].

    Args:
        pixels: [H, W, 3], what the network saw.
        position: where in the layer, as `natural_examples.peaks` counts.
        shape: of the layer's output for one image. Where it has no rows and columns, the whole image is returned.
    """
    image = Image.fromarray(pixels)
    grid = [extent for axis, extent in enumerate(shape) if axis != channel_axis(shape)]
    box = _box(position, grid, image.size) if len(grid) == 2 else None
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


@dataclass(frozen=True)
class Place:
    image: int
    box: tuple[float, float, float, float]
    """left, top, right, bottom, as shares of what the network saw: 0 to 1."""
    strength: float
    """At the position that the box surrounds."""


def strongest_places(maps: NDArray[np.float32], count: int) -> list[Place]:
    """Return at most `count` places where `maps` is strongest and above 0, strongest first.

    No two are within half a crop of each other in the same image: they would show the same thing.

    Args:
        maps: [N, H, W], one an image.
    """
    grid = maps.shape[1:]
    left = maps.copy()
    places: list[Place] = []
    while len(places) < count:
        image, row, column = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        strength = float(left[image, row, column])
        if not strength > 0:
            break
        places.append(Place(image, _box(row * grid[1] + column, grid, (1, 1)), strength))
        near = CELLS // 2
        left[image, max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = 0
    return places


def _box(position: int, grid: Sequence[int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """left, top, right, bottom of an image of `size`: moved, not cut, where it would reach beyond the image."""
    rows, columns = grid
    row, column = divmod(position, columns)
    left, right = _span(column, columns, size[0])
    top, bottom = _span(row, rows, size[1])
    return left, top, right, bottom


def _span(index: int, count: int, extent: int) -> tuple[float, float]:
    cell = extent / count
    length = min(CELLS * cell, extent)
    start = min(max((index + 0.5) * cell - length / 2, 0.0), extent - length)
    return start, start + length
