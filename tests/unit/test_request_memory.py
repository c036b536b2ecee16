"""What requests hold is bounded: one answer's request is refused beyond the limit, a stream waits before it."""

from __future__ import annotations

import asyncio

import pytest
from striate_service.errors import TooManyBytes
from striate_service.scheduling.request_memory import RequestMemory


def test_a_request_beyond_the_limit_is_refused_and_taken_when_another_is_answered() -> None:
    memory = RequestMemory(100)
    with memory.hold(60):
        with pytest.raises(TooManyBytes), memory.hold(50):
            pass
        with memory.hold(40):
            assert memory.held == 100
    with memory.hold(50):
        assert memory.held == 50


def test_a_request_that_is_alone_is_taken_whatever_its_size() -> None:
    memory = RequestMemory(100)
    with memory.hold(200):
        assert memory.held == 200


async def test_a_stream_waits_while_half_is_held() -> None:
    memory = RequestMemory(100)
    with memory.hold_anyway(51):
        waiting = asyncio.create_task(memory.room_for_streams())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
