"""Plants and household objects: trees, flowers, cups, teapots, clocks.

Each is drawn in coordinates of its own, in which it extends from about -1 to 1.
"""

from __future__ import annotations

import numpy as np

from striate_service.models.embedded.drawing import Brush, Surface
from striate_service.models.embedded.palette import DARK, any_color, contrasting, lighter, plain, surface
from striate_service.models.embedded.things import dial

_GLAZE = ("plaid", "spots", "stripes", "clouds", "grain")


def tree(brush: Brush) -> None:
    rng = brush.rng
    bark = surface(
        rng, (0.42, 0.28, 0.16) if rng.random() < 0.7 else any_color(rng), ("wood", "fur", "grain"), chance=0.9
    )
    crown = surface(rng, _leaf_color(rng), ("leaves", "leaves", "spots", "grain"), chance=0.9)
    width = float(rng.uniform(0.1, 0.17))
    brush.shape("trunk", [(-width, 0.1), (width, 0.1), (width * 1.5, 1.0), (-width * 1.5, 1.0)], bark, smooth=False)
    if rng.random() < 0.35:
        for k in range(3):
            half, top = 0.42 + 0.14 * k, -1.0 + 0.4 * k
            brush.shape("foliage", [(0, top), (half, top + 0.62), (-half, top + 0.62)], crown, smooth=False)
        return
    for side in (-1, 1):
        brush.path("trunk", [(0, 0.45), (side * 0.4, 0.0)], 0.1, bark)
    angles = np.arange(9) * 2 * np.pi / 9
    reach = 0.72 * (1 + rng.uniform(-0.16, 0.16, 9))
    brush.shape("foliage", np.stack([reach * 1.1 * np.cos(angles), -0.32 + reach * np.sin(angles) * 0.9], 1), crown)
    if rng.random() < 0.5:
        fruit = plain(any_color(rng), 0.8)
        size = float(rng.uniform(0.08, 0.12))
        for _ in range(int(rng.integers(4, 8))):
            angle, far = rng.uniform(0, 2 * np.pi), 0.55 * np.sqrt(rng.random())
            brush.oval(
                "fruit",
                float(far * np.cos(angle)),
                float(-0.32 + far * np.sin(angle)),
                size,
                size,
                fruit,
                on=("foliage",),
            )


def flower(brush: Brush) -> None:
    rng = brush.rng
    green = surface(rng, _leaf_color(rng), ("grain", "clouds"), chance=0.5)
    x, y = float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.4, -0.25))
    bend = float(rng.uniform(-0.2, 0.2))
    brush.path("stem", [(x, y), (x + bend, 0.35), (0, 1.0)], float(rng.uniform(0.07, 0.11)), green)
    for side in (-1, 1):
        if rng.random() < 0.85:
            low = float(rng.uniform(0.5, 0.8))
            brush.shape(
                "leaf",
                [
                    (bend * 0.5, low + 0.15),
                    (side * 0.3, low - 0.18),
                    (side * 0.68, low - 0.22),
                    (side * 0.4, low + 0.12),
                ],
                lighter(green, 0.1),
            )
    petal = surface(rng, any_color(rng), ("grain", "clouds", "spots"), chance=0.4, rounded=0.5)
    count = int(rng.integers(5, 11))
    length, turn = float(rng.uniform(0.5, 0.62)), float(rng.uniform(0, np.pi))
    width = float(rng.uniform(0.9, 1.25)) * length * 1.6 / count
    for k in range(count):
        angle = turn + k * 2 * np.pi / count
        out = brush.at(x, y, 1, angle)
        out.oval("petal", length * 0.62, 0, length * 0.48, width, petal)
    centre = surface(rng, contrasting(rng, petal).color, ("grain", "spots"), chance=0.6, rounded=0.8)
    size = float(rng.uniform(0.18, 0.27))
    brush.oval("flower centre", x, y, size, size, centre)


