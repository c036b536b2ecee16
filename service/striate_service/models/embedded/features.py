"""Features that animals share: coats, ears, eyes, noses, whiskers and beaks.

In a head's coordinates, its center is (0, 0) and its radius about 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from striate_service.models.embedded.drawing import Brush, Surface
from striate_service.models.embedded.palette import DARK, GLOSS, WHITE, any_color, coat_color, lighter, plain, surface

_FUR = ("fur", "fur", "grain", "spots", "stripes", "clouds")


@dataclass(frozen=True)
class Coat:
    """The surfaces of one animal."""

    main: Surface
    pale: Surface
    """Belly, snout, cheeks."""
    ear: Surface
    inner: Surface
    """Inside of ears."""
    iris: Surface


def any_coat(rng: np.random.Generator) -> Coat:
    main = surface(rng, coat_color(rng), _FUR, chance=0.8)
    dark = sum(main.color) > 1.2
    ear = (
        lighter(main, float(rng.uniform(-0.6, -0.2) if dark else rng.uniform(0.15, 0.4)))
        if rng.random() < 0.5
        else main
    )
    pale = lighter(main, float(rng.uniform(0.3, 0.8)))
    inner = plain((0.9, 0.6, 0.6)) if rng.random() < 0.6 else lighter(main, 0.5)
    return Coat(main, pale, ear, inner, plain(any_color(rng)))


def floppy_ears(brush: Brush, coat: Coat) -> None:
    drop, width = float(brush.rng.uniform(0.35, 0.75)), float(brush.rng.uniform(1.05, 1.3))
    for side in (-1, 1):
        low = drop + float(brush.rng.normal(0, 0.06))
        brush.shape(
            "floppy ear",
            [
                (side * 0.45, -0.85),
                (side * 0.85, -0.8),
                (side * width, -0.2),
                (side * width, low),
                (side * 0.85, low + 0.1),
                (side * 0.72, -0.1),
            ],
            coat.ear,
        )


def pointed_ear(brush: Brush, side: int, spread: float, height: float, coat: Coat) -> None:
    outer, inner = side * (spread + 0.42), side * (spread - 0.42)
    tip = side * (spread + 0.18), -height
    brush.shape("pointed ear", [(inner, -0.6), tip, (outer, -0.25)], coat.ear, smooth=False)
    middle = (inner + outer) / 2
    brush.shape(
        "pointed ear",
        [(inner * 0.45 + middle * 0.55, -0.62), (tip[0], -height * 0.86), (outer * 0.45 + middle * 0.55, -0.45)],
        coat.inner,
        smooth=False,
        line=0,
    )


def eyes(
    brush: Brush,
    x: float,
    y: float,
    apart: float,
    size: float,
    iris: Surface,
    *,
    slit: bool = False,
    on: tuple[str, ...],
) -> None:
    for side in (-1, 1):
        eye(brush, x + side * apart, y, size, iris, slit=slit, on=on)


def eye(
    brush: Brush, x: float, y: float, size: float, iris: Surface, *, slit: bool = False, on: tuple[str, ...]
) -> None:
    brush.oval("eye", x, y, size * 1.25, size * 1.25, WHITE, on=on)
    brush.oval("eye", x, y, size, size, iris, on=on, line=0)
    brush.oval("eye", x, y, size * (0.3 if slit else 0.6), size * (0.9 if slit else 0.6), DARK, on=on, line=0)
    brush.oval("eye", x - size * 0.3, y - size * 0.35, size * 0.25, size * 0.25, GLOSS, on=on, line=0)


def nose(brush: Brush, x: float, y: float, size: float) -> None:
    on = ("head", "snout")
    brush.shape(
        "nose",
        [
            (x - size, y - size * 0.6),
            (x + size, y - size * 0.6),
            (x + size * 0.7, y + size * 0.5),
            (x, y + size * 0.85),
            (x - size * 0.7, y + size * 0.5),
        ],
        DARK,
        on=on,
    )
    brush.oval("nose", x - size * 0.3, y - size * 0.3, size * 0.3, size * 0.18, plain((0.5, 0.5, 0.52)), on=on, line=0)


def whiskers(brush: Brush, x: float, y: float) -> None:
    hair = WHITE if brush.rng.random() < 0.5 else DARK
    reach = float(brush.rng.uniform(1.0, 1.35))
    for side in (-1, 1):
        for slope in (-0.18, 0.02, 0.22):
            start = (x + side * 0.25, y + slope * 0.3)
            brush.path("whiskers", [start, (x + side * reach, y + slope)], 0.035, hair, on=("head", "snout"))


def horn(rng: np.random.Generator) -> Surface:
    """Return the surface of a beak: yellow to orange, or dark."""
    if rng.random() < 0.3:
        return plain((0.2, 0.2, 0.22))
    return plain((float(rng.uniform(0.85, 1)), float(rng.uniform(0.45, 0.8)), 0.1))
