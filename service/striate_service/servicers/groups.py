"""Neuron groups as callers see them: colours, strongest channels, crops, overlays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.servicers import encoding
from striate_service.techniques import palette
from striate_service.techniques.crops import strongest_places

_STRONGEST_CHANNELS = 5  # of a group, that the reply names
_CROPS = 4  # of a group: as many as are looked at in one glance
_OVERLAY_QUANTILE = 0.9  # of the positions' total activation, that is fully opaque: a single peak dims no map


@dataclass(frozen=True)
class Look:
    """How groups are shown: the same for all images that are to be compared."""

    colours: NDArray[np.uint8]
    """[K, 3]"""
    scale: float
    """The sum over groups at a position that is fully opaque."""

    @classmethod
    def of(cls, spatial: NDArray[np.float32]) -> Look:
        """Choose colours and scale for groups in images, [N, H, W, K]."""
        return cls(palette.colors(spatial.shape[3]), float(np.quantile(spatial.sum(axis=3), _OVERLAY_QUANTILE)))


def group_messages(
    directions: NDArray[np.float32],
    importance: NDArray[np.float32],
    colours: NDArray[np.uint8],
    icons: Sequence[pb.Icon],
    labels: Sequence[pb.Label],
) -> list[messages.Group]:
    """Return groups without what they are in images.

    Args:
        directions: [K, C].
        importance: [K].
        colours: [K, 3].
    """
    strongest = np.argsort(-directions, axis=1, kind="stable")[:, :_STRONGEST_CHANNELS]
    return [
        messages.Group(
            color=encoding.color(colours[k]),
            icon=icons[k],
            label=labels[k],
            importance=float(importance[k]),
            channels=[int(channel) for channel in strongest[k] if directions[k, channel] > 0],
        )
        for k in range(len(directions))
    ]


def crops(maps: NDArray[np.float32], views: Sequence[pb.View]) -> list[messages.Crop]:
    """Return where a group is strongest in the given images.

    Args:
        maps: [N, H, W], the group's strength.
        views: one an image.
    """
    return [
        messages.Crop(image=place.image, box=_in_pixels(place.box, views[place.image]), strength=place.strength)
        for place in strongest_places(maps, _CROPS)
    ]


def overlays(
    spatial: NDArray[np.float32], look: Look, images: Sequence[NDArray[np.uint8]] | None, size: tuple[int, int]
) -> list[bytes]:
    """Return one WebP file an image.

    Args:
        spatial: [N, H, W, K].
        images: [H, W, 3] each; None: there are none to look at, and black is shown, of `size`.
    """
    files = []
    for number, maps in enumerate(spatial):
        buffer = io.BytesIO()
        image = images[number] if images else None
        picture = palette.overlay(image, maps, look.colours, scale=look.scale, size=size)
        Pillow.fromarray(picture).save(buffer, "WEBP", quality=90)
        files.append(buffer.getvalue())
    return files


def _in_pixels(box: tuple[float, float, float, float], view: pb.View) -> pb.Box:
    """From shares of what the network saw to pixels of the image, without what lies beyond it."""
    crop, size = view.crop, (view.width, view.height)
    across, down = crop.right - crop.left, crop.bottom - crop.top
    left, right = (min(max(crop.left + share * across, 0.0), size[0]) for share in box[::2])
    top, bottom = (min(max(crop.top + share * down, 0.0), size[1]) for share in box[1::2])
    return pb.Box(left=left, top=top, right=right, bottom=bottom)
