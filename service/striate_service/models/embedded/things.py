"""Vehicles and buildings: wheels, windows, doors, lights and roofs in many combinations.

Each is drawn in coordinates of its own, in which it extends from about -1 to 1.
"""

from __future__ import annotations

import numpy as np

from striate_service.models.embedded.drawing import Brush, Surface
from striate_service.models.embedded.palette import DARK, any_color, contrasting, lighter, plain, surface

_PAINT = ("grain", "clouds", "stripes", "plaid")
_WALLS = ("bricks", "bricks", "wood", "grain", "clouds")
_TILES = ("scales", "bricks", "stripes", "grain", "wood")


def car(brush: Brush) -> None:
    rng = brush.rng
    paint = surface(rng, any_color(rng), _PAINT, chance=0.3)
    glass, height = _glass(rng), float(rng.uniform(0.5, 0.68))
    front, back = float(rng.uniform(-0.4, -0.25)), float(rng.uniform(0.35, 0.75))
    brush.shape(
        "bodywork",
        [(-0.62, -0.02), (front, -height), (back - 0.05, -height), (back + 0.25, -0.02)],
        paint,
        smooth=False,
    )
    frame = lighter(paint, -0.2)
    middle = (front + back) / 2
    for left, right, slant in ((-0.5, middle - 0.05, -1), (middle + 0.05, back + 0.12, 1)):
        top_left, top_right = (front + 0.06, right) if slant < 0 else (left, back - 0.1)
        brush.shape(
            "window",
            [(left, -0.06), (top_left, -height + 0.1), (top_right, -height + 0.1), (right, -0.06)],
            glass,
            smooth=False,
            on=("bodywork",),
        )
    nose = float(rng.uniform(-0.08, 0.08))
    brush.shape(
        "bodywork",
        [(-1.0, 0.1 + nose), (-0.6, -0.06), (0.6, -0.08), (0.98, -0.02), (1.0, 0.4), (-1.0, 0.42)],
        paint,
        smooth=rng.random() < 0.3,
    )
    brush.box("door", middle - 0.3, -0.03, middle + 0.22, 0.36, frame, corner=0.05, on=("bodywork",), line=1)
    brush.box("door", middle + 0.05, 0.05, middle + 0.17, 0.09, DARK, on=("bodywork",), line=0)
    _headlight(brush, -0.92, 0.18, 0.11, on=("bodywork",))
    brush.box("bumper", -1.08, 0.32, -0.6, 0.44, plain((0.6, 0.6, 0.62)), corner=0.05)
    radius, hub = float(rng.uniform(0.22, 0.3)), _rim(rng)
    for x in (-0.58, 0.58):
        _wheel(brush, x, 0.44, radius, hub)


def bus(brush: Brush) -> None:
    rng = brush.rng
    paint = surface(rng, any_color(rng), _PAINT, chance=0.3)
    glass, top = _glass(rng), float(rng.uniform(-0.75, -0.6))
    brush.box("bodywork", -1.05, top, 1.05, 0.45, paint, corner=float(rng.uniform(0.06, 0.2)))
    if rng.random() < 0.6:
        brush.box("bodywork", -1.03, 0.1, 1.03, 0.22, contrasting(rng, paint), line=0)
    brush.box("door", -0.95, top + 0.18, -0.62, 0.38, lighter(paint, -0.35), on=("bodywork",), line=1)
    brush.box("window", -0.91, top + 0.22, -0.66, -0.05, glass, on=("bodywork", "door"))
    count = int(rng.integers(3, 6))
    pitch = 1.5 / count
    for k in range(count):
        left = -0.52 + k * pitch
        brush.box("window", left, top + 0.16, left + pitch * 0.8, 0.0, glass, corner=0.04, on=("bodywork",))
    _headlight(brush, -0.98, 0.3, 0.09, on=("bodywork",))
    radius, hub = float(rng.uniform(0.2, 0.26)), _rim(rng)
    for x in (-0.5, 0.6):
        _wheel(brush, x, 0.46, radius, hub)


