"""A stream's items are worked on a few at a time, and few are taken in before they have a place in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from striate_service.explain.concurrency import run_concurrently


async def count(most: int, taken: list[int]) -> AsyncIterator[int]:
    for number in range(most):
        taken.append(number)
        yield number


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_no_more_are_taken_in_than_may_be_without_a_place() -> None:
    taken: list[int] = []
    places: list[Callable[[], None]] = []
    go = asyncio.Event()

    async def work(item: int, placed: Callable[[], None]) -> int:
        places.append(placed)
        await go.wait()
        return item

    results = run_concurrently(count(10, taken), work, 5, without_place=2, in_order=False)
    first = asyncio.ensure_future(anext(results))
    await settle()
    assert (len(places), taken) == (2, [0, 1, 2]), "two are worked on, and the next one has come"
    places[0]()
    await settle()
    assert len(places) == 3
    for placed in places:
        placed()
    await settle()
    assert len(places) == 5, "the window"
    go.set()
    assert sorted([await first, *[each async for each in results]]) == list(range(10))


async def test_what_ends_without_a_place_makes_room_too() -> None:
    async def work(item: int, placed: Callable[[], None]) -> int:
        return item

    results = run_concurrently(count(20, []), work, 4, without_place=1, in_order=True)
    assert [each async for each in results] == list(range(20))
