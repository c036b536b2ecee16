"""Images on their way to the server: as many a message as it takes at a time, and none that no message can hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import grpc

_BATCH = 16  # images of a message: what the server runs together unless configured otherwise
_BATCH_SHARE = 4  # of the largest message, that a batch of files may fill: one photograph more never overfills it
_LARGEST_SHARE = 2  # of the largest message, that one image may fill


class _Message(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802 - protobuf's name


Image = TypeVar("Image", bound=_Message)
Request = TypeVar("Request")


class Upload:
    """What the sender's side knows of a stream of images: which were never sent, and why it broke off."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._skipped: list[tuple[str, str]] = []
        self._failure: Exception | None = None

    def requests(
        self, start: Request, images: Iterable[tuple[str, Image]], request_of: Callable[[Sequence[Image]], Request]
    ) -> Iterator[Request]:
        """Yield the first request, then images as they are asked for.

        Args:
            images: with their names. They are read here, so what is wrong with one is kept for `errors`.
            request_of: makes a request of some.
        """
        try:
            yield start
            batch: list[Image] = []
            size = 0
            for name, image in images:
                length = image.ByteSize()
                if length > self._max_message_bytes // _LARGEST_SHARE:
                    self._skipped.append((name, f"has {length / 2**20:.0f} MiB, too many for one message"))
                    continue
                if batch and (len(batch) == _BATCH or size + length > self._max_message_bytes // _BATCH_SHARE):
                    yield request_of(batch)
                    batch, size = [], 0
                batch.append(image)
                size += length
            if batch:
                yield request_of(batch)
        except Exception as error:  # gRPC would say no more than that there was one
            self._failure = error
            raise

    def skipped(self) -> list[tuple[str, str]]:
        """Return the images that were not sent since the last time, and why."""
        skipped, self._skipped = self._skipped, []
        return skipped

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what went wrong on this side, instead of saying that the call broke off."""
        try:
            yield
        except grpc.RpcError:
            if self._failure is not None:
                raise self._failure from None
            raise
