"""Bytes are shared in the order of asking, and whoever gives up takes none."""

from __future__ import annotations

import asyncio

from striate_service.explain.byte_budget import ByteBudget


async def test_whoever_finds_too_few_waits_and_is_not_overtaken() -> None:
    budget, order = ByteBudget(10), []

    async def take(name: str, count: int) -> None:
        await budget.take(count)
        order.append(name)

    await budget.take(6)
    waiting = [asyncio.create_task(take(*each)) for each in (("large", 8), ("small", 1))]
    await asyncio.sleep(0)
    assert order == []
    budget.give_back(6)
    await asyncio.gather(*waiting)
    assert order == ["large", "small"]


async def test_one_alone_may_take_more_than_there_is() -> None:
    budget = ByteBudget(10)
    await budget.take(1000)
    other = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not other.done()
    budget.give_back(1000)
    await other


async def test_a_cancelled_wait_takes_nothing_and_lets_the_next_in() -> None:
    budget = ByteBudget(10)
    await budget.take(6)
    large, small = asyncio.create_task(budget.take(8)), asyncio.create_task(budget.take(2))
    await asyncio.sleep(0)
    large.cancel()
    await small
    budget.give_back(6)
    budget.give_back(2)
    await asyncio.wait_for(budget.take(10), 1)


async def test_a_wait_that_is_cancelled_as_its_turn_comes_gives_back() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    waiting = asyncio.create_task(budget.take(10))
    await asyncio.sleep(0)
    budget.give_back(10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(budget.take(10), 1)
