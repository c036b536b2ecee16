"""GIF: blocks. Of those before the first frame, only the one that says which color is transparent is kept."""

from __future__ import annotations

import struct

from striate_service.explain.image_files.parts import BadFile, ImageFile, check_size

_MAX_BLOCKS = 100_000
"""Before the first frame, 255 bytes each."""
_EXTENSION, _FRAME = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9


def read(data: bytes, max_pixels: int) -> ImageFile:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = start = 13 + _palette_bytes(flags)
    control = b""
    blocks = 0
    while data[at] != _FRAME:
        if data[at] != _EXTENSION:
            at += 1  # junk, which decoders skip
            blocks += 1
        else:
            first = at
            at += 2
            while data[at]:
                at += 1 + data[at]
                blocks += 1
            at += 1
            if data[first + 1] == _GRAPHIC_CONTROL and at - first == 8:
                control = data[first:at]
        if blocks > _MAX_BLOCKS:
            raise BadFile(f"has more than {_MAX_BLOCKS:,} blocks before its pixels; save it anew.")
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
    check_size(max(width, left + frame_width), max(height, top + frame_height), max_pixels)
    return ImageFile(data[:start] + control + data[at:], "GIF", scratch_bytes=4)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0
