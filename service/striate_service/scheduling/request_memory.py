"""The bytes of requests that are being answered, over all callers: what comes beyond the limit is refused, not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from striate_service.errors import TooManyBytes

_STREAMS_SHARE = 0.5  # of the limit, from which on streams wait: who waits for one answer is not refused for a pipeline


class RequestMemory:
    def __init__(self, limit: int) -> None:
        """Count from 0.

        Args:
            limit: bytes.
        """
        self._limit = limit
        self._freed = asyncio.Event()
        self.held = 0
        """Bytes."""

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count a request until it is answered. A request that is alone is taken whatever its size.

        Raises:
            TooManyBytes: the requests under way leave no room for it.
        """
        if self.held and self.held + size > self._limit:
            raise TooManyBytes(self.held, self._limit)
        with self.hold_anyway(size):
            yield

    @contextmanager
    def hold_anyway(self, size: int) -> Iterator[None]:
        """Count a message of a stream, which `room_for_streams` let in, until it is answered."""
        self.held += size
        try:
            yield
        finally:
            self.held -= size
            self._freed.set()

    async def room_for_streams(self) -> None:
        """Wait until a stream may take its next message in."""
        while self.held > _STREAMS_SHARE * self._limit:
            self._freed.clear()
            await self._freed.wait()
