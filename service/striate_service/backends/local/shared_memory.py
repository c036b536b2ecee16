"""Memory that the server and one worker share, so that nothing large is ever pickled.

A block is an anonymous file that both map. It has no name, so nothing is left behind however the processes end; it is
reused from batch to batch and only ever grows.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_ALIGNMENT = 64  # bytes: a cache line, and what vector loads like


@dataclass(frozen=True)
class ArrayRef:
    """Where an array lies in a block."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize


class SharedBlock:
    """One direction of a batch's way. One side writes, the other reads; they take turns."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> SharedBlock:
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("striate"))
        with tempfile.TemporaryFile() as file:  # macOS: already unlinked, so as nameless as a memfd
            return cls(os.dup(file.fileno()))

    def write(self, items: Sequence[Arrays]) -> tuple[dict[str, ArrayRef], ...]:
        """Copy arrays into the block, growing it if need be, and return where they lie.

        Raises:
            MemoryError: where the machine has no room for them.
        """
        end = 0
        layout: list[dict[str, ArrayRef]] = []
        for arrays in items:
            refs = {}
            for name, array in arrays.items():
                refs[name] = ArrayRef(-(-end // _ALIGNMENT) * _ALIGNMENT, array.shape, array.dtype.str)
                end = refs[name].end
            layout.append(refs)
        self._reserve(end)
        for arrays, refs in zip(items, layout, strict=True):
            for name, array in arrays.items():
                self.view(refs[name])[...] = array
        return tuple(layout)

    def view(self, ref: ArrayRef) -> NDArray[np.generic]:
        """Return an array in place. It is good until the next `write`."""
        if self._map is None or ref.end > len(self._map):
            size = os.fstat(self.descriptor).st_size
            self._map = mmap.mmap(self.descriptor, size) if size else None
        if self._map is None:
            return np.empty(ref.shape, ref.dtype)
        return np.ndarray(ref.shape, ref.dtype, self._map, ref.offset)

    def close(self) -> None:
        """Give the block up. Views keep what they show until they are gone themselves."""
        self._map = None
        os.close(self.descriptor)

    def _reserve(self, size: int) -> None:
        if size <= os.fstat(self.descriptor).st_size:
            return
        try:
            if hasattr(os, "posix_fallocate"):  # takes the pages now: later there would be no error but SIGBUS
                os.posix_fallocate(self.descriptor, 0, size)
            else:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise MemoryError(f"no room for {size / 2**20:.0f} MiB of shared memory: {error}") from error


@dataclass(frozen=True)
class Slot:
    """Memory for one batch at a time, there and back."""

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
