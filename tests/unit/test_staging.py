"""Work is prepared while earlier work is done, in its order, and no further ahead than one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from striate_service.device.staging import prefetched


def test_it_yields_the_same_in_the_same_order() -> None:
    assert list(prefetched(iter(range(100)))) == list(range(100))


def test_it_raises_what_ends_the_work_after_all_that_came_before() -> None:
    def until_closed() -> Iterator[int]:
        yield 1
        yield 2
        raise EOFError("closed")

    found = prefetched(until_closed())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(EOFError, match="closed"):
        next(found)


def test_the_next_is_made_while_one_is_used_and_no_more_than_is_wanted() -> None:
    made, making_third = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                making_third.set()
            yield number

    found = prefetched(items())
    assert next(found) == 0
    assert making_third.wait(10), "one waits to be used, and the next waits to be handed over"
    time.sleep(0.05)
    assert made == [0, 1, 2]
