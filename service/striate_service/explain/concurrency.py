"""Work on the items of a stream: several at a time, and no more taken in than are worked on.

The next item and the results are awaited together: a caller may wait for a result before it sends the next item.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], window: int) -> AsyncGenerator[R, None]:
    """Yield what `work` makes of each item, in the items' order, working on at most `window` at a time."""

    async def next_item() -> T | None:
        return await anext(items, None)

    running: deque[asyncio.Future[R]] = deque()
    upcoming: asyncio.Task[T | None] | None = asyncio.create_task(next_item())
    try:
        while upcoming or running:
            awaited: set[asyncio.Future[R] | asyncio.Task[T | None]] = {running[0]} if running else set()
            if upcoming and len(running) < window:
                awaited.add(upcoming)
            done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if upcoming in done:
                item = upcoming.result()
                upcoming = None if item is None else asyncio.create_task(next_item())
                if item is not None:
                    running.append(asyncio.ensure_future(work(item)))
            if running and running[0] in done:
                yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
        if upcoming:
            upcoming.cancel()


async def as_finished(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], window: int
) -> AsyncGenerator[R, None]:
    """Yield what `work` makes of each item as soon as it is finished, working on at most `window` at a time."""

    async def next_item() -> T | None:
        return await anext(items, None)

    running: list[asyncio.Future[R]] = []
    upcoming: asyncio.Task[T | None] | None = asyncio.create_task(next_item())
    try:
        while upcoming or running:
            awaited: set[asyncio.Future[R] | asyncio.Task[T | None]] = set(running)
            if upcoming and len(running) < window:
                awaited.add(upcoming)
            done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if upcoming in done:
                item = upcoming.result()
                upcoming = None if item is None else asyncio.create_task(next_item())
                if item is not None:
                    running.append(asyncio.ensure_future(work(item)))
            finished = [future for future in running if future in done]
            running = [future for future in running if future not in done]
            for future in finished:
                yield future.result()
    finally:
        for future in running:
            future.cancel()
        if upcoming:
            upcoming.cancel()
