"""A lane's callers share it fairly, however many names they come under."""

from __future__ import annotations

from striate_service.scheduling.fair_queue import MOST_GONE, FairQueue
from striate_service.scheduling.job import Job


def take(queue: FairQueue, size: int = 1) -> Job:
    first = queue.first(lambda key: size)
    assert first
    (taken,) = queue.take(first, size)
    return taken


def test_a_new_name_for_each_request_costs_no_memory() -> None:
    queue = FairQueue()
    queue.add(Job("a", 1, caller="always there"))
    for number in range(5000):
        queue.add(Job("a", 1, caller=f"caller {number}"))
        take(queue)
    assert queue.remembered <= MOST_GONE + 2


def test_who_leaves_and_returns_is_still_behind_those_it_overtook() -> None:
    queue = FairQueue()
    queue.add(Job("a", 8, caller="large"))
    queue.add(Job("a", 1, caller="small"))
    assert take(queue, 8).caller == "large"
    queue.add(Job("a", 1, caller="large"))
    queue.add(Job("a", 1, caller="small"))
    assert [take(queue).caller for _ in range(3)] == ["small", "small", "large"]
