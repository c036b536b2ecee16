"""Images: what callers give, and the pixels that a network takes. All of it runs in threads for decoding."""

from __future__ import annotations

import enum
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate_service.errors import InvalidArgument
from striate_service.explain.image_files import FORMATS, BadFile, ImageFile, read_file
from striate_service.explain.image_files.parts import check_size
from striate_service.models.description import Preprocessing

_RESAMPLING = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}

_STRIP_PIXELS = 2**20
"""How much of a picture is converted at a time: without it, a large one would lie in memory several times over."""
_MAX_RESIZED_PIXELS = 2**24
"""A picture that is larger than this once its shorter side is resized is thin, and only what is kept is resized. 1:256
for the usual 256 pixels."""
_PICTURE_BYTES = 4  # that Pillow takes for a pixel, and as many for its conversion or its turning

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""

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


@dataclass(frozen=True)
class OpenedImage:
    """An image of which no pixel has been decoded."""

    source: Pillow.Image | NDArray[np.generic]
    """A file's picture, whose header has been read, or an array as `GivenImage` holds it."""
    orientation: int
    """EXIF's, 1 to 8."""
    bytes: int
    """Memory that decoding takes, at most."""


@dataclass(frozen=True)
class DecodedImage:
    pixels: NDArray[np.generic]
    """uint8 [H, W, 3] of the network's input size, or float32 [3, H, W], preprocessed."""
    view: View


def open_image(given: GivenImage, max_pixels: int) -> OpenedImage:
    """Read a file's structure and header, and none of its pixels.

    Raises:
        InvalidArgument: it is no image, has more pixels than `max_pixels`, or would take a decoder too long.
    """
    try:
        if isinstance(given.source, bytes):
            return _open_file(given.source, max_pixels)
        if given.preprocessed:
            return OpenedImage(given.source, 1, 2 * given.source.nbytes)
        height, width, _ = given.source.shape
        check_size(width, height, max_pixels)
        return OpenedImage(given.source, 1, _PICTURE_BYTES * width * height)
    except BadFile as error:
        raise InvalidArgument(given.field, str(error)) from error


def _open_file(data: bytes, max_pixels: int) -> OpenedImage:
    file = read_file(data, max_pixels)
    try:
        picture = Pillow.open(io.BytesIO(file.data), formats=(file.format,))
    except Exception as error:  # Pillow's readers raise whatever the damaged bytes provoke
        raise BadFile(f"is no image that can be read; send {', '.join(FORMATS)}.") from error
    check_size(*picture.size, max_pixels)  # as the decoder understands it
    return OpenedImage(picture, file.orientation, _decoding_bytes(picture, file))


def _decoding_bytes(picture: Pillow.Image, file: ImageFile) -> int:
    pixels = picture.width * picture.height
    copies = 1 if _is_plain(picture) and file.orientation == 1 else 2
    return copies * _PICTURE_BYTES * pixels + file.scratch_bytes * max(pixels, file.scratch_pixels)


def decode(opened: OpenedImage, field: str, preprocessing: Preprocessing, fit: Fit) -> DecodedImage:
    """Decode an image, and fit it to the network's input.

    Raises:
        InvalidArgument: naming `field`, where the file is damaged or an array is not finite.
    """
    source = opened.source
    if isinstance(source, Pillow.Image):
        return _fit(_read(source, opened.orientation, field), preprocessing, fit)
    if source.dtype == np.uint8:
        return _fit(Pillow.fromarray(source), preprocessing, fit)
    array = source.astype(np.float32)
    if not np.isfinite(array).all():
        raise InvalidArgument(f"{field}.preprocessed", "holds NaN or infinity.")
    _, height, width = array.shape
    return DecodedImage(array, View(width, height, Box(0, 0, width, height)))


def _read(opened: Pillow.Image, orientation: int, field: str) -> Pillow.Image:
    """Return a file's picture upright, RGB or grey."""
    try:
        with opened:
            opened.load()
            plain = opened if _is_plain(opened) else _convert(opened)
            return plain.transpose(_TURNS[orientation]) if orientation in _TURNS else plain
    except Exception as error:  # as in `_open_file`
        raise InvalidArgument(field, f"is damaged and cannot be decoded ({error}).") from error


def _is_plain(picture: Pillow.Image) -> bool:
    return picture.mode in ("RGB", "L") and "transparency" not in picture.info


def _convert(picture: Pillow.Image) -> Pillow.Image:
    """Convert any mode to RGB: transparency over white, 16 bits to 8. A strip at a time, if the picture is large."""
    width, height = picture.size
    white = 4095 if _bits(picture) == 12 else 65535
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        return _to_rgb(picture, white)
    converted = Pillow.new("RGB", picture.size)
    for top in range(0, height, rows):
        box = (0, top, width, min(height, top + rows))
        converted.paste(_to_rgb(picture.crop(box), white), box)
    return converted


def _bits(picture: Pillow.Image) -> int | None:
    """Return how many bits a TIFF's values have."""
    bits: Sequence[int] = getattr(picture, "tag_v2", {}).get(258, ())
    return bits[0] if bits else None


def _to_rgb(picture: Pillow.Image, white: int) -> Pillow.Image:
    if picture.mode.startswith("I"):
        return Pillow.fromarray(_grey(picture, white)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its values are floating-point, of no known range")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        under = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(under, picture).convert("RGB")
    return picture.convert("RGB")


def _grey(picture: Pillow.Image, white: int) -> NDArray[np.uint8]:
    """Return grey values of more than 8 bits in 8. Those of 32 bits must be what 16 can hold: else who knows white?"""
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its grey values are below 0 or above 65,535, of no known range")
    grey = (values.astype(np.uint32) * 255 // white).clip(0, 255).astype(np.uint8)
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 255
    return grey


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
        # rounds some pixels differently: that is for thin pictures.
        short = preprocessing.resize
        resized = (short, short * height // width) if width <= height else (short * width // height, short)
        left, top = round((resized[0] - side) / 2), round((resized[1] - side) / 2)
        across, down = width / resized[0], height / resized[1]
        box = (left * across, top * down, (left + side) * across, (top + side) * down)
        if resized[0] * resized[1] > _MAX_RESIZED_PIXELS:
            kept = (box[0], box[1], min(width, box[2]), min(height, box[3]))
            fitted = picture.resize((side, side), resampling, box=kept)
        else:
            fitted = picture.resize(resized, resampling).crop((left, top, left + side, top + side))
    return DecodedImage(np.asarray(fitted.convert("RGB")), View(width, height, Box(*box)))
