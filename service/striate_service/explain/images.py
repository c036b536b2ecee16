"""Images: what callers give, and the pixels that a network takes. A file's header is read first, its pixels later."""

from __future__ import annotations

import enum
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from striate_service.errors import InvalidArgument
from striate_service.models.description import Preprocessing

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_RESAMPLING = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}

# `open_image` refuses what is larger than the operator allows, by its header and before anything is decoded.
Pillow.MAX_IMAGE_PIXELS = None


class Fit(enum.IntEnum):
    """How an image is brought to the network's input size. Bases store these numbers."""

    CROP = 1
    """As the model was evaluated: resize the shorter side, then cut out the middle."""
    STRETCH = 2
    """Resize both sides, ignoring the aspect ratio."""
    PAD = 3
    """Resize the longer side, then pad with the model's mean color."""


@dataclass(frozen=True)
class GivenImage:
    """An image as it came."""

    source: bytes | NDArray[np.generic]
    """A whole file; pixels, uint8 [H, W, 3]; or what the network takes, float32 or float16 [3, H, W], preprocessed."""
    field: str
    """The request's field that holds it, for errors: "images[2]"."""

    @property
    def size(self) -> int:
        """In bytes, as it came."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.nbytes

    @property
    def preprocessed(self) -> bool:
        return not isinstance(self.source, bytes) and self.source.dtype.kind == "f"


@dataclass(frozen=True)
class GivenImages:
    """The images of one request: at least one, all preprocessed or none."""

    images: Sequence[GivenImage]
    fit: Fit

    @property
    def size(self) -> int:
        """In bytes, as they came."""
        return sum(image.size for image in self.images)

    @property
    def preprocessed(self) -> bool:
        return self.images[0].preprocessed


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of an image."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class View:
    """Which part of an image the network saw."""

    width: int
    height: int
    """Of the image in pixels, after EXIF orientation."""
    crop: Box
    """The part of it that fills the network's input. Padding reaches beyond the image."""


Opened = Pillow.Image | NDArray[np.generic]
"""A file whose header has been read, or an array as `GivenImage` holds it."""


@dataclass(frozen=True)
class DecodedImage:
    pixels: NDArray[np.generic]
    """uint8 [H, W, 3] of the network's input size, or float32 [3, H, W], preprocessed."""
    view: View


def open_image(given: GivenImage, max_pixels: int) -> Opened:
    """Read a file's header, and nothing more of it.

    Raises:
        InvalidArgument: it is no image, or has more pixels than `max_pixels`.
    """
    if not isinstance(given.source, bytes):
        return given.source
    try:
        opened = Pillow.open(io.BytesIO(given.source), formats=FORMATS)
    except Exception as error:  # Pillow's readers raise whatever the damaged bytes provoke
        raise InvalidArgument(given.field, f"is no image that can be read; send {', '.join(FORMATS)}.") from error
    width, height = opened.size
    if width * height > max_pixels:
        raise InvalidArgument(
            given.field, f"has {width} x {height} pixels; this server takes at most {max_pixels:,}. Send it smaller."
        )
    return opened


def decode(opened: Opened, field: str, preprocessing: Preprocessing, fit: Fit) -> DecodedImage:
    """Decode an image, and fit it to the network's input.

    Raises:
        InvalidArgument: naming `field`, where the file is damaged or an array is not finite.
    """
    if isinstance(opened, Pillow.Image):
        return _fit(_read(opened, field), preprocessing, fit)
    if opened.dtype == np.uint8:
        return _fit(Pillow.fromarray(opened), preprocessing, fit)
    array = opened.astype(np.float32)
    if not np.isfinite(array).all():
        raise InvalidArgument(f"{field}.preprocessed", "holds NaN or infinity.")
    _, height, width = array.shape
    return DecodedImage(array, View(width, height, Box(0, 0, width, height)))


def _read(opened: Pillow.Image, field: str) -> Pillow.Image:
    try:
        with opened:
            ImageOps.exif_transpose(opened, in_place=True)  # else it copies the whole picture, and most are upright
            return _to_rgb(opened)
    except Exception as error:  # as in `open_image`
        raise InvalidArgument(field, f"is damaged and cannot be decoded ({error}).") from error


def _to_rgb(picture: Pillow.Image) -> Pillow.Image:
    """Convert any mode to RGB: transparency over white, 16 bits to 8."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        array = np.asarray(picture).astype(np.int64)
        return Pillow.fromarray((array.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its values are floating-point, of no known range")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _fit(picture: Pillow.Image, preprocessing: Preprocessing, fit: Fit) -> DecodedImage:
    width, height = picture.size
    side = preprocessing.crop
    resampling = _RESAMPLING[preprocessing.interpolation]
    if fit == Fit.STRETCH:
        box = (0.0, 0.0, float(width), float(height))
        fitted = picture.resize((side, side), resampling)
    elif fit == Fit.PAD:
        scale = side / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (side - inner[0]) // 2, (side - inner[1]) // 2
        fitted = Pillow.new("RGB", (side, side), tuple(round(255 * mean) for mean in preprocessing.mean))
        fitted.paste(picture.resize(inner, resampling), (left, top))
        across, down = width / inner[0], height / inner[1]
        box = (-left * across, -top * down, (side - left) * across, (side - top) * down)
    else:
        # As torchvision's Resize and CenterCrop, with their rounding. Resizing only what is kept would be faster, but
        # rounds some pixels differently.
        short = preprocessing.resize
        resized = (short, short * height // width) if width <= height else (short * width // height, short)
        left, top = round((resized[0] - side) / 2), round((resized[1] - side) / 2)
        fitted = picture.resize(resized, resampling).crop((left, top, left + side, top + side))
        across, down = width / resized[0], height / resized[1]
        box = (left * across, top * down, (left + side) * across, (top + side) * down)
    return DecodedImage(np.asarray(fitted), View(width, height, Box(*box)))
