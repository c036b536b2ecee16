"""How each class is drawn: a list of parts, back to front. Parts that classes share are functions of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

from striate_service.models.parts.drawing import Colour, Drawing, shade

_DARK: Colour = (25, 20, 20)
_FUR = ((70, 40, 20), (225, 190, 150))
_ANY = ((40, 40, 40), (235, 235, 235))


def _eyes(d: Drawing, y: float, apart: float, radius: float) -> None:
    iris = d.colour((40, 60, 20), (190, 150, 90))
    for side in (-1, 1):
        _eye(d, side * apart, y, radius, iris)


def _eye(d: Drawing, x: float, y: float, radius: float, iris: Colour) -> None:
    d.ellipse("eye", (245, 245, 240), (x, y), (radius, radius))
    d.ellipse("eye", iris, (x, y), (radius * 0.75, radius * 0.75))
    d.ellipse("eye", _DARK, (x, y), (radius * 0.42, radius * 0.42))


def _furry_body(d: Drawing, fur: Colour) -> None:
    if d.rng.random() < 0.6:
        d.ellipse("furry body", shade(fur, 0.92), (0, 0.75), (d.vary(0.5), 0.42))
        for side in (-1, 1):
            d.ellipse("paw", shade(fur, 1.1), (side * 0.32, 1.0), (0.17, 0.12))


def _snout(d: Drawing, fur: Colour, y: float, width: float, height: float) -> None:
    d.ellipse("snout", shade(fur, d.rng.uniform(1.1, 1.35)), (0, y), (width, height))
    d.stroke("mouth", _DARK, [(-0.14, y + height * 0.55), (0, y + height * 0.35), (0.14, y + height * 0.55)], 0.045)
    nose = d.colour((15, 10, 10), (90, 50, 60))
    d.ellipse("nose", nose, (0, y - height * 0.35), (width * 0.38, height * 0.3))


def _whiskers(d: Drawing, y: float) -> None:
    colour = (
        d.colour((200, 200, 200), (250, 250, 250)) if d.rng.random() < 0.5 else d.colour((10, 10, 10), (70, 70, 70))
    )
    for side in (-1, 1):
        for rise in (-0.12, 0.0, 0.12):
            d.stroke("whiskers", colour, [(side * 0.16, y), (side * 0.68, y + rise)], 0.025)


def _dog(d: Drawing) -> None:
    fur = d.colour(*_FUR)
    _furry_body(d, fur)
    d.ellipse("furry head", fur, (0, -0.05), (d.vary(0.46), d.vary(0.52)))
    for side in (-1, 1):
        ear = (side * d.vary(0.5, 0.08), -0.05)
        d.ellipse("floppy ear", shade(fur, d.rng.uniform(0.5, 0.75)), ear, (0.17, d.vary(0.43)), -side * 0.22)
    _eyes(d, -0.18, 0.2, d.vary(0.085))
    _snout(d, fur, 0.2, d.vary(0.24), d.vary(0.26))


def _cat(d: Drawing) -> None:
    fur = d.colour(*_FUR) if d.rng.random() < 0.6 else d.colour((60, 60, 65), (190, 190, 195))
    _furry_body(d, fur)
    for side in (-1, 1):
        tip = (side * d.vary(0.52, 0.1), d.vary(-0.82, 0.08))
        d.polygon("pointed ear", shade(fur, 0.85), [(side * 0.1, -0.4), tip, (side * 0.52, -0.12)])
        d.polygon("pointed ear", (215, 150, 150), [(side * 0.22, -0.4), (tip[0] * 0.93, -0.68), (side * 0.44, -0.22)])
    d.ellipse("furry head", fur, (0, 0), (d.vary(0.54, 0.08), d.vary(0.47, 0.08)))
    _eyes(d, -0.08, 0.22, d.vary(0.11))
    _snout(d, fur, 0.22, 0.17, 0.14)
    _whiskers(d, 0.22)


def _bear(d: Drawing) -> None:
    fur = d.colour((50, 30, 15), (150, 105, 70)) if d.rng.random() < 0.8 else d.colour((205, 205, 200), (240, 240, 235))
    _furry_body(d, fur)
    for side in (-1, 1):
        centre, radius = (side * 0.43, -0.46), d.vary(0.2)
        d.ellipse("round ear", fur, centre, (radius, radius))
        d.ellipse("round ear", shade(fur, 0.65), centre, (radius * 0.6, radius * 0.6))
    d.ellipse("furry head", fur, (0, 0), (d.vary(0.58, 0.08), d.vary(0.55, 0.08)))
    _eyes(d, -0.13, 0.2, d.vary(0.07))
    _snout(d, fur, 0.2, d.vary(0.27), d.vary(0.21))


def _rabbit(d: Drawing) -> None:
    fur = d.colour((130, 110, 95), (245, 240, 235))
    _furry_body(d, fur)
    for side in (-1, 1):
        centre, turn = (side * 0.2, -0.62), side * d.rng.uniform(0.02, 0.3)
        d.ellipse("long ear", fur, centre, (0.13, d.vary(0.44, 0.1)), turn)
        d.ellipse("long ear", (225, 165, 165), centre, (0.07, 0.33), turn)
    d.ellipse("furry head", fur, (0, 0.1), (d.vary(0.42), d.vary(0.4)))
    _eyes(d, 0.02, 0.19, d.vary(0.085))
    _snout(d, fur, 0.27, 0.14, 0.11)
    _whiskers(d, 0.27)


def _owl(d: Drawing) -> None:
    feathers = d.colour((80, 60, 40), (200, 170, 130))
    d.ellipse("feathered body", feathers, (0, 0.42), (d.vary(0.46), 0.58))
    for side in (-1, 1):
        d.ellipse("wing", shade(feathers, 0.65), (side * 0.44, 0.42), (0.17, d.vary(0.44)), side * 0.15)
    d.ellipse("feathered head", shade(feathers, 1.1), (0, -0.3), (d.vary(0.48, 0.08), 0.42))
    for side in (-1, 1):
        d.ellipse("feathered head", shade(feathers, 1.35), (side * 0.2, -0.3), (0.21, 0.21))
    _eyes(d, -0.3, 0.2, d.vary(0.15, 0.1))
    d.polygon("beak", d.colour((190, 120, 10), (250, 190, 70)), [(-0.09, -0.2), (0.09, -0.2), (0, d.vary(0.04, 0.5))])
    _bird_legs(d, 1.0)


def _bird_legs(d: Drawing, y: float) -> None:
    for side in (-1, 1):
        foot = (side * 0.12, y)
        d.stroke("bird leg", (225, 150, 40), [(side * 0.12, y - 0.25), foot, (side * 0.12 + 0.1, y + 0.03)], 0.05)


def _bird(d: Drawing) -> None:
    feathers = d.colour(*_ANY)
    d.polygon(
        "tail feathers", shade(feathers, 0.6), [(-0.45, 0.1), (-1.0, d.vary(-0.2, 0.8)), (-0.98, 0.22), (-0.45, 0.35)]
    )
    _bird_legs(d, 0.85)
    d.ellipse("feathered body", feathers, (-0.05, 0.2), (0.58, d.vary(0.4)))
    d.ellipse("wing", shade(feathers, 0.65), (-0.18, 0.15), (d.vary(0.4), 0.2), d.rng.uniform(-0.5, 0.3))
    d.ellipse("feathered head", shade(feathers, 1.15), (0.45, -0.3), (0.29, 0.28))
    d.polygon(
        "beak", d.colour((190, 120, 10), (250, 190, 70)), [(0.67, -0.4), (d.vary(1.05, 0.08), -0.26), (0.67, -0.16)]
    )
    _eye(d, 0.53, -0.36, d.vary(0.085), (60, 40, 20))


def _fish(d: Drawing) -> None:
    scales = d.colour(*_ANY)
    fin = shade(scales, d.rng.uniform(0.5, 0.8))
    d.polygon("tail fin", fin, [(-0.5, 0), (-1.0, d.vary(-0.42)), (-0.82, 0), (-1.0, d.vary(0.42))])
    d.polygon("fin", fin, [(-0.3, -0.3), (-0.05, d.vary(-0.68)), (0.35, -0.3)])
    d.polygon("fin", fin, [(-0.15, 0.3), (0.0, d.vary(0.62)), (0.25, 0.3)])
    d.ellipse("scaly body", scales, (0.08, 0), (0.72, d.vary(0.4)))
    for row in range(-2, 3):
        for column in range(-3, 3):
            centre = (0.15 * column + 0.075 * (row % 2) - 0.02, 0.12 * row)
            d.ellipse("scaly body", shade(scales, 0.75), centre, (0.075, 0.075))
            d.ellipse("scaly body", shade(scales, 1.12), (centre[0] + 0.025, centre[1]), (0.07, 0.07))
    _eye(d, 0.55, -0.1, d.vary(0.085), (60, 50, 30))
    d.stroke("mouth", _DARK, [(0.78, 0.08), (0.64, 0.12)], 0.04)


def _wheel(d: Drawing, x: float, y: float, radius: float) -> None:
    d.ellipse("wheel", _DARK, (x, y), (radius, radius))
    d.ellipse("wheel", d.colour((130, 130, 130), (215, 215, 220)), (x, y), (radius * 0.58, radius * 0.58))
    d.ellipse("wheel", (60, 60, 60), (x, y), (radius * 0.2, radius * 0.2))


def _window(d: Drawing, x: float, y: float, half_width: float, half_height: float, frame: Colour) -> None:
    d.box("window", frame, (x, y), (half_width, half_height))
    glass = d.colour((110, 160, 190), (190, 225, 245))
    d.box("window", glass, (x, y), (half_width * 0.8, half_height * 0.8))
    d.stroke("window", frame, [(x, y - half_height), (x, y + half_height)], 0.03)


def _headlight(d: Drawing, x: float, y: float) -> None:
    d.ellipse("headlight", (255, 235, 120), (x, y), (0.07, 0.09))


def _car(d: Drawing) -> None:
    paint = d.colour(*_ANY)
    roof = d.vary(-0.42)
    d.polygon("car body", paint, [(-0.55, -0.02), (-0.35, roof), (0.3, roof), (0.58, -0.02)])
    d.polygon("window", (165, 205, 225), [(-0.44, -0.04), (-0.3, roof + 0.08), (-0.04, roof + 0.08), (-0.04, -0.04)])
    d.polygon("window", (165, 205, 225), [(0.02, -0.04), (0.02, roof + 0.08), (0.25, roof + 0.08), (0.46, -0.04)])
    d.box("car body", paint, (0, 0.16), (0.93, 0.2))
    _headlight(d, 0.87, 0.1)
    for x in (-0.52, 0.52):
        _wheel(d, x, 0.38, d.vary(0.22, 0.1))


def _bus(d: Drawing) -> None:
    paint = d.colour(*_ANY)
    d.box("bus body", paint, (0, 0), (0.95, d.vary(0.5, 0.1)))
    for column in range(4):
        _window(d, -0.7 + 0.37 * column, -0.18, 0.15, 0.17, shade(paint, 0.5))
    d.box("door", shade(paint, 0.45), (0.75, 0.05), (0.13, 0.38))
    _headlight(d, 0.9, 0.35)
    for x in (-0.55, 0.45):
        _wheel(d, x, 0.52, d.vary(0.2, 0.1))


def _truck(d: Drawing) -> None:
    paint, box = d.colour(*_ANY), d.colour(*_ANY)
    d.box("cargo box", box, (-0.3, -0.12), (0.65, d.vary(0.5, 0.1)))
    for x in (-0.7, -0.3, 0.1):
        d.stroke("cargo box", shade(box, 0.7), [(x, -0.55), (x, 0.3)], 0.03)
    d.polygon("truck cab", paint, [(0.38, 0.38), (0.38, -0.3), (0.68, -0.3), (0.92, 0.02), (0.92, 0.38)])
    d.polygon("window", (165, 205, 225), [(0.48, -0.02), (0.48, -0.22), (0.66, -0.22), (0.82, -0.02)])
    _headlight(d, 0.87, 0.22)
    for x in (-0.65, -0.2, 0.62):
        _wheel(d, x, 0.42, d.vary(0.19, 0.1))


def _bicycle(d: Drawing) -> None:
    paint, radius = d.colour(*_ANY), d.vary(0.36, 0.08)
    for x in (-0.55, 0.55):
        d.ring("wheel", _DARK, (x, 0.35), radius, 0.08)
        for spoke in range(4):
            angle = math.pi * spoke / 4
            dx, dy = radius * math.cos(angle), radius * math.sin(angle)
            d.stroke("wheel", (150, 150, 150), [(x - dx, 0.35 - dy), (x + dx, 0.35 + dy)], 0.02)
    bracket, seat, head = (-0.02, 0.35), (-0.2, -0.2), (0.4, -0.22)
    for a, b in (((-0.55, 0.35), bracket), (bracket, head), (seat, head), (bracket, seat), ((-0.55, 0.35), seat)):
        d.stroke("bicycle frame", paint, [a, b], 0.08)
    d.stroke("bicycle frame", paint, [(0.55, 0.35), head], 0.08)
    d.stroke("handlebar", _DARK, [head, (0.36, -0.42), (0.58, -0.48)], 0.07)
    d.ellipse("saddle", _DARK, (-0.23, -0.28), (d.vary(0.19), 0.07))


def _house(d: Drawing) -> None:
    wall, tiles = d.colour((150, 110, 80), (245, 235, 215)), d.colour((90, 30, 20), (200, 100, 70))
    if d.rng.random() < 0.7:
        d.box("chimney", shade(tiles, 0.7), (0.42, -0.6), (0.1, 0.24))
    d.box("wall", wall, (0, 0.35), (0.68, 0.55))
    d.polygon("roof", tiles, [(-0.88, -0.18), (d.rng.uniform(-0.2, 0.2), d.vary(-0.85)), (0.88, -0.18)])
    d.box("door", d.colour((60, 30, 20), (150, 90, 60)), (0.0, 0.6), (0.14, 0.3))
    for x in (-0.4, 0.4):
        _window(d, x, d.vary(0.2), 0.16, 0.17, shade(wall, 0.45))


def _leaves(d: Drawing) -> Colour:
    return d.colour((20, 80, 15), (110, 185, 70))


def _tree(d: Drawing) -> None:
    d.box("tree trunk", d.colour((60, 35, 15), (130, 90, 60)), (0, 0.6), (d.vary(0.12, 0.3), 0.42))
    green = _leaves(d)
    for _ in range(9):
        angle, distance = d.rng.uniform(0, 2 * math.pi), d.rng.uniform(0, 0.4)
        centre = (distance * math.cos(angle) * 1.2, -0.3 + distance * math.sin(angle))
        d.ellipse("foliage", shade(green, d.rng.uniform(0.75, 1.2)), centre, (d.vary(0.3), d.vary(0.28)))
    if d.rng.random() < 0.6:
        for _ in range(5):
            centre = (d.rng.uniform(-0.5, 0.5), d.rng.uniform(-0.65, 0.05))
            d.ellipse("fruit", d.colour((190, 20, 10), (245, 110, 40)), centre, (0.08, 0.08))


def _flower(d: Drawing) -> None:
    d.stroke("stem", _leaves(d), [(0, 0), (0.05, 0.5), (0, 1.05)], 0.09)
    for side in (-1, 1):
        d.ellipse("leaf", _leaves(d), (side * 0.27, d.vary(0.68)), (0.26, 0.11), -side * 0.5)
    petals, colour = int(d.rng.integers(5, 9)), d.colour((150, 40, 60), (255, 200, 240))
    for petal in range(petals):
        angle = 2 * math.pi * petal / petals
        centre = (0.4 * math.cos(angle), -0.25 + 0.4 * math.sin(angle))
        d.ellipse("petal", shade(colour, d.rng.uniform(0.85, 1.1)), centre, (0.28, d.vary(0.15)), angle)
    d.ellipse("flower centre", d.colour((180, 120, 0), (250, 215, 60)), (0, -0.25), (0.21, 0.21))


def _cup(d: Drawing) -> None:
    china = d.colour(*_ANY)
    d.ellipse("saucer", shade(china, 0.85), (0, 0.62), (0.75, 0.14))
    d.ring("handle", shade(china, 0.9), (0.55, 0.1), d.vary(0.24), 0.1)
    d.polygon("cup body", china, [(-0.52, -0.3), (0.52, -0.3), (0.36, 0.62), (-0.36, 0.62)])
    d.ellipse("cup body", shade(china, 0.45), (0, -0.3), (0.52, 0.12))
    if d.rng.random() < 0.7:
        for x in (-0.22, 0.05, 0.3):
            wave = [(x + 0.06 * math.sin(4 * step), -0.45 - 0.13 * step) for step in range(5)]
            d.stroke("steam", (225, 225, 230), wave, 0.05)


def _clock(d: Drawing) -> None:
    rim = d.colour(*_ANY)
    d.ellipse("clock rim", rim, (0, 0), (0.9, 0.9))
    d.ellipse("clock face", d.colour((215, 205, 190), (252, 252, 250)), (0, 0), (0.74, 0.74))
    for hour in range(12):
        angle = math.pi * hour / 6
        inner, outer = 0.56, 0.68
        direction = (math.sin(angle), -math.cos(angle))
        ends = [(inner * direction[0], inner * direction[1]), (outer * direction[0], outer * direction[1])]
        d.stroke("clock mark", _DARK, ends, 0.06)
    for length, width in ((0.34, 0.09), (0.52, 0.06)):
        angle = d.rng.uniform(0, 2 * math.pi)
        d.stroke("clock hand", _DARK, [(0, 0), (length * math.sin(angle), -length * math.cos(angle))], width)


DRAW: dict[str, Callable[[Drawing], None]] = {
    "dog": _dog,
    "cat": _cat,
    "bear": _bear,
    "rabbit": _rabbit,
    "owl": _owl,
    "bird": _bird,
    "fish": _fish,
    "car": _car,
    "bus": _bus,
    "truck": _truck,
    "bicycle": _bicycle,
    "house": _house,
    "tree": _tree,
    "flower": _flower,
    "cup": _cup,
    "clock": _clock,
}
