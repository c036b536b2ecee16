"""Random colors. No class has a color of its own, so that a network has to learn shapes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from striate_service.models.embedded.drawing import Color, Surface

DARK = Surface((0.06, 0.05, 0.06), round=0.5)
WHITE = Surface((0.95, 0.95, 0.93), round=0.2)
GLOSS = Surface((0.98, 0.98, 0.98))

# Hue, saturation and value of coats: brown, cream, gray, black, white, ginger.
_COATS = ((0.07, 0.5, 0.45), (0.1, 0.3, 0.85), (0.6, 0.08, 0.55), (0.6, 0.1, 0.2), (0.1, 0.05, 0.93), (0.06, 0.75, 0.8))


def any_color(rng: np.random.Generator) -> Color:
    """Return a color of any hue, mostly a saturated one."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.35, 1.0))


def coat_color(rng: np.random.Generator) -> Color:
    """Return the color of an animal, mostly one that real animals have."""
    if rng.random() < 0.25:
        return any_color(rng)
    hue, saturation, value = _COATS[rng.integers(len(_COATS))]
    jitter = rng.normal(0, (0.015, 0.08, 0.08))
    return colorsys.hsv_to_rgb(
        (hue + jitter[0]) % 1, *np.clip((saturation + jitter[1], value + jitter[2]), 0, 1).tolist()
    )


def surface(
    rng: np.random.Generator, color: Color, kinds: Sequence[str], *, chance: float = 0.7, rounded: float = 0.6
) -> Surface:
    """Return a surface of a color, with one of the textures `kinds` at a probability of `chance`, else plain."""
    texture = str(rng.choice(kinds)) if rng.random() < chance else None
    return Surface(color, texture, float(rng.uniform(0.12, 0.45)), rounded * float(rng.uniform(0.4, 1)))


def lighter(of: Surface, share: float) -> Surface:
    """Return the surface mixed with white (share > 0) or with black (share < 0)."""
    r, g, b = (c + (1 - c) * share if share > 0 else c * (1 + share) for c in of.color)
    return replace(of, color=(r, g, b))


def plain(color: Color, rounded: float = 0.3) -> Surface:
    return Surface(color, round=rounded)


def contrasting(rng: np.random.Generator, other: Surface) -> Surface:
    """Return a plain surface clearly lighter or darker than another."""
    for _ in range(8):
        candidate = any_color(rng)
        if abs(sum(candidate) - sum(other.color)) > 0.6:
            return plain(candidate)
    return DARK if sum(other.color) > 1.5 else WHITE
