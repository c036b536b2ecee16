"""A number of bytes that tasks share. Whoever finds too few waits for its turn."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """Bytes are taken in the order of asking, so that whoever wants many is not overtaken for ever."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> None:
        """Wait until so many bytes are free, or all are: more than there are may be taken by one alone."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(count)
            else:
                turn.cancel()
                self._serve()
            raise

    def give_back(self, count: int) -> None:
        self._taken -= count
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            count, turn = self._waiting[0]
            if not turn.cancelled():
                if self._taken and self._taken + count > self._limit:
                    return
                self._taken += count
                turn.set_result(None)
            self._waiting.popleft()
