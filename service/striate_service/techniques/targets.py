"""What effects are on: a number that a network's answer for an image gives, before softmax or sigmoid.

Each is a value; `target_values.py` reads it from an answer. Imports no torch, since the server's process makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Area:
    """A rectangle within what the network sees, as shares of its height and width, 0 to 1."""

    top: float
    left: float
    bottom: float
    right: float


WHOLE = Area(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Output:
    """One number of the vector that the network answers with: a class's logit, or a component of an embedding."""

    index: int


@dataclass(frozen=True, eq=False)
class Embedding:
    """The cosine of the angle between the vector that the network answers with and a given one."""

    vector: NDArray[np.float32] = field(repr=False)
    """[K], of unit length."""


@dataclass(frozen=True)
class Region:
    """The mean of a segmenter's logit of a class over an area; positions count by their share in it."""

    index: int
    """The class's."""
    area: Area = WHOLE


@dataclass(frozen=True)
class Box:
    """A detector's logit of a class for one of the boxes that it finds of that class."""

    index: int
    """The class's."""
    which: int | Area = 0
    """The place by score, 0 being the best; or the box that fits this area best."""


Target: TypeAlias = Output | Embedding | Region | Box
