"""Copy the next batch's images to a GPU while the present batch computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")


class CopyStream:
    """A GPU's stream for copies only."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no type there

    def copy(self, images: NDArray[Any]) -> EarlyCopy:
        """Begin to copy an array to the device."""
        pinned = torch.from_numpy(images).pin_memory()
        with torch.cuda.stream(self._stream):
            return EarlyCopy(pinned.to(self._device, non_blocking=True), self._stream.record_event())


@dataclass(frozen=True)
class EarlyCopy:
    """An array on its way to the device."""

    _tensor: Tensor
    _arrived: torch.cuda.Event

    def get(self) -> Tensor:
        """Return the tensor. The current stream waits for the copy; this process does not."""
        stream = torch.cuda.current_stream(self._tensor.device)
        stream.wait_event(self._arrived)
        self._tensor.record_stream(stream)
        return self._tensor


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """Yield what `items` yields, and raise what it raises; a thread prepares the next item meanwhile."""
    made: queue.Queue[T | BaseException] = queue.Queue(maxsize=1)

    def make() -> None:
        try:
            for item in items:
                made.put(item)
            made.put(StopIteration())
        except BaseException as error:
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    while not isinstance(item := made.get(), StopIteration):
        if isinstance(item, BaseException):
            raise item
        yield item
