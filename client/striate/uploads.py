"""A stream of images to the server: batches that fit into a message each, without images that fit into none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import grpc

_BATCH = 16  # images of a message: what the server runs together unless configured otherwise
_BATCH_SHARE = 4  # a batch may fill this part of the largest message, so that one more photograph never overfills it
_LARGEST_SHARE = 2  # one image may fill this part of the largest message


def too_large(length: int, max_message_bytes: int) -> str:
    """Return why no message can hold an image of so many bytes; empty: one can."""
    if length <= max_message_bytes // _LARGEST_SHARE:
        return ""
    return f"has {length / 2**20:.0f} MiB, too many for one message"


class _Message(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802 - protobuf's name


Request = TypeVar("Request")


class Upload(Generic[Request]):
    """The requests of one call that streams images, which images were skipped, and the error that ended it, if any.

    Args:
        start: the first request.
        images: with their names. They are read one by one, while requests are sent.
        request_of: makes a request of a batch of images.
        max_message_bytes: the largest request.
    """

    def __init__(
        self,
        start: Request,
        images: Iterable[tuple[str, _Message]],
        request_of: Callable[[Sequence[Any]], Request],
        max_message_bytes: int,
    ) -> None:
        self._start = start
        self._images = images
        self._request_of = request_of
        self._max_message_bytes = max_message_bytes
        self._reported = 0
        self._failure: Exception | None = None
        self.skipped: list[tuple[str, str]] = []
        """(name, why) of the images that no message can hold, so far."""

    def requests(self) -> Iterator[Request]:
        """Yield the first request, then batches of images, as fast as they are asked for."""
        try:
            yield self._start
            batch: list[_Message] = []
            size = 0
            for name, image in self._images:
                length = image.ByteSize()
                if problem := too_large(length, self._max_message_bytes):
                    self.skipped.append((name, problem))
                    continue
                if batch and (len(batch) == _BATCH or size + length > self._max_message_bytes // _BATCH_SHARE):
                    yield self._request_of(batch)
                    batch, size = [], 0
                batch.append(image)
                size += length
            if batch:
                yield self._request_of(batch)
        except Exception as error:  # gRPC would only say that there was an error
            self._failure = error
            raise

    def newly_skipped(self) -> list[tuple[str, str]]:
        """Return the images that have been skipped since this was last asked, and why."""
        new = self.skipped[self._reported :]
        self._reported += len(new)
        return new

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise the error that ended the upload on this side, instead of gRPC's, which says only that it ended."""
        try:
            yield
        except (grpc.RpcError, asyncio.CancelledError):  # the awaited channel cancels a call whose requests fail
            if self._failure is not None:
                raise self._failure from None
            raise
