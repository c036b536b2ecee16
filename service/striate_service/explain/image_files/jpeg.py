"""JPEG: segments, then scans. A progressive picture's scans each go over all of its pixels, so they are counted."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator

from striate_service.explain.image_files.parts import BadFile, ImageFile, check_size, orientation

_MAX_SEGMENTS = 4096
"""Before the first scan. A profile of 64 MB, the largest message, takes a thousand."""
_USUAL_SCANS = 20
"""libjpeg writes 10, mozjpeg 12 at most."""
_MAX_SCANNED_PIXELS = 500_000_000
"""Of more scans than usual, together: an empty scan takes 1.3 ns a pixel."""
_LEAST_SCAN = 1_000_000  # pixels that a scan of a small picture counts for: it has a cost of its own
_COEFFICIENT_BYTES = 6  # a pixel, of three colors: kept until the last scan has been read

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})  # Huffman, arithmetic, quantization, restart interval
_COLORS = frozenset({b"\xe0JFIF", b"\xeeAdob"})  # APP0 and APP14, where they say how colors are written
_END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset({0xC9, 0xCA})  # libjpeg cannot pause within such a scan
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # markers that stand alone
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # in a scan, where 0xFF before other bytes is part of it
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"


def read(data: bytes, max_pixels: int) -> ImageFile:
    kept = [data[:2]]
    notes = {b"Exif\0\0": b"", _XMP_PREFIX: b""}
    pixels, frame, components = 0, 0, 0
    at = 2
    for _ in range(_MAX_SEGMENTS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise BadFile("is a JPEG without pixels; send the whole file.")
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or marker in _NO_LENGTH:  # padding
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if marker in _START_OF_FRAME:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            check_size(width, height, max_pixels)
            if bits != 8:
                raise BadFile(f"is a JPEG of {bits} bits a color; save it with 8, or as PNG with 16.")
            pixels, frame = width * height, marker
        if marker == _START_OF_SCAN:
            break
        if marker in _START_OF_FRAME or marker in _TABLES or data[at + 1 : at + 2] + data[at + 4 : at + 8] in _COLORS:
            kept.append(data[at:end])
        elif marker == _APP1:
            for prefix, note in notes.items():
                if not note and data.startswith(prefix, at + 4):
                    notes[prefix] = data[at + 4 : end]
        at = end
    else:
        raise BadFile(f"has more than {_MAX_SEGMENTS:,} segments before its pixels; save it anew.")
    in_one_scan = frame not in _PROGRESSIVE and data[at + 4 : at + 5] == bytes([components])
    scans = [] if in_one_scan else _places_of_scans(data, at, pixels)
    header_bytes = sum(map(len, kept))
    kept.append(data[at:])
    exif, xmp = notes.values()
    return ImageFile(
        b"".join(kept),
        "JPEG",
        orientation(exif, xmp),
        scratch_bytes=0 if in_one_scan else _COEFFICIENT_BYTES,
        in_one_go=frame in _ARITHMETIC,
        pixels_at_end=not in_one_scan,
        block_ends=[place - at + header_bytes for place in scans],
    )


def _places_of_scans(data: bytes, at: int, pixels: int) -> list[int]:
    """Return where scans begin, of which the first does at `at`; refuse more than a decoder can bear."""
    most = max(_USUAL_SCANS, _MAX_SCANNED_PIXELS // max(pixels, _LEAST_SCAN))
    places = list(itertools.islice(_scans(data, at), most + 1))
    if len(places) > most:
        raise BadFile(f"has more than {most} scans; save it as an ordinary JPEG.")
    return places


def _scans(data: bytes, at: int) -> Iterator[int]:
    """Yield where scans begin, up to the picture's end: what follows may hold their marker by chance."""
    while match := _MARKER.search(data, at):
        at, marker = match.end(), match[1][0]
        if marker == _END_OF_IMAGE:
            return
        if marker == _START_OF_SCAN:
            yield match.start()
        if marker not in _NO_LENGTH and at + 2 <= len(data):
            at += struct.unpack_from(">H", data, at)[0]
