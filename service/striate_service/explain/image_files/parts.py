"""What the readers of all formats share."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

MAX_SIDE = 65_535
"""Pixels of the longer side: what a JPEG can have. Resizing takes memory and time for each pixel of a side as well."""
MAX_NOTE_BYTES = 2**16
"""Of EXIF or XMP that is searched for the orientation: a JPEG's segment holds no more."""

_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}


class BadFile(ValueError):
    """A file that is not decoded. The text goes on after the name of the request's field."""


@dataclass(frozen=True)
class ImageFile:
    """The parts of a file that make the pixels of its first frame."""

    data: bytes
    """A file of the same format, of which a decoder finds nothing else."""
    format: str
    """Pillow's name for it."""
    orientation: int = 1
    """EXIF's, 1 to 8."""
    scratch_pixels: int = 0
    """What the decoder decodes, where that is more than the picture: a TIFF's tiles reach beyond it."""
    scratch_bytes: int = 0
    """What the decoder holds for each pixel besides the picture."""
    in_one_go: bool = False
    """Whether the decoder takes the whole file at once. Other decoders take a block of it at a time."""
    pixels_at_end: bool = False
    """Whether the decoder makes pixels, all in one go, only when it has read the whole file."""
    block_ends: Sequence[int] = ()
    """Where a block must end since what follows takes the decoder long, in ascending order."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse what is larger than an image may be.

    Raises:
        BadFile: naming the limit.
    """
    if width * height > max_pixels:
        raise BadFile(f"has {width} x {height} pixels; this server takes at most {max_pixels:,}. Send it smaller.")
    if max(width, height) > MAX_SIDE:
        raise BadFile(f"has {width} x {height} pixels; a side may have {MAX_SIDE:,}. Send it smaller.")


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return how a picture is to be turned, 1 to 8, by EXIF, else by XMP; 1 where neither can be read."""
    try:
        found = _exif_orientation(exif[:MAX_NOTE_BYTES])
    except struct.error:
        found = None
    if found is None and (match := _XMP_ORIENTATION.search(xmp[:MAX_NOTE_BYTES])):
        found = int(match[1])
    return found if found is not None and 1 <= found <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    while exif.startswith(_EXIF_PREFIX):  # some cameras write it twice
        exif = exif[len(_EXIF_PREFIX) :]
    order = _BYTE_ORDERS.get(exif[:2])
    if order is None:
        return None
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for number in range(count):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", exif, directory + 2 + 12 * number)
        if (tag, kind, values) == (_ORIENTATION, 3, 1):
            return int(value)
    return None
