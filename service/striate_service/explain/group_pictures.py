"""Where neuron groups are in images: how they are drawn there, and the places where each is strong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.images import Box, View
from striate_service.techniques import palette
from striate_service.techniques.crops import strongest_places

_CROPS = 4  # of a group: as many as are looked at in one glance
_OVERLAY_QUANTILE = 0.9  # of the positions' total activation, that is fully opaque: a single peak dims no map


@dataclass(frozen=True)
class GroupStyle:
    """How K groups are drawn: the same in all images that are to be compared."""

    colors: NDArray[np.uint8]
    """[K, 3]"""
    scale: float
    """The sum over groups at a position that is fully opaque."""

    @classmethod
    def of(cls, spatial: NDArray[np.float32]) -> GroupStyle:
        """Choose colors and scale for groups in images, [N, H, W, K]."""
        return cls(
            palette.colors(spatial.shape[3]), float(np.quantile(spatial.clip(min=0).sum(axis=3), _OVERLAY_QUANTILE))
        )


@dataclass(frozen=True)
class Crop:
    """A place where a group is strong."""

    image: int
    """Its number in the request."""
    box: Box
    """Within it."""
    strength: float
    """Of the group, in the middle."""


def crops(maps: NDArray[np.float32], views: Sequence[View]) -> list[Crop]:
    """Return where a group is strongest in images.

    Args:
        maps: [N, H, W], the group's strength.
        views: one an image.
    """
    return [
        Crop(place.image, _in_pixels(place.box, views[place.image]), place.strength)
        for place in strongest_places(maps, _CROPS)
    ]


def _in_pixels(box: tuple[float, float, float, float], view: View) -> Box:
    """Turn shares of what the network saw into pixels of the image, without what lies beyond it."""
    crop, size = view.crop, (view.width, view.height)
    across, down = crop.right - crop.left, crop.bottom - crop.top
    left, right = (min(max(crop.left + share * across, 0.0), size[0]) for share in box[::2])
    top, bottom = (min(max(crop.top + share * down, 0.0), size[1]) for share in box[1::2])
    return Box(left, top, right, bottom)
