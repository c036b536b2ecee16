"""From an Image message to the array that a network takes: header check first, pixels later, in a decode thread."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from striate.tensors import array_from_tensor
from striate.v1 import common_pb2 as pb

from striate_service.errors import InvalidArgument
from striate_service.models.description import Preprocessing

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_RESAMPLING = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}

# `open_image` refuses what is larger than the operator allows, by its header and before anything is decoded.
Pillow.MAX_IMAGE_PIXELS = None


Opened = Pillow.Image | NDArray[np.generic]
"""A file whose header has been read; pixels, uint8 [H, W, 3]; or a preprocessed image, floats [3, H, W]."""


@dataclass(frozen=True)
class Decoded:
    pixels: NDArray[np.generic]
    """uint8 [H, W, 3] of the network's input size, or float32 [3, H, W], preprocessed."""
    view: pb.View


def open_image(image: pb.Image, field: str, preprocessing: Preprocessing, max_pixels: int) -> Opened:
    """Look at what costs nothing to look at: the kind of source, a file's header, a tensor's shape.

    Raises:
        InvalidArgument: naming `field`.
    """
    match image.WhichOneof("source"):
        case "encoded":
            opened = _open(image.encoded, field)
            width, height = opened.size
            if width * height > max_pixels:
                raise InvalidArgument(
                    field, f"has {width} x {height} pixels; this server takes at most {max_pixels:,}. Send it smaller."
                )
            return opened
        case "pixels":
            shape, tensor = tuple(image.pixels.shape), image.pixels
            if tensor.dtype != pb.DATA_TYPE_UINT8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
                raise InvalidArgument(
                    f"{field}.pixels", f"should be uint8 [height, width, 3], RGB, and is {_describe(tensor)}."
                )
            return _array(tensor, f"{field}.pixels")
        case "preprocessed":
            expected, tensor = (3, preprocessing.crop, preprocessing.crop), image.preprocessed
            floats = (pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT16)
            if tensor.dtype not in floats or tuple(tensor.shape) != expected:
                raise InvalidArgument(
                    f"{field}.preprocessed",
                    f"should be float32 or float16 {list(expected)}, normalized, and is {_describe(tensor)}.",
                )
            return _array(tensor, f"{field}.preprocessed")
    raise InvalidArgument(field, "is empty; set encoded, pixels or preprocessed.")


def decode(opened: Opened, field: str, preprocessing: Preprocessing, fit: pb.Fit) -> Decoded:
    """Decode an image, and fit it to the network's input.

    Raises:
        InvalidArgument: naming `field`, where the file is damaged.
    """
    if isinstance(opened, Pillow.Image):
        return _fit(_read(opened, field), preprocessing, fit)
    if opened.dtype == np.uint8:
        return _fit(Pillow.fromarray(opened), preprocessing, fit)
    array = opened.astype(np.float32)
    if not np.isfinite(array).all():
        raise InvalidArgument(f"{field}.preprocessed", "holds NaN or infinity.")
    _, height, width = array.shape
    return Decoded(array, pb.View(width=width, height=height, crop=pb.Box(right=width, bottom=height)))


def _open(data: bytes, field: str) -> Pillow.Image:
    try:
        return Pillow.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's readers raise whatever the damaged bytes provoke
        raise InvalidArgument(field, f"is no image that can be read; send {', '.join(FORMATS)}.") from error


def _read(opened: Pillow.Image, field: str) -> Pillow.Image:
    try:
        with opened:
            ImageOps.exif_transpose(opened, in_place=True)  # else it copies the whole picture, and most are upright
            return _to_rgb(opened)
    except Exception as error:  # as above
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


def _fit(picture: Pillow.Image, preprocessing: Preprocessing, fit: pb.Fit) -> Decoded:
    width, height = picture.size
    side = preprocessing.crop
    resampling = _RESAMPLING[preprocessing.interpolation]
    if fit == pb.FIT_STRETCH:
        box = (0.0, 0.0, float(width), float(height))
        fitted = picture.resize((side, side), resampling)
    elif fit == pb.FIT_PAD:
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
    crop = pb.Box(left=box[0], top=box[1], right=box[2], bottom=box[3])
    return Decoded(np.asarray(fitted), pb.View(width=width, height=height, crop=crop))


def _describe(tensor: pb.Tensor) -> str:
    return f"{pb.DataType.Name(tensor.dtype).removeprefix('DATA_TYPE_').lower()} {list(tensor.shape)}"


def _array(tensor: pb.Tensor, field: str) -> NDArray[np.generic]:
    try:
        return array_from_tensor(tensor)
    except ValueError as error:
        raise InvalidArgument(field, str(error)) from error
