"""Calls under way, of which there may be so many at a time; those are included that are still being sent."""

from __future__ import annotations

import asyncio

from striate_service.errors import TooManyCalls


class CallsUnderWay:
    """Counts calls until they end.

    Health checks and reflection have places of their own, as many: a busy server is not a sick one, and who watches
    its health takes nobody's place.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: dict[bool, set[asyncio.Task[object]]] = {True: set(), False: set()}
        """gRPC's tasks, one a call, by whether they are calls of the service itself."""

    def begin(self, path: str) -> None:
        """Count the present task's call until it has ended, also where its request never arrives.

        Args:
            path: the method's, "/package.Service/Method".

        Raises:
            TooManyCalls: there are as many as there may be.
        """
        calls = self._calls[path.startswith("/striate.")]
        if len(calls) >= self._limit:
            raise TooManyCalls(self._limit)
        call = asyncio.current_task()
        assert call, "gRPC runs each call in a task"
        calls.add(call)
        call.add_done_callback(calls.discard)
