"""BMP: nothing but pixels. Pillow decodes run lengths in Python, so they are limited."""

from __future__ import annotations

import struct

from striate_service.explain.image_files.parts import BadFile, ImageFile, check_size

_MAX_RUN_LENGTH_STEPS = 4_000_000
"""Pixels and bytes together: up to 0.1 microseconds each."""
_RUN_LENGTHS = (1, 2)  # the values of `compression` for 8 and 4 bits a pixel


def read(data: bytes, max_pixels: int) -> ImageFile:
    header_bytes, width, height, _, _, compression = struct.unpack_from("<IiiHHI", data, 14)
    if header_bytes >= 40:  # else it is of OS/2 1, whose sides have 16 bits and which has no compression
        width, height = abs(width), abs(height)
        check_size(width, height, max_pixels)
        if compression in _RUN_LENGTHS and width * height + len(data) > _MAX_RUN_LENGTH_STEPS:
            raise BadFile("is a large BMP in run lengths; save it without compression, or as PNG.")
    return ImageFile(data, "BMP", scratch_bytes=1)