def truck(brush: Brush) -> None:
    rng = brush.rng
    paint = surface(rng, any_color(rng), _PAINT, chance=0.3)
    load = surface(rng, any_color(rng), ("wood", "plaid", "stripes", "bricks", "leaves"), chance=0.5, rounded=0.1)
    brush.box(None, -0.95, 0.3, 1.02, 0.45, plain((0.25, 0.25, 0.27)))
    height = float(rng.uniform(-0.85, -0.45))
    brush.box("cargo box", -0.28, height, 1.05, 0.32, load, corner=float(rng.choice([0, 0.06])))
    roof = float(rng.uniform(-0.55, -0.35))
    brush.shape("bodywork", [(-1.0, 0.4), (-1.0, 0.0), (-0.82, roof), (-0.35, roof), (-0.35, 0.4)], paint, smooth=False)
    brush.shape(
        "window",
        [(-0.9, -0.02), (-0.76, roof + 0.1), (-0.44, roof + 0.1), (-0.44, -0.02)],
        _glass(rng),
        smooth=False,
        on=("bodywork",),
    )
    brush.box("door", -0.72, 0.02, -0.42, 0.34, lighter(paint, -0.25), on=("bodywork",), line=1)
    _headlight(brush, -0.95, 0.2, 0.09, on=("bodywork",))
    radius, hub = float(rng.uniform(0.21, 0.27)), _rim(rng)
    for x in (-0.66, 0.3, 0.78) if rng.random() < 0.5 else (-0.66, 0.65):
        _wheel(brush, x, 0.46, radius, hub)


def bicycle(brush: Brush) -> None:
    rng = brush.rng
    tube, width = plain(any_color(rng)), float(rng.uniform(0.055, 0.085))
    radius, hub = float(rng.uniform(0.4, 0.47)), _rim(rng)
    for x in (-0.6, 0.6):
        _spoked_wheel(brush, x, 0.35, radius, hub)
    seat, crank, head = (0.3, -0.32), (0.08, 0.38), (-0.42, -0.36)
    for line in ([crank, seat], [crank, head], [(0.6, 0.35), crank], [(0.6, 0.35), seat], [(0.26, -0.2), head]):
        brush.path("frame", line, width, tube)
    brush.path("frame", [(-0.6, 0.35), head, (-0.38, -0.58)], width, tube, smooth=False)
    if rng.random() < 0.5:
        bar = [(-0.38, -0.58), (-0.6, -0.62), (-0.68, -0.5), (-0.58, -0.4)]
    else:
        bar = [(-0.16, -0.62), (-0.38, -0.58), (-0.62, -0.7)]
    brush.path("handlebar", bar, width * 1.1, DARK)
    brush.shape("saddle", [(0.1, -0.46), (0.48, -0.5), (0.5, -0.38), (0.3, -0.34)], DARK)
    brush.path(None, [(crank[0] - 0.12, crank[1] - 0.1), (crank[0] + 0.12, crank[1] + 0.1)], 0.05, DARK)


def boat(brush: Brush) -> None:
    rng = brush.rng
    hull = surface(rng, any_color(rng), ("wood", "wood", "stripes", "grain"), chance=0.6)
    cloth = surface(
        rng, any_color(rng) if rng.random() < 0.6 else (0.95, 0.93, 0.88), ("stripes", "plaid", "clouds"), chance=0.4
    )
    if rng.random() < 0.7:
        mast = float(rng.uniform(-0.15, 0.15))
        brush.path("mast", [(mast, 0.4), (mast, -1.0)], 0.07, plain((0.45, 0.3, 0.18)))
        brush.shape("sail", [(mast + 0.06, -0.92), (mast + 0.08, 0.22), (0.85, 0.22)], cloth, smooth=False)
        if rng.random() < 0.7:
            brush.shape(
                "sail", [(mast - 0.06, -0.75), (mast - 0.08, 0.22), (-0.75, 0.22)], lighter(cloth, 0.3), smooth=False
            )
        _flag(brush, mast, -1.0)
    else:
        cabin = surface(rng, any_color(rng), ("wood", "grain"), chance=0.4)
        brush.box("cabin", -0.5, -0.25, 0.45, 0.38, cabin)
        glass = _glass(rng)
        for x in (-0.3, 0.0, 0.28):
            brush.box("window", x - 0.11, -0.15, x + 0.11, 0.1, glass, on=("cabin",))
        brush.box("chimney", 0.02, -0.75, 0.3, -0.25, surface(rng, any_color(rng), ("stripes",), chance=0.5))
        _flag(brush, -0.45, -0.8, pole=0.6)
    brush.shape("hull", [(-1.05, 0.28), (1.05, 0.28), (0.7, 0.82), (-0.65, 0.82)], hull, smooth=rng.random() < 0.2)
    if rng.random() < 0.5:
        for x in (-0.45, 0.0, 0.45):
            brush.oval("window", x, 0.52, 0.1, 0.1, plain((0.7, 0.85, 0.95)), on=("hull",))


