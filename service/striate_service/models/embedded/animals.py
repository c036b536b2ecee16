"""Animals: heads from shared features, bodies from shared limbs.

In a head's coordinates, its center is (0, 0) and its radius about 1. In an animal's, it
extends from about -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable

from striate_service.models.embedded.drawing import Brush, Surface
from striate_service.models.embedded.features import (
    Coat,
    any_coat,
    eye,
    eyes,
    floppy_ears,
    horn,
    nose,
    pointed_ear,
    whiskers,
)
from striate_service.models.embedded.palette import DARK, WHITE, any_color, contrasting, lighter, plain, surface


def dog(brush: Brush) -> None:
    _furry(brush, _dog_head, tail=[(0.0, 0.0), (0.3, -0.25), (0.35, -0.6)], tail_width=0.16)


def cat(brush: Brush) -> None:
    _furry(brush, _cat_head, tail=[(0.0, 0.0), (0.35, 0.1), (0.55, -0.25), (0.4, -0.7), (0.6, -0.95)], tail_width=0.11)


def bear(brush: Brush) -> None:
    _furry(brush, _bear_head, tail=[(0.0, 0.0), (0.08, -0.05)], tail_width=0.22)


def rabbit(brush: Brush) -> None:
    _furry(brush, _rabbit_head, tail=[(0.0, 0.0), (0.1, -0.06)], tail_width=0.3)


def _furry(
    brush: Brush, head: Callable[[Brush, Coat], None], *, tail: list[tuple[float, float]], tail_width: float
) -> None:
    """Draw a portrait, or a whole animal that sits or walks."""
    rng = brush.rng
    coat = any_coat(rng)
    tilt = float(rng.normal(0, 0.18))
    pose = rng.choice(["portrait", "sitting", "walking"], p=[0.45, 0.3, 0.25])
    if pose == "portrait":
        if rng.random() < 0.5:
            brush.oval("body", 0, 1.15, 0.8, 0.7, coat.main)
        head(brush.at(0, 0.1, 0.72, tilt), coat)
    elif pose == "sitting":
        brush.at(0.42, 0.75).path("tail", tail, tail_width, coat.main)
        brush.oval("body", 0, 0.5, 0.5, 0.55, coat.main)
        brush.oval("body", 0, 0.55, 0.28, 0.4, coat.pale, line=0)
        for side in (-1, 1):
            brush.oval("leg", side * 0.42, 0.88, 0.22, 0.14, coat.main)
            brush.box("leg", side * 0.2 - 0.11, 0.45, side * 0.2 + 0.11, 1.0, coat.main, corner=0.1)
        head(brush.at(0, -0.3, 0.5, tilt), coat)
    else:
        brush.at(0.68, 0.1).path("tail", tail, tail_width, coat.main)
        for x in (-0.42, -0.18, 0.35, 0.58):
            x += float(rng.normal(0, 0.05))
            brush.box("leg", x - 0.1, 0.3, x + 0.1, float(rng.uniform(0.85, 0.95)), coat.main, corner=0.08)
        brush.oval("body", 0.1, 0.2, 0.68, float(rng.uniform(0.3, 0.4)), coat.main)
        head(brush.at(-0.55, -0.2, 0.44, tilt), coat)


def _dog_head(brush: Brush, coat: Coat) -> None:
    rng = brush.rng
    behind = rng.random() < 0.4
    if behind:
        floppy_ears(brush, coat)
    brush.oval("head", 0, 0, float(rng.uniform(0.72, 0.85)), 0.95, coat.main)
    turn = float(rng.uniform(-0.25, 0.25))
    if rng.random() < 0.4:
        brush.oval("head", turn + 0.36, -0.25, 0.28, 0.32, coat.ear, line=0)
    eyes(brush, turn, -0.2, 0.36, float(rng.uniform(0.11, 0.15)), coat.iris, on=("head",))
    if rng.random() < 0.45:
        tongue = plain((0.9, 0.4, 0.45))
        brush.shape(
            "tongue",
            [
                (turn * 1.6 - 0.16, 0.75),
                (turn * 1.6 + 0.16, 0.75),
                (turn * 1.6 + 0.14, 1.25),
                (turn * 1.6, 1.34),
                (turn * 1.6 - 0.14, 1.25),
            ],
            tongue,
        )
    length = float(rng.uniform(0.44, 0.58))
    brush.oval("snout", turn * 1.4, 0.45, float(rng.uniform(0.36, 0.46)), length, coat.pale, on=("head",))
    brush.path(
        None, [(turn * 1.5, 0.3), (turn * 1.5, 0.65), (turn * 1.5 - 0.2, 0.78)], 0.05, DARK, on=("head", "snout")
    )
    brush.path(None, [(turn * 1.5, 0.65), (turn * 1.5 + 0.2, 0.78)], 0.05, DARK, on=("head", "snout"))
    nose(brush, turn * 1.6, 0.2, float(rng.uniform(0.17, 0.23)))
    if not behind:
        floppy_ears(brush, coat)


def _cat_head(brush: Brush, coat: Coat) -> None:
    rng = brush.rng
    spread, height = float(rng.uniform(0.5, 0.6)), float(rng.uniform(1.2, 1.45))
    for side in (-1, 1):
        pointed_ear(brush, side, spread, height, coat)
    brush.oval("head", 0, 0, float(rng.uniform(0.95, 1.08)), float(rng.uniform(0.78, 0.88)), coat.main)
    turn = float(rng.uniform(-0.2, 0.2))
    size = float(rng.uniform(0.2, 0.26))
    eyes(brush, turn, -0.1, 0.42, size, coat.iris, slit=rng.random() < 0.7, on=("head",))
    for side in (-1, 1):
        brush.oval("snout", turn + side * 0.15, 0.38, 0.2, 0.16, coat.pale, on=("head",), line=0)
    pink = plain((0.85, 0.5, 0.5)) if rng.random() < 0.6 else DARK
    brush.shape(
        "nose", [(turn - 0.12, 0.2), (turn + 0.12, 0.2), (turn, 0.34)], pink, smooth=False, on=("head", "snout")
    )
    whiskers(brush, turn, 0.36)


def _bear_head(brush: Brush, coat: Coat) -> None:
    rng = brush.rng
    size = float(rng.uniform(0.34, 0.42))
    for side in (-1, 1):
        brush.oval("round ear", side * 0.72, -0.68, size, size, coat.ear)
        brush.oval("round ear", side * 0.72, -0.68, size * 0.55, size * 0.55, coat.inner, line=0)
    brush.oval("head", 0, 0, 1.0, float(rng.uniform(0.88, 0.98)), coat.main)
    turn = float(rng.uniform(-0.2, 0.2))
    eyes(brush, turn, -0.18, 0.38, float(rng.uniform(0.09, 0.12)), DARK, on=("head",))
    brush.oval(
        "snout", turn * 1.3, 0.4, float(rng.uniform(0.42, 0.5)), float(rng.uniform(0.34, 0.42)), coat.pale, on=("head",)
    )
    brush.path(
        None,
        [(turn * 1.4 - 0.18, 0.62), (turn * 1.4, 0.54), (turn * 1.4 + 0.18, 0.62)],
        0.05,
        DARK,
        on=("head", "snout"),
    )
    nose(brush, turn * 1.4, 0.26, float(rng.uniform(0.17, 0.22)))


def _rabbit_head(brush: Brush, coat: Coat) -> None:
    rng = brush.rng
    length, spread = float(rng.uniform(0.75, 0.95)), float(rng.uniform(0.1, 0.3))
    for side in (-1, 1):
        lean = side * (spread + float(rng.normal(0, 0.08)))
        ear = brush.at(side * 0.34, -0.6, angle=lean)
        ear.oval("long ear", 0, -length * 0.75, 0.24, length, coat.ear)
        ear.oval("long ear", 0, -length * 0.75, 0.12, length * 0.75, coat.inner, line=0)
    brush.oval("head", 0, 0.1, float(rng.uniform(0.75, 0.88)), 0.82, coat.main)
    turn = float(rng.uniform(-0.18, 0.18))
    eyes(
        brush, turn, -0.05, 0.4, float(rng.uniform(0.13, 0.17)), DARK if rng.random() < 0.5 else coat.iris, on=("head",)
    )
    for side in (-1, 1):
        brush.oval("snout", turn + side * 0.17, 0.48, 0.22, 0.2, coat.pale, on=("head",), line=0)
    brush.box("teeth", turn - 0.11, 0.58, turn + 0.11, 0.8, WHITE, on=("head", "snout"))
    brush.shape(
        "nose", [(turn - 0.13, 0.27), (turn + 0.13, 0.27), (turn, 0.43)], plain((0.9, 0.55, 0.6)), on=("head", "snout")
    )
    if rng.random() < 0.7:
        whiskers(brush, turn, 0.5)


def owl(brush: Brush) -> None:
    rng = brush.rng
    coat = any_coat(rng)
    feathers = surface(rng, coat.main.color, ("feathers", "feathers", "spots", "stripes", "grain"), chance=0.9)
    for side in (-1, 1):
        brush.path("leg", [(side * 0.2, 0.8), (side * 0.22, 1.05)], 0.1, plain((0.85, 0.6, 0.2)))
    brush.oval("body", 0, 0.25, float(rng.uniform(0.6, 0.72)), 0.75, feathers)
    brush.oval("body", 0, 0.35, 0.4, 0.52, lighter(feathers, 0.5), line=0)
    for side in (-1, 1):
        brush.shape(
            "wing",
            [(side * 0.5, -0.25), (side * 0.82, 0.2), (side * 0.72, 0.8), (side * 0.4, 0.4)],
            lighter(feathers, -0.3),
        )
    for side in (-1, 1):
        pointed_ear(brush.at(0, -0.45, 0.62), side, 0.55, float(rng.uniform(1.05, 1.3)), coat)
    brush.oval("head", 0, -0.45, 0.64, 0.5, feathers)
    turn = float(rng.uniform(-0.08, 0.08))
    for side in (-1, 1):
        brush.oval("head", turn + side * 0.28, -0.45, 0.29, 0.29, coat.pale, line=0)
    eyes(brush, turn, -0.45, 0.28, float(rng.uniform(0.18, 0.22)), coat.iris, on=("head",))
    brush.shape(
        "beak", [(turn - 0.11, -0.38), (turn + 0.11, -0.38), (turn, -0.08)], horn(rng), smooth=False, on=("head",)
    )


def bird(brush: Brush) -> None:
    rng = brush.rng
    coat = any_coat(rng)
    feathers = surface(rng, any_color(rng), ("feathers", "grain", "clouds"), chance=0.7)
    lean = float(rng.normal(0, 0.12))
    for x in (0.0, 0.2):
        brush.path("leg", [(x, 0.5), (x - 0.03, 0.95), (x - 0.2, 0.97)], 0.06, plain((0.75, 0.5, 0.2)), smooth=False)
    body = brush.at(0.05, 0.15, 1, lean)
    body.shape("tail", [(0.5, -0.05), (1.1, -0.3), (1.15, 0.0), (0.5, 0.25)], lighter(feathers, -0.3), smooth=False)
    body.shape("body", [(-0.62, -0.1), (-0.2, -0.4), (0.3, -0.3), (0.68, 0.05), (0.25, 0.42), (-0.3, 0.42)], feathers)
    body.oval("body", -0.25, 0.2, 0.28, 0.18, coat.pale, line=0)
    span, lift = float(rng.uniform(0.85, 1.05)), float(rng.choice([-1.0, 0.25, 0.35]))
    wing = surface(
        rng, lighter(feathers, -0.4).color if rng.random() < 0.6 else any_color(rng), ("feathers",), chance=0.8
    )
    body.shape(
        "wing",
        [(-0.2, -0.15), (0.15, -0.2 + 0.5 * lift), (span * 0.75, lift * 0.95), (0.45, 0.12 + 0.35 * lift), (0.1, 0.22)],
        wing,
    )
    beak = float(rng.uniform(0.35, 0.6))
    head_x, head_y = -0.6, float(rng.uniform(-0.5, -0.35))
    body.shape(
        "beak",
        [(head_x - 0.2, head_y - 0.12), (head_x - 0.25 - beak, head_y + 0.08), (head_x - 0.18, head_y + 0.15)],
        horn(rng),
        smooth=False,
    )
    body.oval("head", head_x, head_y, 0.33, 0.31, feathers if rng.random() < 0.5 else coat.main)
    eye(body, head_x - 0.08, head_y - 0.05, float(rng.uniform(0.08, 0.11)), coat.iris, on=("head",))


def fish(brush: Brush) -> None:
    rng = brush.rng
    skin = surface(rng, any_color(rng), ("scales",), chance=0.8, rounded=0.9)
    fins = plain(any_color(rng)) if rng.random() < 0.6 else lighter(skin, -0.3)
    fins = Surface(fins.color, "stripes" if rng.random() < 0.5 else None, 0.25)
    depth = float(rng.uniform(0.38, 0.6))
    brush.shape(
        "tail fin",
        [(0.5, 0), (0.78, -0.25), (1.08, -0.52), (0.95, 0.0), (1.08, 0.52), (0.78, 0.25)],
        fins,
        smooth=False,
    )
    brush.shape("fin", [(-0.3, -depth * 0.8), (-0.05, -depth - 0.35), (0.35, -depth - 0.15), (0.4, -depth * 0.5)], fins)
    brush.shape("fin", [(-0.05, depth * 0.8), (0.1, depth + 0.3), (0.35, depth + 0.1), (0.3, depth * 0.5)], fins)
    brush.shape(
        "scales",
        [
            (-0.95, 0.05),
            (-0.6, -depth * 0.75),
            (-0.1, -depth),
            (0.4, -depth * 0.5),
            (0.68, 0),
            (0.4, depth * 0.5),
            (-0.1, depth),
            (-0.6, depth * 0.7),
        ],
        skin,
    )
    brush.shape("fin", [(-0.2, 0.05), (0.2, -0.08), (0.25, 0.2), (0.05, 0.28)], fins)
    brush.path(
        None, [(-0.45, -depth * 0.6), (-0.36, 0.0), (-0.45, depth * 0.6)], 0.04, lighter(skin, -0.5), on=("scales",)
    )
    eye(brush, -0.65, -0.08, float(rng.uniform(0.11, 0.15)), plain(any_color(rng)), on=("scales",))
    brush.path(None, [(-0.92, 0.14), (-0.75, 0.18)], 0.05, DARK, on=("scales",))


def butterfly(brush: Brush) -> None:
    rng = brush.rng
    upper = surface(rng, any_color(rng), ("spots", "stripes", "clouds", "grain"), chance=0.6, rounded=0.2)
    lower = upper if rng.random() < 0.5 else surface(rng, any_color(rng), ("spots", "clouds"), chance=0.5, rounded=0.2)
    spots = contrasting(rng, upper)
    width, height = float(rng.uniform(0.85, 1.05)), float(rng.uniform(0.75, 0.95))
    spotted, size = rng.random() < 0.7, float(rng.uniform(0.12, 0.2))
    for side in (-1, 1):
        brush.shape(
            "butterfly wing",
            [
                (side * 0.06, 0.0),
                (side * 0.35, 0.02),
                (side * width * 0.8, 0.3),
                (side * 0.6, height),
                (side * 0.2, 0.55),
            ],
            lower,
        )
        brush.shape(
            "butterfly wing",
            [
                (side * 0.06, 0.1),
                (side * 0.25, -0.5),
                (side * width * 0.85, -height),
                (side * width, -0.3),
                (side * 0.6, 0.12),
            ],
            upper,
        )
        if spotted:
            brush.oval("butterfly wing", side * width * 0.68, -height * 0.5, size, size, spots)
            brush.oval("butterfly wing", side * 0.5, height * 0.5, size * 0.8, size * 0.8, spots)
        brush.path("antenna", [(side * 0.04, -0.4), (side * 0.14, -0.8), (side * 0.36, -1.0)], 0.05, DARK)
        brush.oval("antenna", side * 0.36, -1.0, 0.06, 0.06, DARK, line=0)
    body = plain(any_color(rng)) if rng.random() < 0.4 else DARK
    brush.oval("body", 0, 0.1, 0.11, 0.5, body)
    brush.oval("head", 0, -0.42, 0.13, 0.13, body)
