"""What a reply says of an image itself: the part that the network saw, and what it predicted."""

from __future__ import annotations

from dataclasses import dataclass

from striate.results.shown import Shown

Predictions = list[tuple[str, float]]
"""(class name, probability), most probable first."""


@dataclass(frozen=True)
class View(Shown):
    """The part of an image that the network saw."""

    width: int
    height: int
    """Of the whole image in pixels, upright."""
    crop: tuple[float, float, float, float]
    """left, top, right, bottom of the part, in the whole image's pixels."""
    name: str = ""
    """The file's, where the image was given as a path."""