def house(brush: Brush) -> None:
    rng = brush.rng
    wall = surface(rng, any_color(rng), _WALLS, chance=0.8, rounded=0.1)
    tiles = surface(rng, any_color(rng), _TILES, chance=0.8, rounded=0.1)
    width, eaves = float(rng.uniform(0.7, 0.95)), float(rng.uniform(-0.25, -0.05))
    if rng.random() < 0.6:
        side = float(rng.choice([-0.45, 0.45]))
        brush.box("chimney", side - 0.11, -0.95, side + 0.11, -0.2, surface(rng, any_color(rng), ("bricks",)))
    brush.box("wall", -width, eaves, width, 0.95, wall)
    ridge = float(rng.choice([0.0, 0.0, 0.35, 0.6]))
    brush.shape(
        "roof",
        [(-width - 0.14, eaves), (-ridge * width, -0.92), (ridge * width, -0.92), (width + 0.14, eaves)],
        tiles,
        smooth=False,
    )
    door = float(rng.choice([-0.4, 0.0, 0.4]))
    _door(brush, door, 0.95, 0.36, float(rng.uniform(0.6, 0.72)), on=("wall",))
    glass, size, frame = _glass(rng), float(rng.uniform(0.15, 0.2)), contrasting(rng, wall)
    for x in (-0.5, 0.0, 0.5):
        if abs(x - door) > 0.3 and abs(x) + size < width:
            _window(brush, x, 0.35, size, glass, frame, on=("wall",))
    if rng.random() < 0.4:
        _window(brush, 0, (eaves - 0.75) / 2 + 0.08, 0.13, glass, frame, on=("roof",))


def church(brush: Brush) -> None:
    rng = brush.rng
    wall = surface(rng, any_color(rng), _WALLS, chance=0.8, rounded=0.1)
    tiles = surface(rng, any_color(rng), _TILES, chance=0.8, rounded=0.1)
    glass, frame = _glass(rng), contrasting(rng, wall)
    brush.box("wall", -0.2, 0.15, 1.0, 0.95, wall)
    brush.shape("roof", [(-0.2, 0.18), (-0.2, -0.22), (0.82, -0.22), (1.1, 0.18)], tiles, smooth=False)
    for x in (0.3, 0.7):
        _window(brush, x, 0.55, 0.14, glass, frame, arched=True, on=("wall",))
    brush.box("wall", -0.72, -0.4, -0.12, 0.95, lighter(wall, 0.1))
    brush.shape("roof", [(-0.82, -0.38), (-0.42, -1.0), (-0.02, -0.38)], tiles, smooth=False)
    gold = plain((0.9, 0.75, 0.2)) if rng.random() < 0.6 else DARK
    brush.path("cross", [(-0.42, -0.95), (-0.42, -1.3)], 0.06, gold)
    brush.path("cross", [(-0.54, -1.18), (-0.3, -1.18)], 0.06, gold)
    if rng.random() < 0.7:
        dial(brush.at(-0.42, -0.12, 0.24), on=("wall",))
    else:
        _window(brush, -0.42, -0.1, 0.14, glass, frame, arched=True, on=("wall",))
    _door(brush, -0.42, 0.95, 0.32, 0.55, on=("wall",))


def dial(brush: Brush, *, on: tuple[str, ...] = ()) -> None:
    """Draw a clock's face of radius 1, with hours and hands."""
    rng = brush.rng
    face = plain((0.95, 0.94, 0.9)) if rng.random() < 0.6 else plain(any_color(rng))
    ink = contrasting(rng, face)
    brush.oval("dial", 0, 0, 1.0, 1.0, lighter(ink, -0.2) if rng.random() < 0.5 else face, on=on)
    brush.oval("dial", 0, 0, 0.86, 0.86, face, on=on, line=0)
    for hour in range(0, 12, 1 if brush.pose.scale > 18 else 3):
        cosine, sine = np.cos(hour * np.pi / 6), np.sin(hour * np.pi / 6)
        brush.path("dial", [(0.66 * cosine, 0.66 * sine), (0.8 * cosine, 0.8 * sine)], 0.07, ink, on=on)
    for length, width in ((0.4, 0.13), (0.62, 0.09)):
        angle = float(rng.uniform(0, 2 * np.pi))
        brush.path(
            "clock hands", [(0, 0), (length * np.cos(angle), length * np.sin(angle))], width, ink, on=(*on, "dial")
        )
    brush.oval("dial", 0, 0, 0.08, 0.08, ink, on=on, line=0)


