"""Neuron groups laid over the images that they were found in, in the groups' colors."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

_DIMMED = 0.35  # share of the image's brightness where no group is present
_GREY = np.array([0.299, 0.587, 0.114])  # luma of RGB (ITU-R BT.601)
_NO_PICTURE = (224, 224)  # pixels of an overlay over nothing
_LARGEST = 640  # pixels of the longer side of what is drawn: what a page shows, on a dense screen


@dataclass(frozen=True, eq=False)
class DrawnOverlays(Sequence[bytes]):
    """The overlays of N images, WebP files, each drawn when it is looked at."""

    images: Sequence[Pillow.Image | None]
    """What the network saw of each; None: nothing to look at. Empty: of none."""
    spatial: NDArray[np.float32]
    """[N, H, W, K]"""
    colors: NDArray[np.uint8]
    """[K, 3]"""
    scale: float
    """As in `overlay`."""

    def __len__(self) -> int:
        return len(self.spatial)

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        maps, image = self.spatial[index], self.images[index] if self.images else None
        if image is None:
            return overlay_file(None, maps, self.colors, scale=self.scale)
        shown = image.copy()
        shown.thumbnail((_LARGEST, _LARGEST))
        return overlay_file(np.asarray(shown), maps, self.colors, scale=self.scale)


def overlay_file(
    image: NDArray[np.uint8] | None, spatial: NDArray[np.float32], colors: NDArray[np.uint8], **options: Any
) -> bytes:
    """Return `overlay` as a WebP file."""
    buffer = io.BytesIO()
    # Where a group is present negatively it has no color.
    Pillow.fromarray(overlay(image, spatial.clip(min=0), colors, **options)).save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def overlay(
    image: NDArray[np.uint8] | None,
    spatial: NDArray[np.float32],
    group_colors: NDArray[np.uint8],
    *,
    scale: float,
    size: tuple[int, int] = _NO_PICTURE,
) -> NDArray[np.uint8]:
    """Lay neuron groups over the image that they were found in.

    The color at a point blends the groups' colors by their strengths there; its opacity is the sum of the strengths
    over `scale`. The image lies beneath, grey and dimmed.

    Args:
        image: uint8 [H, W, 3]; None: black, of `size`.
        spatial: float [h, w, K], how strongly each group is present at each position.
        group_colors: uint8 [K, 3].
        scale: the sum over groups that is fully opaque; use one scale for images to be compared.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = image.shape[:2] if image is not None else size
    groups = _enlarge(spatial, height, width)
    total = groups.sum(axis=2, keepdims=True)
    blended = groups @ group_colors.astype(np.float64) / np.maximum(total, 1e-12)
    opacity = (total / max(scale, 1e-12)).clip(0, 1)
    beneath = np.zeros((height, width, 1)) if image is None else (image @ _GREY)[..., None]
    # The image's own light and shade stay visible in the colored places.
    lit = blended * (0.55 + 0.45 * beneath / 255) if image is not None else blended
    return np.asarray((opacity * lit + (1 - opacity) * _DIMMED * beneath).round().clip(0, 255), np.uint8)


def _enlarge(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """Interpolate [h, w, K] bilinearly to [height, width, K], with pixels' centres aligned."""
    for axis, size in ((0, height), (1, width)):
        old = maps.shape[axis]
        position = ((np.arange(size) + 0.5) * old / size - 0.5).clip(0, old - 1)
        low = np.floor(position).astype(int)
        share = (position - low).reshape([-1 if i == axis else 1 for i in range(3)])
        maps = maps.take(low, axis) * (1 - share) + maps.take(np.minimum(low + 1, old - 1), axis) * share
    return maps.astype(np.float64)
