"""Requests that wait for a place in a full queue stand in line: a freed place wakes the first, not all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import settings
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Engine, Terms
from striate_service.scheduling.job import Lane
from striate_service.techniques.costs import Cost
from striate_service.techniques.tasks.base import Task


class SmallTask(Task[None]):
    too_costly = ("images", "send fewer")

    def cost(self, model: Any, images: int) -> Cost:
        return Cost(forwards=1, memory_bytes=0, result_bytes=0)


def engine(home: Path, **changes: int) -> Engine:
    worker = SimpleNamespace(device_name="cpu")
    backend = SimpleNamespace(
        workers=[worker], models=(), batch_limit=lambda worker, model: None, is_lost=lambda model: False
    )
    return Engine(backend, settings(home, **changes), Metrics())  # type: ignore[arg-type]


async def test_a_freed_place_is_tried_for_by_the_first_in_line_only(tmp_path: Path) -> None:
    waiting = engine(tmp_path, max_queue=1)
    admit, tries = waiting._scheduler.admit, 0

    def counted(job: Any, now: float) -> None:
        nonlocal tries
        tries += 1
        admit(job, now)

    waiting._scheduler.admit = counted  # type: ignore[method-assign]
    order: list[int] = []

    async def hold(number: int) -> None:
        task: Any = SmallTask(model="")
        async with waiting._admission(task, 1, number, Terms(Lane.BATCH, caller=str(number), patient=True)):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(*(hold(number) for number in range(200))), 10)
    assert order == list(range(200))
    assert tries <= 2 * 200, "not 200 for each place"


async def test_one_callers_quota_holds_up_nobody_else(tmp_path: Path) -> None:
    waiting = engine(tmp_path, max_queue=3, max_queue_per_caller=1)
    task: Any = SmallTask(model="")

    def place(caller: str) -> Any:
        return waiting._admission(task, 1, None, Terms(Lane.BATCH, caller=caller, patient=True))

    async with place("ann"):
        second = place("ann")
        stuck = asyncio.ensure_future(second.__aenter__())
        await asyncio.sleep(0)
        bobs = place("bob")
        await asyncio.wait_for(bobs.__aenter__(), 5)
        assert not stuck.done()
        await bobs.__aexit__(None, None, None)
    await asyncio.wait_for(stuck, 5)
    await second.__aexit__(None, None, None)
