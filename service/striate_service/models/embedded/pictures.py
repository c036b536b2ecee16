"""The pictures that `parts` learns from. A seed determines a picture, its class, and the masks of its parts.

The classes share parts in many combinations (wheels on cars, buses, trucks and bicycles; windows there and on houses,
churches and boats; eyes on all animals), while colors, textures, backgrounds and poses are random: classes differ in
which parts there are and how they are arranged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate_service.models.embedded import animals, scenes, still_life, things
from striate_service.models.embedded.classes import CLASSES
from striate_service.models.embedded.drawing import Brush, Canvas, Mask, Pose

SIZE = 112

PAINTERS: dict[str, Callable[[Brush], None]] = {
    "dog": animals.dog,
    "cat": animals.cat,
    "bear": animals.bear,
    "rabbit": animals.rabbit,
    "owl": animals.owl,
    "bird": animals.bird,
    "fish": animals.fish,
    "butterfly": animals.butterfly,
    "car": things.car,
    "bus": things.bus,
    "truck": things.truck,
    "bicycle": things.bicycle,
    "boat": things.boat,
    "house": things.house,
    "church": things.church,
    "tree": still_life.tree,
    "flower": still_life.flower,
    "cup": still_life.cup,
    "teapot": still_life.teapot,
    "clock": still_life.clock,
}
assert tuple(PAINTERS) == CLASSES

SCENERY = ("sky", "grass", "ground", "water", "hills", "wallpaper", "floor")
"""Names in masks of what is not part of an object."""
PARTS = (
    "head", "body", "leg", "tail", "eye", "nose", "snout", "whiskers", "tongue", "teeth",
    "floppy ear", "pointed ear", "round ear", "long ear",
    "beak", "wing", "butterfly wing", "antenna", "fin", "tail fin", "scales",
    "bodywork", "wheel", "window", "door", "headlight", "bumper", "cargo box", "frame", "handlebar", "saddle",
    "hull", "cabin", "mast", "sail", "flag",
    "wall", "roof", "chimney", "cross",
    "trunk", "foliage", "fruit", "petal", "flower centre", "stem", "leaf",
    "vessel", "handle", "spout", "lid", "rim", "saucer", "steam",
    "dial", "clock hands", "bell", "pendulum",
)  # fmt: skip

_NOISE = 0.025  # standard deviation of pixels (0 to 1) in an average picture of difficulty 1
_OCCLUSION = 0.05  # share of the picture that is covered on average, at difficulty 1
_MIN_PIXELS = 6  # of a part that occlusion and the picture's edge leave; with fewer it does not count as visible


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]
    """[SIZE, SIZE, 3]"""
    label: int
    """Its class, an index of `CLASSES`."""
    masks: dict[str, Mask]
    """By part: the pixels that show it, [SIZE, SIZE]. Parts that are not visible are left out."""
    objects: dict[str, Mask]
    """By class: the pixels that show an object of it, [SIZE, SIZE]."""


def draw(
    seed: int | np.random.Generator,
    class_name: str | None = None,
    difficulty: float = 1.0,
    without: frozenset[str] = frozenset(),
) -> Picture:
    """Draw a picture.

    Args:
        seed: the same one gives the same picture.
        class_name: one of `CLASSES`; random if None.
        difficulty: multiplies the noise and the share that is occluded.
        without: parts that are left out, of `PARTS`.
    """
    rng = np.random.default_rng(seed)
    chosen = int(rng.integers(len(CLASSES)))
    label = chosen if class_name is None else CLASSES.index(class_name)
    canvas = Canvas(rng, scenes.any_style(rng), SIZE, without)
    scenes.background(canvas)
    for _ in range(int(rng.integers(0, 4))):
        scenes.bystander(canvas)
    if rng.random() < 0.2:
        _draw_object(canvas, str(rng.choice(CLASSES)), scale=float(rng.uniform(0.14, 0.2)), spread=0.42)
    name = CLASSES[label]
    if rng.random() < 0.12:
        _draw_pair(canvas, name)
    else:
        _draw_object(canvas, name, scale=float(rng.uniform(0.31, 0.5)), spread=0.09)
    scenes.occlude(canvas, float(rng.exponential(_OCCLUSION)) * difficulty)
    noise = float(rng.exponential(_NOISE)) * difficulty
    image = scenes.photograph(rng, canvas.pixels, noise=noise, light=canvas.style.light)
    return Picture(image, label, _visible(canvas.masks), _objects(canvas))


def _draw_pair(canvas: Canvas, name: str) -> None:
    """Draw two objects of one class, side by side or one above the other."""
    offset = 0.23 * canvas.size
    across = canvas.rng.random() < 0.6
    for side in (-1, 1):
        scale = float(canvas.rng.uniform(0.22, 0.3))
        shift = (side * offset, 0.0) if across else (0.0, side * offset)
        _draw_object(canvas, name, scale=scale, spread=0.04, shift=shift)


def _draw_object(
    canvas: Canvas, name: str, *, scale: float, spread: float, shift: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Draw one object near the center.

    Args:
        scale: half of its extent, as a share of the picture's side.
        spread: the standard deviation of its position, likewise.
        shift: in pixels, from the center.
    """
    rng = canvas.rng
    x, y = (np.clip(rng.normal(0, spread, 2), -0.42, 0.42) + 0.5) * canvas.size + shift
    pose = Pose(
        (float(x), float(y)),
        scale * canvas.size,
        float(rng.normal(0, 0.12)),
        mirrored=bool(rng.random() < 0.5),
        aspect=float(rng.uniform(0.87, 1.15)),
    )
    with canvas.drawing(name):
        PAINTERS[name](Brush(canvas, pose))


def _visible(masks: dict[str, Mask]) -> dict[str, Mask]:
    return {part: mask for part, mask in masks.items() if mask.sum() >= _MIN_PIXELS}


def _objects(canvas: Canvas) -> dict[str, Mask]:
    shown: dict[str, Mask] = {}
    for number, name in enumerate(canvas.names[1:], 1):
        mask = canvas.objects == number
        shown[name] = shown[name] | mask if name in shown else mask
    return _visible(shown)