def cup(brush: Brush) -> None:
    rng = brush.rng
    glaze = surface(rng, any_color(rng), _GLAZE, chance=0.5)
    if rng.random() < 0.4:
        brush.oval("saucer", 0, 0.75, 1.0, 0.2, lighter(glaze, 0.3))
    _handle(brush, 0.55, 0.1, float(rng.uniform(0.28, 0.36)), glaze)
    top, bottom = float(rng.uniform(0.6, 0.7)), float(rng.uniform(0.4, 0.65))
    height = float(rng.uniform(-0.65, -0.4))
    brush.shape("vessel", [(-top, height), (top, height), (bottom, 0.78), (-bottom, 0.78)], glaze, smooth=False)
    brush.oval("rim", 0, height, top, 0.17, lighter(glaze, 0.3))
    brush.oval("rim", 0, height + 0.02, top * 0.86, 0.12, plain((0.3, 0.18, 0.1)), line=0)
    if rng.random() < 0.4:
        for x in (-0.25, 0.0, 0.25):
            brush.path(
                "steam",
                [(x, height - 0.1), (x + 0.08, height - 0.25), (x - 0.05, height - 0.4), (x + 0.05, height - 0.55)],
                0.06,
                plain((0.95, 0.95, 0.97)),
            )


def teapot(brush: Brush) -> None:
    rng = brush.rng
    glaze = surface(rng, any_color(rng), _GLAZE, chance=0.5)
    _handle(brush, 0.62, 0.15, float(rng.uniform(0.3, 0.4)), glaze)
    brush.shape(
        "spout", [(-0.5, 0.42), (-0.8, 0.2), (-1.12, -0.38), (-0.92, -0.45), (-0.7, -0.05), (-0.45, 0.0)], glaze
    )
    brush.oval("vessel", 0, 0.22, float(rng.uniform(0.62, 0.7)), float(rng.uniform(0.5, 0.6)), glaze)
    if rng.random() < 0.6:
        brush.shape(None, [(-0.35, 0.72), (0.35, 0.72), (0.42, 0.86), (-0.42, 0.86)], glaze, smooth=False)
    lid = lighter(glaze, float(rng.uniform(-0.3, 0.4)))
    brush.oval("lid", 0, -0.33, 0.38, 0.16, lid)
    brush.oval("lid", 0, -0.54, 0.1, 0.1, lid)


def clock(brush: Brush) -> None:
    rng = brush.rng
    case = surface(rng, any_color(rng), ("wood", "grain", "clouds"), chance=0.6)
    kind = rng.choice(["alarm", "round", "square", "pendulum"])
    centre, radius = 0.0, 0.75
    if kind == "alarm":
        metal = plain((0.8, 0.7, 0.35)) if rng.random() < 0.5 else plain(any_color(rng))
        for side in (-1, 1):
            brush.path(None, [(side * 0.4, 0.6), (side * 0.6, 1.0)], 0.14, metal)
            brush.at(side * 0.48, -0.72, angle=side * 0.6).oval("bell", 0, 0, 0.32, 0.22, metal)
        brush.oval(None, 0, 0.05, 0.86, 0.86, case)
        centre = 0.05
    elif kind == "round":
        brush.oval(None, 0, 0, 0.95, 0.95, case)
        radius = 0.8
    elif kind == "square":
        brush.box(None, -0.9, -0.9, 0.9, 0.9, case, corner=float(rng.choice([0, 0.2])))
    else:
        brush.path("pendulum", [(0, 0.2), (float(rng.uniform(-0.2, 0.2)), 1.0)], 0.06, DARK)
        brush.oval("pendulum", float(rng.uniform(-0.15, 0.15)), 0.98, 0.18, 0.18, plain((0.9, 0.75, 0.3)))
        brush.shape("roof", [(-0.9, -0.5), (0, -1.1), (0.9, -0.5)], lighter(case, -0.3), smooth=False)
        brush.box(None, -0.7, -0.55, 0.7, 0.62, case)
        radius = 0.55
    dial(brush.at(0, centre, radius))


def _handle(brush: Brush, x: float, y: float, size: float, glaze: Surface) -> None:
    """Draw an ear-shaped ring that begins and ends at x."""
    brush.path(
        "handle",
        [
            (x - 0.08, y - size),
            (x + size * 0.8, y - size * 0.9),
            (x + size * 1.25, y),
            (x + size * 0.6, y + size * 0.9),
            (x - 0.1, y + size * 0.95),
        ],
        0.15,
        glaze,
    )


def _leaf_color(rng: np.random.Generator) -> tuple[float, float, float]:
    if rng.random() < 0.3:
        return any_color(rng)
    return (float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.08, 0.3)))
