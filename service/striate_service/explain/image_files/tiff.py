"""TIFF: a directory of tags that point anywhere in the file. A directory of those that make pixels replaces it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from striate_service.explain.image_files.parts import BadFile, ImageFile, check_size, orientation

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MAX_ENTRIES = 1000
_MAX_VALUES = 100_000
"""Of one tag, such as the places of strips: more than one for each of 65,535 rows."""
_STRIP_BYTES = 8  # a pixel: libtiff decodes one strip or tile, at most all of the picture, of 4 x 16 bits

_WIDTH, _HEIGHT, _COMPRESSION, _ORIENTATION, _XMP = 256, 257, 259, 274, 700
_NOT_COMPRESSED = 1
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_SIZES = (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)
_MAKE_PIXELS = frozenset(
    {
        *_SIZES,
        *(258, 259, 262, 266),  # bits, compression, photometric, fill order
        *(273, 277, 278, 279, 324, 325),  # samples; places and lengths of strips and tiles
        *(284, 292, 293, 317, 320),  # planes, fax options, predictor, color map
        *(332, 338, 339, 347),  # inks, extra samples, sample format, JPEG tables
        *(512, *range(513, 522), 529, 530, 531, 532),  # the older JPEG; YCbCr
    }
)
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class _Layout:
    """How a directory is written: in the usual format, or in BigTIFF."""

    place: str
    """struct's letter of a place in the file."""
    first: int
    """Where the header says where the directory is."""
    count: str
    """struct's letter of the number of entries."""

    @property
    def entry_bytes(self) -> int:
        return 4 + 2 * struct.calcsize("=" + self.place)


_USUAL, _BIG = _Layout("I", 4, "H"), _Layout("Q", 8, "Q")


def read(data: bytes, max_pixels: int) -> ImageFile:
    order = "<" if data.startswith(b"II") else ">"
    layout = _BIG if b"+" in data[2:4] else _USUAL
    (at,) = struct.unpack_from(order + layout.place, data, layout.first)
    (count,) = struct.unpack_from(order + layout.count, data, at)
    at += struct.calcsize("=" + layout.count)
    if count > _MAX_ENTRIES:
        raise BadFile(f"has {count:,} tags; at most {_MAX_ENTRIES:,}. Save it anew.")
    kept, seen, numbers, xmp = [], set(), {_COMPRESSION: _NOT_COMPRESSED, _ORIENTATION: 1}, b""
    for entry_at in range(at, at + count * layout.entry_bytes, layout.entry_bytes):
        tag, kind, values = struct.unpack_from(order + "HH" + layout.place, data, entry_at)
        if tag in seen:
            continue  # decoders differ in which one they believe
        seen.add(tag)
        value_at = entry_at + layout.entry_bytes - struct.calcsize("=" + layout.place)
        if tag in _MAKE_PIXELS:
            if values > _MAX_VALUES and kind != 7:  # 7: bytes, which Pillow leaves as they are
                raise BadFile(f"has {values:,} values of tag {tag}; at most {_MAX_VALUES:,}. Save it anew.")
            if values * _VALUE_BYTES.get(kind, 0) > len(data):
                raise BadFile("is a damaged TIFF: it names more values than it holds.")
            kept.append(data[entry_at : entry_at + layout.entry_bytes])
        if tag in _SIZES and (kind not in _UNSIGNED or values != 1):
            raise BadFile("is a damaged TIFF: its sizes are no numbers.")
        if tag in _SIZES or (tag in (_COMPRESSION, _ORIENTATION) and kind in _UNSIGNED):
            (numbers[tag],) = struct.unpack_from(order + _UNSIGNED[kind], data, value_at)
        elif tag == _XMP:
            (place,) = struct.unpack_from(order + layout.place, data, value_at)
            xmp = data[place : place + values]
    width, height = numbers.get(_WIDTH, 0), numbers.get(_HEIGHT, 0)
    check_size(width, height, max_pixels)
    tiled = _whole(width, numbers.get(_TILE_WIDTH, 0)) * _whole(height, numbers.get(_TILE_HEIGHT, 0))
    if tiled > max_pixels:
        raise BadFile(f"has tiles of {tiled:,} pixels; this server takes at most {max_pixels:,}. Use smaller tiles.")
    directory = struct.pack(order + layout.count, len(kept)) + b"".join(kept) + struct.pack(order + layout.place, 0)
    padding = b"\0" * (len(data) % 2)
    header = data[: layout.first] + struct.pack(order + layout.place, len(data) + len(padding))
    rewritten = header + data[len(header) :] + padding + directory
    turned = numbers[_ORIENTATION] if 1 <= numbers[_ORIENTATION] <= 8 else orientation(b"", xmp)
    return ImageFile(
        rewritten,
        "TIFF",
        turned,
        scratch_pixels=tiled,
        scratch_bytes=_STRIP_BYTES,
        in_one_go=numbers[_COMPRESSION] != _NOT_COMPRESSED,
    )


def _whole(side: int, tile: int) -> int:
    """Return a side of all tiles that a side of the picture needs."""
    return -(-side // tile) * tile if tile else side
