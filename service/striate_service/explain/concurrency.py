"""Work on the items of a stream: several at a time, and no more taken in than are worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def run_concurrently(
    items: AsyncIterator[T],
    work: Callable[[T, Callable[[], None]], Awaitable[R]],
    window: int,
    *,
    without_place: int,
    in_order: bool,
) -> AsyncGenerator[R, None]:
    """Yield what `work` makes of each item, working on at most `window` at a time.

    The next item and the results are awaited together: a caller may wait for a result before it sends the next item.

    Args:
        work: is given an item, and a function to call when the item has got its place in the queue.
        without_place: no further item is taken in while so many are still without a place.
        in_order: yield results in the order of the items; else as they finish.
    """

    async def next_item() -> T | None:
        return await anext(items, None)

    placed: dict[asyncio.Future[R], asyncio.Event] = {}  # by what is worked on
    changed = asyncio.Event()

    def begin(item: T) -> None:
        has_place = asyncio.Event()

        def note() -> None:
            has_place.set()
            changed.set()

        placed[asyncio.ensure_future(work(item, note))] = has_place

    upcoming: asyncio.Task[T | None] | None = asyncio.create_task(next_item())
    wake: asyncio.Task[object] | None = None
    try:
        while upcoming or placed:
            running = list(placed)
            awaited: set[asyncio.Future[R] | asyncio.Task[T | None] | asyncio.Task[object]]
            awaited = set(running[:1] if in_order else running)
            if upcoming and len(running) < window:
                if sum(not has_place.is_set() for has_place in placed.values()) < without_place:
                    awaited.add(upcoming)
                else:
                    changed.clear()
                    wake = wake or asyncio.create_task(changed.wait())
                    awaited.add(wake)
            done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if wake in done:
                wake = None
            if upcoming in done:
                item = upcoming.result()
                upcoming = None
                if item is not None:
                    begin(item)
                    upcoming = asyncio.create_task(next_item())
            for future in running:
                if future in done:
                    del placed[future]
                    yield future.result()
    finally:
        for task in (*placed, upcoming, wake):
            if task:
                task.cancel()
