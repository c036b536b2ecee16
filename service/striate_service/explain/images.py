"""Images: what callers give, and the pixels that a network takes. All of it runs in threads for decoding."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate_service.errors import InvalidArgument
from striate_service.explain.image_files import FORMATS, BadFile, read_file
from striate_service.explain.image_files.parts import check_size
from striate_service.explain.stoppable import (
    BLOCK_BYTES,
    SIDEWAYS,
    PictureFile,
    Stop,
    Stopped,
    is_one_strip,
    resize,
    strips,
    turn,
)
from striate_service.models.description import Preprocessing

_RESAMPLING = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""By the number of a network's channels, what a picture is for it."""
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")

_MAX_RESIZED_PIXELS = 2**24
"""A picture that is larger than this once its shorter side is resized is thin, and only what is kept is resized. 1:256
for the usual 256 pixels."""
_PICTURE_BYTES = 4  # that Pillow takes for a pixel, and as many for its conversion or its turning
_SCALED_JPEG_PIXELS = 2**21
"""A JPEG of more pixels is scaled while it is decoded; of fewer, that gains little."""
_SCALED_JPEG_SIDES = 4
"""How many times as large as what it is resized to a scaled JPEG is, at least. docs/images.md compares."""
_MAX_PIXELS_IN_ONE_GO = 2**24
"""What is decoded in a thread though nothing can stop it: half a second of WebP."""
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 6, 7}), frozenset({3, 4, 7, 8})
"""Orientations that have the stored picture's end at the upright one's left, or at its top."""

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
    """A whole file; pixels, uint8 [H, W, C]; or what the network takes, float32 or float16 [C, H, W], preprocessed."""
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
class Target:
    """What images are to become."""

    preprocessing: Preprocessing
    fit: Fit
    exact: bool
    """Whether the pixels are those of the whole picture resized, to the byte; else a large JPEG is scaled while it is
    decoded."""

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that a picture is resized to before it is cropped or padded.

        For cropping as torchvision's Resize, with its rounding.
        """
        (down_to, across_to), short = self.preprocessing.size, self.preprocessing.resize
        if self.fit == Fit.STRETCH:
            return across_to, down_to
        if self.fit == Fit.PAD:
            scale = min(across_to / width, down_to / height)
            return max(1, round(width * scale)), max(1, round(height * scale))
        if not isinstance(short, int):
            if self.preprocessing.keeps_proportions:
                scale = max(short[0] / height, short[1] / width)
                return round(width * scale), round(height * scale)
            return short[1], short[0]
        return (short, short * height // width) if width <= height else (short * width // height, short)


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

    source: OpenedFile | NDArray[np.generic]
    """A file, or an array as `GivenImage` holds it."""
    bytes: int
    """Memory that decoding takes, at most."""

    @property
    def in_one_go(self) -> bool:
        """Whether nothing can stop its decoding for a second or more."""
        return isinstance(self.source, OpenedFile) and self.source.in_one_go


@dataclass(frozen=True)
class OpenedFile:
    """A file whose header has been read."""

    picture: Pillow.Image
    file: PictureFile
    """From which the picture is decoded."""
    width: int
    height: int
    """Of the image in pixels, after EXIF orientation."""
    orientation: int
    """EXIF's, 1 to 8."""
    scale: int
    """How many pixels of the image a side of one of the picture's stands for: 1, 2, 4 or 8."""
    in_one_go: bool
    """As `OpenedImage` says."""


@dataclass(frozen=True)
class DecodedImage:
    pixels: NDArray[np.generic]
    """uint8 [H, W, C] of the network's input size, or float32 [C, H, W], preprocessed."""
    view: View


def open_image(given: GivenImage, max_pixels: int, target: Target) -> OpenedImage:
    """Read a file's structure and header, and none of its pixels.

    Raises:
        InvalidArgument: it is no image, has more pixels than `max_pixels`, or would take a decoder too long.
    """
    try:
        if isinstance(given.source, bytes):
            return _open_file(given.source, max_pixels, target)
        if given.preprocessed:
            return OpenedImage(given.source, 2 * given.source.nbytes)
        height, width, channels = given.source.shape
        check_size(width, height, max_pixels)
        return OpenedImage(given.source, max(_PICTURE_BYTES, channels) * width * height)
    except BadFile as error:
        raise InvalidArgument(given.field, str(error)) from error


