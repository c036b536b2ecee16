"""The parts of images that excite a channel, or a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 96
"""A crop's side in pixels."""

CELLS = 5
"""A crop's side in positions. A position's receptive field is much larger, but 90% of the gradient's energy lies in a
square of 3 to 8 positions, 5 in most layers (measured on SqueezeNet and `parts`)."""


def crop(pixels: NDArray[np.uint8], position: int, grid: Sequence[int]) -> NDArray[np.uint8]:
    """Return the surroundings of a position, [SIZE, SIZE, 3].

    Args:
        pixels: [H, W, 3], what the network saw.
        position: the layer's position, as `natural_examples.peaks` counts.
        grid: rows and columns of the layer's map. Of a single position, the whole image is returned.
    """
    image = Image.fromarray(pixels)
    box = _box(position, grid, image.size)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))


@dataclass(frozen=True)
class Place:
    image: int
    box: tuple[float, float, float, float]
    """left, top, right, bottom, as shares of the network's input: 0 to 1."""
    strength: float
    """The map's value at the box's center."""


def strongest_places(maps: NDArray[np.float32], count: int) -> list[Place]:
    """Return at most `count` places where `maps` is strongest and above 0, strongest first.

    No two lie within half a crop of each other in the same image, since they would show the same thing.

    Args:
        maps: [N, H, W], one for each image.
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
    """Return left, top, right, bottom of a crop, which is moved into the image where it would cross the border."""
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
