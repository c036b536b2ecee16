"""Shapes in an object's own frame, drawn as colour and as a part's number at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from striate_service.models.parts.classes import PARTS

Colour = tuple[int, int, int]
Point = Sequence[float]

_CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 28, endpoint=False)])


class Drawing:
    """Where an object is drawn: its frame is mapped to pixels by `linear @ point + centre`."""

    def __init__(
        self,
        colours: ImageDraw.ImageDraw,
        part_map: ImageDraw.ImageDraw,
        linear: NDArray[np.float64],
        centre: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self._colours = colours
        self._part_map = part_map
        self._linear = linear
        self._centre = centre
        self.rng = rng
        self._outline = int(rng.integers(0, 3)) if rng.random() < 0.6 else 0  # pixels; line style of the whole object

    def polygon(self, part: str | None, colour: Colour, points: Sequence[Point] | NDArray[np.float64]) -> None:
        """Fill a polygon. `part` None: it is background, whatever lies under it."""
        corners = [tuple(point) for point in (np.asarray(points) @ self._linear.T + self._centre).tolist()]
        self._colours.polygon(corners, fill=colour)
        if self._outline:
            dark = tuple(value // 3 for value in colour)
            self._colours.line([*corners, corners[0]], fill=dark, width=self._outline)
        self._part_map.polygon(corners, fill=0 if part is None else PARTS.index(part) + 1)

    def ellipse(self, part: str | None, colour: Colour, centre: Point, radii: Point, turn: float = 0) -> None:
        """Fill an ellipse, turned by `turn` radians."""
        self.polygon(part, colour, _turned(_CIRCLE * np.asarray(radii), turn) + np.asarray(centre))

    def box(self, part: str | None, colour: Colour, centre: Point, half: Point, turn: float = 0) -> None:
        """Fill a rectangle of half sides `half`, turned by `turn` radians."""
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * np.asarray(half)
        self.polygon(part, colour, _turned(corners, turn) + np.asarray(centre))

    def stroke(self, part: str | None, colour: Colour, points: Sequence[Point], width: float) -> None:
        """Draw a line through points, `width` thick."""
        scale = math.sqrt(abs(np.linalg.det(self._linear)))
        pixels = max(2, round(width * scale))
        corners = [tuple(point) for point in (np.asarray(points) @ self._linear.T + self._centre).tolist()]
        self._colours.line(corners, fill=colour, width=pixels, joint="curve")
        self._part_map.line(corners, fill=0 if part is None else PARTS.index(part) + 1, width=pixels)

    def ring(self, part: str, colour: Colour, centre: Point, radius: float, width: float) -> None:
        """Draw a circle's line, `width` thick."""
        points = _CIRCLE * radius + np.asarray(centre)
        self.stroke(part, colour, [*points.tolist(), points[0].tolist()], width)

    def colour(self, low: Colour, high: Colour) -> Colour:
        """Choose a colour between two."""
        return tuple(int(self.rng.integers(min(a, b), max(a, b) + 1)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]

    def vary(self, value: float, share: float = 0.15) -> float:
        """Change a length by up to a share of it."""
        return float(value * (1 + self.rng.uniform(-share, share)))


def shade(colour: Colour, factor: float) -> Colour:
    """Make a colour darker (below 1) or lighter."""
    return tuple(max(0, min(255, int(value * factor))) for value in colour)  # type: ignore[return-value]


def _turned(points: NDArray[np.float64], turn: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(turn), math.sin(turn)
    return points @ np.array([[cosine, sine], [-sine, cosine]])