def _open_file(data: bytes, max_pixels: int, target: Target) -> OpenedImage:
    file = read_file(data, max_pixels)
    stream = PictureFile(file.data, file.block_ends)
    try:
        picture = Pillow.open(stream, formats=(file.format,))
    except Exception as error:  # Pillow's readers raise whatever the damaged bytes provoke
        raise BadFile(f"is no image that can be read; send {', '.join(FORMATS)}.") from error
    check_size(*picture.size, max_pixels)  # as the decoder understands it
    # An ImageFile, which Pillow's types do not say.
    picture.decodermaxblock = len(file.data) if file.in_one_go else BLOCK_BYTES
    sideways = file.orientation in SIDEWAYS
    width, height = picture.size[::-1] if sideways else picture.size
    pixels = max(width * height, file.scratch_pixels)
    scale = 1
    if file.format == "JPEG" and not target.exact and pixels > _SCALED_JPEG_PIXELS:
        resized = target.resized(width, height)
        scale = _scale_while_decoding(picture, resized[::-1] if sideways else resized)
    in_one_go = pixels > _MAX_PIXELS_IN_ONE_GO and (file.in_one_go or (file.pixels_at_end and scale == 1))
    copies = 1 if _is_plain(picture) and file.orientation == 1 else 2
    size = copies * _PICTURE_BYTES * picture.width * picture.height + file.scratch_bytes * pixels
    return OpenedImage(OpenedFile(picture, stream, width, height, file.orientation, scale, in_one_go), size)


def _scale_while_decoding(picture: Pillow.Image, wanted: tuple[int, int]) -> int:
    """Have libjpeg decode a half, a quarter or an eighth of a side, if that is large enough; return 2, 4 or 8, else 1.

    Args:
        wanted: what the picture, as it is stored, will be resized to.
    """
    if picture.draft(None, (_SCALED_JPEG_SIDES * wanted[0], _SCALED_JPEG_SIDES * wanted[1])) is None:
        return 1
    scale: int = picture.decoderconfig[0]  # type: ignore[attr-defined]
    return scale


def decode(opened: OpenedImage, field: str, target: Target, stop: Stop | None = None) -> DecodedImage:
    """Decode an image, and fit it to the network's input.

    Raises:
        InvalidArgument: naming `field`, where the file is damaged or an array is not finite, or the network takes more
            channels than pictures have.
        Stopped: by `stop`, meanwhile.
    """
    stop = stop or Stop()
    source, channels = opened.source, len(target.preprocessing.mean)
    if isinstance(source, OpenedFile):
        if channels not in _MODES:
            raise InvalidArgument(field, f"is a picture, and the model takes {channels} channels; send pixels.")
        return _fit(
            _read(source, field, stop, keep_alpha=channels == 4),
            _part(source),
            (source.width, source.height),
            target,
            stop,
        )
    if source.dtype == np.uint8:
        if source.shape[2] == 3 and channels in _MODES:
            return _fit_array(source, target, stop)
        return _fit_planes(source, target, stop)
    array = source.astype(np.float32)
    if not np.isfinite(array).all():
        raise InvalidArgument(f"{field}.preprocessed", "holds NaN or infinity.")
    _, height, width = array.shape
    return DecodedImage(array, View(width, height, Box(0, 0, width, height)))


def _read(opened: OpenedFile, field: str, stop: Stop, *, keep_alpha: bool) -> Pillow.Image:
    """Return a file's picture upright, RGB or grey; RGBA if `keep_alpha` and it has alpha."""
    opened.file.stop = stop
    try:
        with opened.picture as picture:
            picture.load()
            plain = picture if _is_plain(picture) else _convert(picture, stop, keep_alpha)
            return turn(plain, opened.orientation, stop)
    except Stopped:
        raise
    except Exception as error:  # as in `_open_file`
        raise InvalidArgument(field, f"is damaged and cannot be decoded ({error}).") from error


def _part(opened: OpenedFile) -> Box:
    """Return which part of the upright picture is the image: one scaled by libjpeg ends with a fraction of a pixel."""
    stored = opened.picture.size[::-1] if opened.orientation in SIDEWAYS else opened.picture.size
    across, down = opened.width / opened.scale, opened.height / opened.scale
    left = stored[0] - across if opened.orientation in _MIRRORED_ACROSS else 0
    top = stored[1] - down if opened.orientation in _MIRRORED_DOWN else 0
    return Box(left, top, left + across, top + down)


def _is_plain(picture: Pillow.Image) -> bool:
    return picture.mode in ("RGB", "L") and "transparency" not in picture.info


