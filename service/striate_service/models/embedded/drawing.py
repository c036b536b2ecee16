"""Draw outlines filled with surfaces on a canvas that keeps a mask of each part.

An outline is an array of points [N, 2] (x to the right, y down). Objects are drawn in coordinates of their own, about
-1 to 1, which a `Pose` maps to pixels; a `Brush` draws on a canvas through a pose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from striate_service.models.embedded import textures

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]
Color = tuple[float, float, float]
"""RGB, 0 to 1."""

_SUPERSAMPLING = 4


@dataclass(frozen=True)
class Surface:
    """The color and the texture that fill an outline."""

    color: Color
    texture: str | None = None
    """One of `textures.KINDS`."""
    strength: float = 0.2
    """How strongly the texture changes the color."""
    round: float = 0.0
    """How much it is shaded like a ball: from 0, flat, to 1."""


@dataclass(frozen=True)
class Style:
    """How one picture is drawn."""

    line: float
    """The width of outlines in pixels; 0: none."""
    ink: Color
    light: tuple[float, float]
    """The direction that light comes from, a unit vector."""
    shading: float
    """How strong light and shade are."""
    wobble: float
    """The standard deviation of an outline's points, as a share of its extent, as if drawn by hand."""


@dataclass
class Canvas:
    """A picture while it is drawn."""

    rng: np.random.Generator
    style: Style
    size: int
    without: frozenset[str] = frozenset()
    """Parts that are not drawn."""
    pixels: NDArray[np.float32] = field(init=False)
    """[size, size, 3], 0 to 1."""
    masks: dict[str, Mask] = field(init=False, default_factory=dict)
    """By part: the pixels that show it, [size, size]."""
    objects: NDArray[np.int16] = field(init=False)
    """The object that each pixel shows, [size, size], by its number: an index of `names`; 0: none."""
    names: list[str] = field(init=False, default_factory=lambda: [""])
    """The objects' names, by number."""

    def __post_init__(self) -> None:
        self.pixels = np.full((self.size, self.size, 3), 0.5, np.float32)
        self.objects = np.zeros((self.size, self.size), np.int16)
        self._object = 0

    @contextmanager
    def drawing(self, name: str) -> Iterator[None]:
        """Return a context in which all that is drawn belongs to one object."""
        self.names.append(name)
        self._object = len(self.names) - 1
        yield
        self._object = 0

    def fill(
        self, part: str | None, outline: Points, surface: Surface, *, on: Sequence[str] = (), line: float | None = None
    ) -> None:
        """Fill a closed outline.

        Args:
            part: the name of what the pixels show. None: it has no name.
            outline: [N, 2] in pixels.
            on: the parts that it is a detail of. Its pixels stay in their masks.
            line: width of the outline in pixels, instead of the style's.
        """
        line = self.style.line if line is None else line
        box = self._box(outline, line)
        if box is None or part in self.without:
            return
        left, top, right, bottom = box
        alpha = _coverage(outline, box)
        region = self.pixels[top:bottom, left:right]
        region += alpha[..., None] * (self._shade(surface, box) - region)
        if line > 0:
            region += _coverage(outline, box, line)[..., None] * (np.array(self.style.ink, np.float32) - region)
        self._mark(part, alpha > 0.5, box, on)

    def stroke(self, part: str | None, path: Points, width: float, surface: Surface, *, on: Sequence[str] = ()) -> None:
        """Draw an open path [N, 2] of a `width` in pixels."""
        box = self._box(path, width)
        if box is None or part in self.without:
            return
        left, top, right, bottom = box
        alpha = _coverage(path, box, width, closed=False)
        region = self.pixels[top:bottom, left:right]
        region += alpha[..., None] * (self._shade(surface, box) - region)
        self._mark(part, alpha > 0.4, box, on)

    def mark(self, part: str, outline: Points) -> None:
        """Add the pixels that an outline encloses to the mask of `part`, without drawing."""
        box = self._box(outline, 0)
        if box is not None and part not in self.without:
            left, top, right, bottom = box
            mask = self.masks.setdefault(part, np.zeros((self.size, self.size), np.bool_))
            enclosed = _coverage(outline, box) > 0.5
            mask[top:bottom, left:right] |= enclosed
            self.objects[top:bottom, left:right][enclosed] = self._object

    def _mark(self, part: str | None, shown: Mask, box: tuple[int, int, int, int], on: Sequence[str]) -> None:
        left, top, right, bottom = box
        for name, mask in self.masks.items():
            if name != part and name not in on:
                mask[top:bottom, left:right] &= ~shown
        if part is not None:
            mask = self.masks.setdefault(part, np.zeros((self.size, self.size), np.bool_))
            mask[top:bottom, left:right] |= shown
        self.objects[top:bottom, left:right][shown] = self._object

    def _box(self, points: Points, margin: float) -> tuple[int, int, int, int] | None:
        """Return the box of pixels that the points can touch (left, top, right, bottom), or None if it is outside."""
        low = np.floor(points.min(0) - margin / 2 - 1).clip(0, self.size).astype(int)
        high = np.ceil(points.max(0) + margin / 2 + 1).clip(0, self.size).astype(int)
        return (low[0], low[1], high[0], high[1]) if (high > low).all() else None

    def _shade(self, surface: Surface, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """Return the pixels of a lit surface in a box: float32 [h, w, 3]."""
        left, top, right, bottom = box
        height, width = bottom - top, right - left
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        toward_light = x * self.style.light[0] + y * self.style.light[1]
        light = 1 + self.style.shading * (
            0.22 * toward_light + surface.round * (0.25 - 0.3 * (x * x + y * y - 0.6 * toward_light))
        )
        if surface.texture is not None:
            light = light + surface.strength * textures.crop(self.rng, surface.texture, height, width)
        return np.clip(np.array(surface.color, np.float32) * light[..., None] + 0.04 * (light[..., None] - 1), 0, 1)


@dataclass(frozen=True)
class Pose:
    """How an object's coordinates become pixels: they are turned, scaled, and moved to `centre`."""

    centre: tuple[float, float]
    scale: float
    """Pixels of one unit."""
    angle: float = 0.0
    """Radians, clockwise."""
    mirrored: bool = False
    aspect: float = 1.0
    """Multiplies the width."""

    def __call__(self, points: Points) -> Points:
        x = points[:, 0] * self.aspect * (-1 if self.mirrored else 1)
        y = points[:, 1]
        cosine, sine = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        return np.stack([x * cosine - y * sine + self.centre[0], x * sine + y * cosine + self.centre[1]], 1)

    def within(self, outer: Pose) -> Pose:
        """Return this pose in pixels, where it is given in the coordinates of an object whose pose is `outer`."""
        centre = outer(np.array([self.centre]))[0]
        turn = -self.angle if outer.mirrored else self.angle
        return Pose(
            (float(centre[0]), float(centre[1])),
            self.scale * outer.scale,
            outer.angle + turn,
            self.mirrored != outer.mirrored,
            self.aspect * outer.aspect,
        )


@dataclass(frozen=True)
class Brush:
    """Draws on a canvas in the coordinates of an object, through its pose."""

    canvas: Canvas
    pose: Pose

    @property
    def rng(self) -> np.random.Generator:
        return self.canvas.rng

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, aspect: float = 1.0) -> Brush:
        """Return a brush whose origin is (x, y) in this one's coordinates."""
        return Brush(self.canvas, Pose((x, y), scale, angle, aspect=aspect).within(self.pose))

    def shape(
        self,
        part: str | None,
        corners: Sequence[tuple[float, float]] | Points,
        surface: Surface,
        *,
        smooth: bool = True,
        on: Sequence[str] = (),
        line: float | None = None,
    ) -> None:
        """Fill the outline through some points, as a smooth curve or as a polygon."""
        points = np.asarray(corners, dtype=np.float64)
        points = points + self._stray(points)
        self.canvas.fill(part, self.pose(smooth_curve(points) if smooth else points), surface, on=on, line=line)

    def oval(
        self,
        part: str | None,
        x: float,
        y: float,
        radius_x: float,
        radius_y: float,
        surface: Surface,
        *,
        angle: float = 0.0,
        on: Sequence[str] = (),
        line: float | None = None,
    ) -> None:
        """Fill an ellipse."""
        t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        across, down = radius_x * np.cos(t), radius_y * np.sin(t)
        cosine, sine = np.cos(angle), np.sin(angle)
        points = np.stack([x + across * cosine - down * sine, y + across * sine + down * cosine], 1)
        self.canvas.fill(part, self.pose(points), surface, on=on, line=line)

    def box(
        self,
        part: str | None,
        left: float,
        top: float,
        right: float,
        bottom: float,
        surface: Surface,
        *,
        corner: float = 0.0,
        on: Sequence[str] = (),
        line: float | None = None,
    ) -> None:
        """Fill a rectangle whose corners are rounded by a radius."""
        if corner == 0:
            points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
            points += 0.5 * self._stray(points)
        else:
            quarter = np.linspace(0, np.pi / 2, 5)
            centres = [
                (right - corner, bottom - corner),
                (left + corner, bottom - corner),
                (left + corner, top + corner),
                (right - corner, top + corner),
            ]
            points = np.concatenate(
                [
                    np.stack(
                        [x + corner * np.cos(quarter + k * np.pi / 2), y + corner * np.sin(quarter + k * np.pi / 2)], 1
                    )
                    for k, (x, y) in enumerate(centres)
                ]
            )
        self.canvas.fill(part, self.pose(points), surface, on=on, line=line)

    def path(
        self,
        part: str | None,
        points: Sequence[tuple[float, float]],
        width: float,
        surface: Surface,
        *,
        smooth: bool = True,
        on: Sequence[str] = (),
    ) -> None:
        """Draw a line through points. Its width is in this brush's units, but at least a pixel."""
        through = np.asarray(points, dtype=np.float64)
        curve = smooth_curve(through, closed=False) if smooth and len(through) > 2 else through
        self.canvas.stroke(part, self.pose(curve), max(1.0, width * self.pose.scale), surface, on=on)

    def _stray(self, points: Points) -> Points:
        extent = points.max(0) - points.min(0)
        return self.rng.normal(size=points.shape) * float(extent.mean()) * self.canvas.style.wobble


def smooth_curve(points: Points, *, closed: bool = True, samples: int = 6) -> Points:
    """Return the Catmull-Rom spline through points [N, 2]: [about N * samples, 2]."""
    if closed:
        before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
        start = points
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
        before, start, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, samples, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (before, start, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    curve = np.asarray(curve, np.float64).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def _coverage(
    points: Points, box: tuple[int, int, int, int], width: float | None = None, *, closed: bool = True
) -> NDArray[np.float32]:
    """Return how much of each pixel of a box an outline covers (or, with a width, its line): float32 [h, w], 0 to 1."""
    left, top, right, bottom = box
    fine = Image.new("L", ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING))
    scaled = ((points - (left, top)) * _SUPERSAMPLING).ravel().tolist()
    draw = ImageDraw.Draw(fine)
    if width is None:
        draw.polygon(scaled, fill=255)
    else:
        stroke = max(1, round(width * _SUPERSAMPLING))
        draw.line(
            scaled + (scaled[:4] if closed else []), fill=255, width=stroke, joint="curve" if stroke > 6 else None
        )
    return np.asarray(fine.reduce(_SUPERSAMPLING), np.float32) / np.float32(255)
