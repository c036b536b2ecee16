"""WebP: chunks, which libwebp's own parser takes in one pass. The size of the canvas and the orientation are read."""

from __future__ import annotations

import struct

from striate_service.explain.image_files.parts import MAX_NOTE_BYTES, ImageFile, check_size, orientation

_MAX_CHUNKS = 10_000  # looked through for the orientation: it may stand after all frames
_DECODER_BYTES = 12  # libwebp holds two canvases, and Pillow's a copy of one


def read(data: bytes, max_pixels: int) -> ImageFile:
    notes = {b"EXIF": b"", b"XMP ": b""}
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 18 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        content = at + 8
        if kind == b"VP8X":
            width, height = (
                1 + int.from_bytes(data[content + place : content + place + 3], "little") for place in (4, 7)
            )
            check_size(width, height, max_pixels)
        elif kind in notes:
            notes[kind] = notes[kind] or data[content : content + min(length, MAX_NOTE_BYTES)]
        elif kind in (b"VP8 ", b"VP8L") and at == 12:
            break  # a file without notes
        at = content + length + length % 2
    exif, xmp = notes.values()
    return ImageFile(data, "WEBP", orientation(exif, xmp), scratch_bytes=_DECODER_BYTES, in_one_go=True)
