"""The surroundings of an object: backgrounds, occluders, and the distortions of a camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from striate_service.models.embedded import textures
from striate_service.models.embedded.drawing import Canvas, Points, Style, Surface
from striate_service.models.embedded.palette import any_color, lighter, plain, surface


def any_style(rng: np.random.Generator) -> Style:
    """Return a style between flat vector graphics and soft shading, with or without outlines."""
    angle = rng.uniform(np.pi, 2 * np.pi)  # light comes from above
    line = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.6, 2.0))
    ink = (0.05, 0.04, 0.05) if rng.random() < 0.75 else any_color(rng)
    return Style(
        line=line,
        ink=ink,
        light=(float(np.cos(angle)), float(np.sin(angle))),
        shading=float(rng.uniform(0, 1.3)),
        wobble=float(rng.uniform(0, 0.03)),
    )


def background(canvas: Canvas) -> None:
    """Fill the canvas with a landscape, a room, or a pattern."""
    kind = canvas.rng.choice(["landscape", "room", "pattern", "water"], p=[0.35, 0.2, 0.3, 0.15])
    _BACKGROUNDS[str(kind)](canvas)


def _landscape(canvas: Canvas) -> None:
    rng, size = canvas.rng, canvas.size
    horizon = float(rng.uniform(0.45, 0.85)) * size
    _sky(canvas, horizon)
    if rng.random() < 0.4:
        steps = np.linspace(-5, size + 5, 7)
        heights = horizon - rng.uniform(0, 0.25, 7) * size
        corners = [(size + 5, size), (-5, size)]
        hills = np.concatenate([np.stack([steps, heights], 1), corners])
        canvas.fill("hills", hills, surface(rng, any_color(rng), ("leaves", "clouds"), chance=0.8), line=0)
    if rng.random() < 0.6:
        green = (float(rng.uniform(0.15, 0.45)), float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.1, 0.3)))
        canvas.fill("grass", _rows(size, horizon, size), Surface(green, "fur", float(rng.uniform(0.1, 0.35))), line=0)
    else:
        earth = surface(rng, any_color(rng), ("grain", "clouds", "bricks"), chance=0.9, rounded=0)
        canvas.fill("ground", _rows(size, horizon, size), earth, line=0)


def _water(canvas: Canvas) -> None:
    rng, size = canvas.rng, canvas.size
    horizon = float(rng.uniform(0.0, 0.75)) * size
    _sky(canvas, horizon)
    sea = Surface(
        (float(rng.uniform(0.05, 0.35)), float(rng.uniform(0.35, 0.6)), float(rng.uniform(0.5, 0.85))), "clouds", 0.25
    )
    canvas.fill("water", _rows(size, horizon, size), sea, line=0)
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(0, size), rng.uniform(horizon, size)
        wave = np.array([(x + d, y + 1.5 * np.sin(d / 3)) for d in np.arange(-9, 10, 3)])
        canvas.stroke("water", wave, 1.2, plain((0.85, 0.93, 0.97)))


def _room(canvas: Canvas) -> None:
    rng, size = canvas.rng, canvas.size
    edge = float(rng.uniform(0.6, 0.9)) * size
    paper = surface(rng, any_color(rng), ("plaid", "stripes", "bricks", "spots", "clouds"), chance=0.8, rounded=0)
    floor = surface(rng, any_color(rng), ("wood", "plaid", "grain"), chance=0.8, rounded=0)
    canvas.fill("wallpaper", _rows(size, 0, edge), paper, line=0)
    canvas.fill("floor", _rows(size, edge, size), floor, line=0)


def _pattern(canvas: Canvas) -> None:
    rng, size = canvas.rng, canvas.size
    first, second = np.array(any_color(rng), np.float32), np.array(any_color(rng), np.float32)
    share = 0.5 + 0.5 * textures.crop(rng, str(rng.choice(textures.KINDS)), size, size)[..., None]
    if rng.random() < 0.4:
        share = 0.35 * share  # faint
    canvas.pixels[:] = first + share * (second - first)


_BACKGROUNDS = {"landscape": _landscape, "room": _room, "pattern": _pattern, "water": _water}


def _sky(canvas: Canvas, horizon: float) -> None:
    rng = canvas.rng
    blue = (float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.6, 0.85)), float(rng.uniform(0.85, 1)))
    color = blue if rng.random() < 0.6 else any_color(rng)
    canvas.fill("sky", _rows(canvas.size, 0, horizon), Surface(color, "clouds", float(rng.uniform(0, 0.3))), line=0)


def _rows(size: int, top: float, bottom: float) -> Points:
    return np.array([(-2, top), (size + 2, top), (size + 2, bottom), (-2, bottom)], dtype=np.float64)


def occlude(canvas: Canvas, share: float) -> None:
    """Draw balls, boards and bars in front, unnamed, which together cover about `share` of the picture."""
    rng, size = canvas.rng, canvas.size
    left = share * size * size
    while left > 20:
        area = min(left, float(rng.uniform(0.01, 0.06)) * size * size)
        left -= area
        x, y = rng.uniform(0, size, 2)
        cover = surface(rng, any_color(rng), textures.KINDS, chance=0.7)
        kind = rng.integers(3)
        if kind == 0:
            angles = np.arange(9) * 2 * np.pi / 9
            reach = np.sqrt(area / np.pi) * rng.uniform(0.7, 1.3, 9)
            canvas.fill(None, np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1), cover)
        elif kind == 1:
            half, turn = np.sqrt(area) / 2, rng.uniform(0, np.pi / 2)
            corners = turn + np.arange(4) * np.pi / 2
            canvas.fill(
                None, np.stack([x + half * 1.41 * np.cos(corners), y + half * 1.41 * np.sin(corners)], 1), cover
            )
        else:
            turn, length = rng.uniform(0, np.pi), size * 0.7
            middle, along = np.array([x, y]), np.array([np.cos(turn), np.sin(turn)]) * length / 2
            width = float(np.clip(area / length, 2, 9))
            canvas.stroke(None, np.stack([middle - along, middle + along]), width, cover)


def bystander(canvas: Canvas) -> None:
    """Draw something small and unnamed, such as a ball, a bush or a stone."""
    rng, size = canvas.rng, canvas.size
    radius = float(rng.uniform(0.04, 0.1)) * size
    x, y = rng.uniform(0, size, 2)
    angles = np.arange(10) * 2 * np.pi / 10
    reach = radius * rng.uniform(0.85 if rng.random() < 0.5 else 0.6, 1.15, 10)
    body = surface(rng, any_color(rng), ("leaves", "grain", "stripes", "spots"), chance=0.7)
    canvas.fill(None, np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], 1), lighter(body, -0.1))


def photograph(
    rng: np.random.Generator, pixels: NDArray[np.float32], *, noise: float, light: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return the picture as a camera would take it: exposure, color cast, uneven light, blur and noise.

    Args:
        pixels: [size, size, 3], 0 to 1.
        noise: standard deviation of the noise.
        light: where the light comes from, a unit vector.
    """
    size = len(pixels)
    gain, gamma = rng.uniform(0.75, 1.2), rng.uniform(0.8, 1.25)
    cast = 1 + rng.normal(0, 0.05, 3)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    uneven = 1 + rng.uniform(0, 0.25) * (ramp[None] * light[0] + ramp[:, None] * light[1])
    exposed = (
        np.clip(pixels, 0, 1) ** np.float32(gamma)
        * (gain * cast).astype(np.float32)
        * uneven[..., None].astype(np.float32)
    )
    if rng.random() < 0.3:
        image = Image.fromarray((np.clip(exposed, 0, 1) * 255).astype(np.uint8))
        blurred = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.1))))
        exposed = np.asarray(blurred, np.float32) / 255
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    return np.asarray(np.clip(exposed + grain, 0, 1) * 255 + 0.5, dtype=np.uint8)
