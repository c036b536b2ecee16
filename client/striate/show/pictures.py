"""The images of a factorization with its groups: overlays, and crops of where a group is."""

from __future__ import annotations

import io

from PIL import Image as Pillow

from striate.results.groups import FactorizationData


def open_overlay(found: FactorizationData, number: int) -> Pillow.Image:
    """Return the groups' colors over image `number`."""
    return Pillow.open(io.BytesIO(found.overlays[number]))


def cut_crops(found: FactorizationData, k: int) -> list[Pillow.Image]:
    """Return the places where group `k` is strongest, cut out of the images; none of preprocessed images."""
    pictures = []
    for crop in found.groups[k].crops:
        image, view = found.images[crop.image], found.views[crop.image]
        if image is not None:
            start = round(view.crop[0]), round(view.crop[1])
            left, top, right, bottom = (round(edge) - start[axis % 2] for axis, edge in enumerate(crop.box))
            pictures.append(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
    return pictures
