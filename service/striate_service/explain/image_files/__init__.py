"""Image files as callers send them. What is not needed for pixels is left out before a decoder sees the file.

Decoders parse profiles, texts, thumbnails, EXIF and animations with code of their own, which takes time and memory that
a small file can drive up without limit. So each format's module walks through a file's structure and copies the parts
that make the first frame's pixels. Of the rest only the orientation is read. What remains costs no more than its size
and its pixels tell.
"""

from __future__ import annotations

import struct

from striate_service.explain.image_files import bmp, gif, jpeg, png, tiff, webp
from striate_service.explain.image_files.parts import BadFile, ImageFile

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

__all__ = ["FORMATS", "BadFile", "ImageFile", "read_file"]


def read_file(data: bytes, max_pixels: int) -> ImageFile:
    """Return the parts of a file that make its pixels.

    Args:
        max_pixels: decoding may take no more pixels than these.

    Raises:
        BadFile: it is none of `FORMATS`, or would cost too much to decode.
    """
    for read, signatures in (
        (jpeg.read, (b"\xff\xd8\xff",)),
        (png.read, (png.SIGNATURE,)),
        (gif.read, (b"GIF87a", b"GIF89a")),
        (webp.read, (b"RIFF",)),
        (bmp.read, (b"BM",)),
        (tiff.read, tiff.SIGNATURES),
    ):
        if data.startswith(signatures):
            try:
                return read(data, max_pixels)
            except (IndexError, OverflowError, struct.error) as error:
                raise BadFile("is cut or damaged before its pixels begin; send the whole file.") from error
    raise BadFile(f"is no image that can be read; send {', '.join(FORMATS)}.")
