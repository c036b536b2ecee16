"""What a caller sends, message by message: its bytes become messages, and each has to come within a time limit.

gRPC itself would wait for a message as long as the connection lives, so a call that is never sent would keep its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError

from striate_service.errors import InvalidArgument, NothingSent, RequestTooLarge


@dataclass(frozen=True)
class Received:
    """A message as it came."""

    message: Any
    """None: its bytes are no such message."""
    size: int
    """In bytes."""
    limit: int
    """Of the size. What is larger has not been parsed."""

    def read(self) -> Any:
        """Return the message.

        Raises:
            RequestTooLarge: it is larger than it may be.
            InvalidArgument: there is none.
        """
        if self.size > self.limit:
            raise RequestTooLarge(self.size, self.limit)
        if self.message is None:
            raise InvalidArgument("request", "is no message of this method that can be read; see the proto files.")
        return self.message


Messages: TypeAlias = AsyncIterator[Received]
"""What a caller sends, as gRPC brings it: also a single request."""


def receiver(deserialize: Callable[[bytes], Any] | None, limit: int) -> Callable[[bytes], Received]:
    """Return a deserializer that does not raise: gRPC would log it at length and end the call with INTERNAL."""

    def receive(data: bytes) -> Received:
        if len(data) > limit:
            return Received(None, len(data), limit)
        try:
            return Received(deserialize(data) if deserialize else data, len(data), limit)
        except DecodeError:
            return Received(None, len(data), limit)

    return receive


async def only(messages: Messages, patience: float) -> Received:
    """Return the message of a call that has one.

    Args:
        patience: seconds.

    Raises:
        InvalidArgument: the caller has ended without one.
        NothingSent: it has not come within `patience`.
    """
    received = await following(messages, patience)
    if received is None:
        raise InvalidArgument("request", "is missing.")
    return received


async def following(messages: Messages, patience: float) -> Received | None:
    """Return the next message; None where the caller has sent them all.

    Raises:
        NothingSent: it has not come within `patience` seconds.
    """
    reading = asyncio.create_task(_next(messages))
    # It is never cancelled, also where this call is: gRPC would free what its core still writes the message to. The
    # call's end ends it.
    reading.add_done_callback(_ignore_failure)
    await asyncio.wait({reading}, timeout=patience)
    if not reading.done():
        raise NothingSent(patience)
    return reading.result()


async def _next(messages: Messages) -> Received | None:
    return await anext(messages, None)


def _ignore_failure(reading: asyncio.Task[Received | None]) -> None:
    """Keep asyncio from telling the log of a message that nobody waits for any more."""
    if not reading.cancelled():
        reading.exception()
