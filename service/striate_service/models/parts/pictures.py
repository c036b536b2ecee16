"""Pictures of animals, vehicles and things, drawn from parts that classes share, with the place of every part.

The same seed gives the same picture. An object is drawn in its own frame (x to the right and y down, both about -1 to 1)
as polygons; a random pose puts it into the picture. Every polygon is drawn twice: as colour, and as its part's number
on a map of labels, so that what covers a part in the picture covers it on the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from striate_service.models.parts import things
from striate_service.models.parts.classes import CLASSES, PARTS
from striate_service.models.parts.drawing import Colour, Drawing

SIZE = 128
"""Pixels of a picture's sides."""
_SUPERSAMPLING = 2
_SHARE_WITH_STRANGER = 0.3  # of the pictures also hold part of another object, smaller and behind


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]
    """[128, 128, 3]"""
    label: int
    """Its class: an index into CLASSES."""
    part_map: NDArray[np.uint8]
    """[128, 128]: 1 + the index into PARTS of what is seen there, 0 for background."""

    def mask(self, part: str) -> NDArray[np.bool_]:
        """Return where the part is seen: [128, 128]."""
        return self.part_map == PARTS.index(part) + 1

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are seen."""
        return tuple(PARTS[number - 1] for number in np.unique(self.part_map) if number)


def draw(seed: int | Sequence[int], label: int | None = None, difficulty: float = 1.0) -> Picture:
    """Draw a picture.

    Args:
        seed: what decides everything that varies.
        label: its class; None: by the seed.
        difficulty: multiplies noise and occlusion.
    """
    rng = np.random.default_rng(seed)
    label = int(rng.integers(len(CLASSES))) if label is None else label
    size = SIZE * _SUPERSAMPLING
    image = Image.fromarray(_background(rng, size))
    map_ = Image.new("L", (size, size))
    if rng.random() < _SHARE_WITH_STRANGER:
        _put(rng, image, map_, int(rng.integers(len(CLASSES))), stranger=True)
        map_ = Image.new("L", (size, size))  # its parts are nobody's
    _put(rng, image, map_, label, stranger=False)
    _occlude(rng, image, map_, difficulty)
    small = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    part_map = np.asarray(map_.resize((SIZE, SIZE), Image.Resampling.NEAREST))
    if rng.random() < 0.3:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    return Picture(_disturb(rng, np.asarray(small), part_map, difficulty), label, part_map)


def _put(rng: np.random.Generator, image: Image.Image, map_: Image.Image, label: int, *, stranger: bool) -> None:
    """Draw an object of a class in a random pose."""
    size = image.width
    scale = size / 2 * (rng.uniform(0.3, 0.4) if stranger else rng.uniform(0.6, 0.95))
    angle = math.radians(rng.normal(0, 8))
    shear, stretch = rng.normal(0, 0.06), rng.uniform(0.85, 1.15)
    flip = rng.choice([-1, 1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = scale * turn @ np.array([[flip * stretch, shear], [0, 1 / stretch]])
    free = size / 2 - min(scale, size / 2) * 0.75
    centre = size / 2 + rng.uniform(-1, 1, 2) * (size * 0.42 if stranger else free)
    drawing = Drawing(ImageDraw.Draw(image), ImageDraw.Draw(map_), linear, centre, rng)
    things.DRAW[CLASSES[label]](drawing)


def _background(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A gradient between two colours, with clouds, stripes, or checks."""
    y, x = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, 2 * math.pi)
    along = (math.cos(angle) * (x - 0.5) + math.sin(angle) * (y - 0.5)) + 0.5
    first, second = rng.uniform(20, 235, 3), rng.uniform(20, 235, 3)
    ground = first + (second - first) * along[..., None]
    kind, strength = rng.integers(4), rng.uniform(8, 40)
    if kind == 0:
        pattern = _clouds(rng, size)
    elif kind == 1:
        pattern = np.sign(np.sin(along * rng.uniform(15, 60)))
    elif kind == 2:
        cells = rng.uniform(4, 14)
        pattern = np.where((np.floor(x * cells) + np.floor(y * cells)) % 2 == 0, 1.0, -1.0)
    else:
        pattern = np.zeros((size, size))
    return (ground + strength * pattern[..., None]).clip(0, 255).astype(np.uint8)


def _clouds(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Smooth noise of about -1 to 1: a few octaves of random grids, enlarged."""
    total = np.zeros((size, size))
    for cells, weight in ((4, 0.5), (10, 0.3), (28, 0.2)):
        grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        total += weight * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
    return total


def _occlude(rng: np.random.Generator, image: Image.Image, map_: Image.Image, difficulty: float) -> None:
    """Cover some of the picture with a few shapes."""
    size = image.width
    drawing = Drawing(ImageDraw.Draw(image), ImageDraw.Draw(map_), np.eye(2) * size / 2, np.full(2, size / 2), rng)
    for _ in range(rng.poisson(0.7 * difficulty)):
        colour: Colour = tuple(int(value) for value in rng.integers(20, 235, 3))  # type: ignore[assignment]
        centre, radius = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.08, 0.22)
        if rng.random() < 0.5:
            drawing.ellipse(None, colour, centre, (radius, radius * rng.uniform(0.5, 2)))
        else:
            drawing.box(None, colour, centre, (radius, radius * rng.uniform(0.5, 2)))


def _disturb(
    rng: np.random.Generator, image: NDArray[np.uint8], part_map: NDArray[np.uint8], difficulty: float
) -> NDArray[np.uint8]:
    """Light it from one side, give its surfaces texture, change its contrast, add noise."""
    size = len(image)
    pixels = image.astype(np.float32)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.35)
    light = 1 + strength * 2 * (math.cos(angle) * x + math.sin(angle) * y)
    roughness = rng.uniform(0, 0.25, len(PARTS) + 1)
    roughness[0] = 0
    grain = Image.fromarray(rng.normal(0, 1, (size // 2, size)).astype(np.float32))  # coarser downwards, like fur
    texture = np.asarray(grain.resize((size, size), Image.Resampling.BILINEAR))
    pixels *= (light * (1 + 0.5 * roughness[part_map] * texture))[..., None]
    contrast, brightness = rng.uniform(0.75, 1.2), rng.uniform(-20, 20)
    pixels = (pixels - 128) * contrast + 128 + brightness
    pixels += rng.normal(0, rng.uniform(0, 8) * difficulty, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)
