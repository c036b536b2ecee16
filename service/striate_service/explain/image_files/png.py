"""PNG: chunks. Those that make pixels are kept; a side chunk may be as long, as compressed and as wrong as it likes."""

from __future__ import annotations

import struct
import zlib

from striate_service.explain.image_files.parts import MAX_NOTE_BYTES, BadFile, ImageFile, check_size, orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS = 50_000
"""Each takes Pillow a few microseconds. Encoders write 8 KB of pixels or more a chunk."""
_RGB = 2  # the color type
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"


def read(data: bytes, max_pixels: int) -> ImageFile:
    kept = [SIGNATURE]
    exif = xmp = b""
    deep_rgb = False
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            break  # it was cut; the decoder says so
        length, kind = struct.unpack_from(">I4s", data, at)
        content, end = at + 8, at + 12 + length
        if kind == b"IHDR" and len(kept) == 1 and length >= 13:
            width, height, depth, color = struct.unpack_from(">IIBB", data, content)
            check_size(width, height, max_pixels)
            deep_rgb = depth == 16 and color == _RGB
            kept.append(data[at:end])
        elif kind == b"tRNS":
            kept.append(_transparency(data[content : content + min(length, 256)], deep_rgb))
        elif kind in (b"PLTE", b"IDAT"):
            kept.append(data[at:end])
        elif kind == b"eXIf":
            exif = exif or data[content : content + min(length, MAX_NOTE_BYTES)]
        elif kind == b"iTXt" and data.startswith(_XMP_KEYWORD, content):
            xmp = xmp or data[content : content + min(length, MAX_NOTE_BYTES)]
        elif kind == b"IEND":
            kept.append(data[at:end])
            break
        at = end
    else:
        raise BadFile(f"has more than {_MAX_CHUNKS:,} chunks; save it anew.")
    return ImageFile(b"".join(kept), "PNG", orientation(exif, xmp))


def _transparency(content: bytes, deep_rgb: bool) -> bytes:
    """Return the chunk that says what is transparent. Pillow reads a pixel's upper 8 bits; so must the color be."""
    if deep_rgb:
        content = bytes(byte for high in content[:6:2] for byte in (0, high))
    return struct.pack(">I4s", len(content), b"tRNS") + content + struct.pack(">I", zlib.crc32(b"tRNS" + content))