def _convert(picture: Pillow.Image, stop: Stop, keep_alpha: bool) -> Pillow.Image:
    """Convert any mode to RGB: transparency over white, unless it is kept, 16 bits to 8.

    A strip at a time, if the picture is large: else it would lie in memory several times over.
    """
    white = 4095 if _bits(picture) == 12 else 65535
    keep_alpha = keep_alpha and _has_alpha(picture)
    if is_one_strip(picture):
        return picture.convert("RGBA") if keep_alpha else _to_rgb(picture, white)
    converted = Pillow.new("RGBA" if keep_alpha else "RGB", picture.size, None)
    for strip in strips(picture.size, stop):
        part = picture.crop(strip)
        converted.paste(part.convert("RGBA") if keep_alpha else _to_rgb(part, white), strip)
    return converted


def _has_alpha(picture: Pillow.Image) -> bool:
    return picture.mode in _WITH_ALPHA or "transparency" in picture.info


def _bits(picture: Pillow.Image) -> int | None:
    """Return how many bits a TIFF's values have."""
    bits: Sequence[int] = getattr(picture, "tag_v2", {}).get(258, ())
    return bits[0] if bits else None


def _to_rgb(picture: Pillow.Image, white: int) -> Pillow.Image:
    if picture.mode.startswith("I"):
        return Pillow.fromarray(_grey(picture, white)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its values are floating-point, of no known range")
    if _has_alpha(picture):
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


def _fit_array(pixels: NDArray[np.generic], target: Target, stop: Stop) -> DecodedImage:
    height, width = pixels.shape[:2]
    return _fit(Pillow.fromarray(pixels), Box(0, 0, width, height), (width, height), target, stop)


def _fit_planes(pixels: NDArray[np.generic], target: Target, stop: Stop) -> DecodedImage:
    """Fit pixels [H, W, C] of any channels, each by itself."""
    planes = [np.ascontiguousarray(pixels[..., channel]) for channel in range(pixels.shape[2])]
    targets = [
        replace(target, preprocessing=replace(target.preprocessing, mean=(mean,))) for mean in target.preprocessing.mean
    ]
    fitted = [_fit_array(plane, own, stop) for plane, own in zip(planes, targets, strict=True)]
    return DecodedImage(np.concatenate([each.pixels for each in fitted], axis=2), fitted[0].view)


def _fit(picture: Pillow.Image, part: Box, size: tuple[int, int], target: Target, stop: Stop) -> DecodedImage:
    """Resize a picture, then crop or pad it.

    Args:
        part: of the picture, that is the image.
        size: the image's width and height, of which the view tells.
    """
    width, height = size
    preprocessing = target.preprocessing
    down_to, across_to = preprocessing.size
    mode = _MODES[len(preprocessing.mean)]
    resampling = _RESAMPLING[preprocessing.interpolation]
    resized = target.resized(width, height)
    whole = (part.left, part.top, part.right, part.bottom)
    across, down = width / resized[0], height / resized[1]
    if target.fit == Fit.STRETCH:
        box = (0.0, 0.0, float(width), float(height))
        fitted = resize(picture, resized, resampling, whole, stop)
    elif target.fit == Fit.PAD:
        left, top = (across_to - resized[0]) // 2, (down_to - resized[1]) // 2
        box = (-left * across, -top * down, (across_to - left) * across, (down_to - top) * down)
        color = tuple(round(255 * mean) for mean in preprocessing.mean)
        fitted = Pillow.new(mode, (across_to, down_to), color if len(color) > 1 else color[0])
        fitted.paste(resize(picture, resized, resampling, whole, stop).convert(mode), (left, top))
    else:
        # As torchvision's Resize and CenterCrop, with their rounding. Resizing only what is kept would be faster, but
        # rounds some pixels differently: that is for thin pictures.
        left, top = round((resized[0] - across_to) / 2), round((resized[1] - down_to) / 2)
        right, bottom = left + across_to, top + down_to
        box = (left * across, top * down, right * across, bottom * down)
        if resized[0] * resized[1] > _MAX_RESIZED_PIXELS:
            scale = (part.right - part.left) / width
            kept = (
                part.left + scale * box[0],
                part.top + scale * box[1],
                min(part.right, part.left + scale * box[2]),
                min(part.bottom, part.top + scale * box[3]),
            )
            fitted = picture.resize((across_to, down_to), resampling, kept)
        else:
            fitted = resize(picture, resized, resampling, whole, stop).crop((left, top, right, bottom))
    pixels = np.asarray(fitted.convert(mode))
    return DecodedImage(pixels.reshape(down_to, across_to, -1), View(width, height, Box(*box)))
