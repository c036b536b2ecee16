"""Memory that the server and one worker share, so that arrays are never pickled.

A block is an anonymous file that both processes map. It has no name, so nothing is left behind however they end. It is
reused for each batch, and only grows. A value travels as a pickle whose arrays are in the block (PEP 574).
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from dataclasses import dataclass
from typing import Any

_ALIGNMENT = 64  # bytes: a cache line, which suits vector loads


@dataclass(frozen=True)
class Packed:
    """A pickled value whose arrays are in a block."""

    pickled: bytes
    places: tuple[tuple[int, int], ...]
    """Offset and size in bytes of each array, in the pickle's order."""


class BlockClosed(Exception):
    """The block was closed: its worker has died."""


class SharedBlock:
    """Memory for one direction: one process packs, then the other unpacks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    @property
    def is_closed(self) -> bool:
        return self.descriptor < 0

    @classmethod
    def create(cls) -> SharedBlock:
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("striate"))
        with tempfile.TemporaryFile() as file:  # macOS: already unlinked, so it has no name either
            return cls(os.dup(file.fileno()))

    def pack(self, value: object) -> Packed:
        """Pickle a value, and copy its contiguous arrays into the block, which grows where necessary.

        Raises:
            MemoryError: the machine has no memory for them.
            BlockClosed: the block is closed; its descriptor's number may belong to another file by now.
        """
        if self.is_closed:
            raise BlockClosed
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        end, places, raws = 0, [], [buffer.raw() for buffer in buffers]
        for raw in raws:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + raw.nbytes
            places.append((start, raw.nbytes))
        self._reserve(end)
        for raw, place in zip(raws, places, strict=True):
            self._view(place)[:] = raw
        return Packed(pickled, tuple(places))

    def unpack(self, packed: Packed, *, copy: bool) -> Any:
        """Return the value that was packed.

        Args:
            copy: copy the arrays, so that they outlive the next `pack`.
        """
        views = (self._view(place) for place in packed.places)
        return pickle.loads(packed.pickled, buffers=[bytearray(view) if copy else view for view in views])

    def close(self) -> None:
        """Close the block. Arrays that were unpacked stay valid."""
        if not self.is_closed:
            self._map = None
            os.close(self.descriptor)
            self.descriptor = -1

    def _view(self, place: tuple[int, int]) -> memoryview:
        start, size = place
        if self._map is None or start + size > len(self._map):
            length = os.fstat(self.descriptor).st_size
            self._map = mmap.mmap(self.descriptor, length) if length else None
        return memoryview(self._map)[start : start + size] if self._map else memoryview(bytearray(size))

    def _reserve(self, size: int) -> None:
        if size <= os.fstat(self.descriptor).st_size:
            return
        try:
            if hasattr(os, "posix_fallocate"):  # allocates pages now; a later failure would be a SIGBUS
                os.posix_fallocate(self.descriptor, 0, size)
            else:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise MemoryError(f"no room for {size / 2**20:.0f} MiB of shared memory: {error}") from error


@dataclass(frozen=True)
class Slot:
    """Memory for the inputs and the outputs of one batch at a time."""

    number: int
    inputs: SharedBlock
    outputs: SharedBlock

    @classmethod
    def create(cls, number: int) -> Slot:
        return cls(number, SharedBlock.create(), SharedBlock.create())

    @property
    def descriptors(self) -> tuple[int, int]:
        return self.inputs.descriptor, self.outputs.descriptor

    def close(self) -> None:
        self.inputs.close()
        self.outputs.close()