def _glass(rng: np.random.Generator) -> Surface:
    if rng.random() < 0.25:
        return plain((0.98, 0.88, 0.5), 0.2)  # lit from within
    return Surface((float(rng.uniform(0.3, 0.75)), float(rng.uniform(0.6, 0.88)), 0.93), "clouds", 0.2)


def _rim(rng: np.random.Generator) -> Surface:
    return plain((0.75, 0.75, 0.78)) if rng.random() < 0.6 else plain(any_color(rng))


def _wheel(brush: Brush, x: float, y: float, radius: float, rim: Surface) -> None:
    brush.oval("wheel", x, y, radius, radius, Surface((0.12, 0.12, 0.13), "grain", 0.3))
    brush.oval("wheel", x, y, radius * 0.6, radius * 0.6, rim, line=0)
    brush.oval("wheel", x, y, radius * 0.2, radius * 0.2, DARK, line=0)


def _spoked_wheel(brush: Brush, x: float, y: float, radius: float, rim: Surface) -> None:
    t = np.linspace(0, 2 * np.pi, 25)
    for share, width, ring in ((1.0, 0.09, DARK), (0.86, 0.04, rim)):
        circle = [(float(x + share * radius * np.cos(a)), float(y + share * radius * np.sin(a))) for a in t]
        brush.path("wheel", circle, width, ring, smooth=False)
    start = float(brush.rng.uniform(0, 1))
    for angle in start + np.arange(4) * np.pi / 4:
        across, down = float(radius * 0.9 * np.cos(angle)), float(radius * 0.9 * np.sin(angle))
        brush.path("wheel", [(x - across, y - down), (x + across, y + down)], 0.02, rim)
    # The gaps between the spokes belong to the wheel, as in a segmentation by hand.
    inside = brush.pose(np.array([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in t]))
    brush.canvas.mark("wheel", inside)


def _headlight(brush: Brush, x: float, y: float, size: float, *, on: tuple[str, ...]) -> None:
    brush.oval("headlight", x, y, size, size, plain((0.98, 0.92, 0.55)), on=on)
    brush.oval("headlight", x, y, size * 0.5, size * 0.5, plain((1.0, 1.0, 0.92)), on=on, line=0)


def _window(
    brush: Brush,
    x: float,
    y: float,
    size: float,
    glass: Surface,
    frame: Surface,
    *,
    arched: bool = False,
    on: tuple[str, ...],
) -> None:
    edge = size * 1.25
    if arched:
        brush.oval("window", x, y - size, edge, edge, frame, on=on)
        brush.oval("window", x, y - size, size, size, glass, on=on, line=0)
    brush.box("window", x - edge, y - edge, x + edge, y + edge, frame, on=on, line=0 if arched else None)
    brush.box("window", x - size, y - size, x + size, y + size, glass, on=on, line=0)
    brush.path("window", [(x, y - size * (1.9 if arched else 1)), (x, y + size)], 0.045, frame, on=on)
    brush.path("window", [(x - size, y), (x + size, y)], 0.045, frame, on=on)


def _door(brush: Brush, x: float, bottom: float, width: float, height: float, *, on: tuple[str, ...]) -> None:
    wood = surface(brush.rng, any_color(brush.rng), ("wood", "grain"), chance=0.6, rounded=0.1)
    if brush.rng.random() < 0.4:
        brush.oval("door", x, bottom - height, width / 2, width / 2.5, wood, on=on)
    brush.box("door", x - width / 2, bottom - height, x + width / 2, bottom, wood, on=on)
    knob = plain((0.95, 0.8, 0.3))
    brush.oval("door", x + width * 0.3, bottom - height * 0.45, 0.045, 0.045, knob, on=on, line=0)


def _flag(brush: Brush, x: float, y: float, *, pole: float = 0.0) -> None:
    cloth = surface(brush.rng, any_color(brush.rng), ("stripes",), chance=0.4, rounded=0.0)
    if pole:
        brush.path("mast", [(x, y), (x, y + pole)], 0.05, plain((0.5, 0.4, 0.3)))
    brush.shape(
        "flag",
        [(x, y - 0.05), (x + 0.36, y), (x + 0.3, y + 0.12), (x + 0.36, y + 0.24), (x, y + 0.2)],
        cloth,
        smooth=False,
    )
