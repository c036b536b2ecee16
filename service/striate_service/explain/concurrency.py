"""Work on the items of a stream: several at a time, and no more taken in than are worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def run_concurrently(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], window: int, *, in_order: bool
) -> AsyncGenerator[R, None]:
    """Yield what `work` makes of each item, working on at most `window` at a time.

    The next item and the results are awaited together: a caller may wait for a result before it sends the next item.

    Args:
        in_order: yield results in the order of the items; else as they finish.
    """

    async def next_item() -> T | None:
        return await anext(items, None)

    running: list[asyncio.Future[R]] = []
    upcoming: asyncio.Task[T | None] | None = asyncio.create_task(next_item())
    try:
        while upcoming or running:
            awaited: set[asyncio.Future[R] | asyncio.Task[T | None]] = set(running[:1] if in_order else running)
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
