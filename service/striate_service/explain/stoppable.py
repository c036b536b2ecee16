"""Work on large pictures that ends once nobody wants them: decoders read small blocks, the rest goes strip by strip."""

from __future__ import annotations

import bisect
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from PIL import Image as Pillow

BLOCK_BYTES = 2**14
"""What a decoder is given at a time. Deflate makes 16 MB of these at most, which take 0.06 s."""
_STRIP_PIXELS = 2**20
"""What is done at a time; some 10 ms of work."""

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""By EXIF's orientation."""
_LAST_ROW_FIRST = frozenset({3, 4, 6, 7})
SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations whose stored rows are columns of the picture."""


class Stopped(Exception):
    """Nobody wants the picture any more."""


class Stop:
    """One thread's word to another that nobody wants its picture any more."""

    def __init__(self) -> None:
        self._is_set = False
        self._end: Callable[[], object] | None = None

    def set(self) -> None:
        self._is_set = True
        if end := self._end:
            end()

    def check(self) -> None:
        """Raise `Stopped` if it is set."""
        if self._is_set:
            raise Stopped

    @contextmanager
    def calling(self, end: Callable[[], object]) -> Iterator[None]:
        """Have `set` call a function meanwhile; it is called at once if set already."""
        self._end = end
        if self._is_set:
            end()
        try:
            yield
        finally:
            self._end = None


class PictureFile(io.BytesIO):
    """A file in memory. Once it has a `stop`, a decoder can be stopped whenever it reads on."""

    def __init__(self, data: bytes, block_ends: Sequence[int] = ()) -> None:
        """
        Args:
            block_ends: where reading pauses in any case, in ascending order.
        """
        super().__init__(data)
        self.stop: Stop | None = None
        self._block_ends = block_ends

    def read(self, size: int | None = -1, /) -> bytes:
        if self.stop:
            self.stop.check()
            at = self.tell()
            following = bisect.bisect_right(self._block_ends, at)
            if size and size > 0 and following < len(self._block_ends):
                size = min(size, self._block_ends[following] - at)
        return super().read(size)


def strips(size: tuple[int, int], stop: Stop) -> Iterator[tuple[int, int, int, int]]:
    """Yield the boxes of all strips of a picture, from the top, as long as it is wanted."""
    width, height = size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        stop.check()
        yield 0, top, width, min(height, top + rows)


def is_one_strip(picture: Pillow.Image) -> bool:
    return picture.width * picture.height <= _STRIP_PIXELS


def turn(picture: Pillow.Image, orientation: int, stop: Stop) -> Pillow.Image:
    """Return a picture upright, by EXIF's orientation."""
    if orientation not in _TURNS:
        return picture
    if is_one_strip(picture):
        return picture.transpose(_TURNS[orientation])
    sideways = orientation in SIDEWAYS
    turned = _empty(picture.mode, picture.size[::-1] if sideways else picture.size)
    for strip in strips(picture.size, stop):
        place = picture.height - strip[3] if orientation in _LAST_ROW_FIRST else strip[1]
        turned.paste(picture.crop(strip).transpose(_TURNS[orientation]), (place, 0) if sideways else (0, place))
    return turned


def resize(
    picture: Pillow.Image,
    size: tuple[int, int],
    resampling: Pillow.Resampling,
    box: tuple[float, float, float, float],
    stop: Stop,
) -> Pillow.Image:
    """Return what Pillow's `resize` does, to the byte: it too goes over the rows first, and then over the columns."""
    if is_one_strip(picture):
        return picture.resize(size, resampling, box)
    left, top, right, bottom = box
    narrow = _empty(picture.mode, (size[0], picture.height))
    for strip in strips(picture.size, stop):
        rows = picture.crop(strip)
        narrow.paste(rows.resize((size[0], rows.height), resampling, (left, 0, right, rows.height)), (0, strip[1]))
    stop.check()
    return narrow.resize(size, resampling, (0, top, size[0], bottom))


def _empty(mode: str, size: tuple[int, int]) -> Pillow.Image:
    return Pillow.new(mode, size, None)  # without filling it, which takes a third of a second for the largest
