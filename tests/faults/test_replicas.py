"""Several servers behind one client: calls are spread, and none is lost where a server is killed or restarted."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import striate
from fragile import SLOW, image
from processes import wait_until
from serving import Running, serving

LARGE = np.random.default_rng(0).integers(0, 256, (1402, 1402, 3), np.uint8)
"""5.9 MB, which no encoding makes smaller."""
CALLS = 2000 if os.environ.get("LONG") else 200


@contextlib.contextmanager
def two_servers(folder: Path, **variables: str) -> Iterator[list[Running]]:
    with serving(folder, **variables) as one, serving(folder, **variables) as other:
        yield [one, other]


def addresses(servers: Sequence[Running]) -> list[str]:
    return [server.target for server in servers]


def calls(server: Running) -> float:
    return server.metric("striate_requests_total")


@pytest.mark.promise(
    "a server of several is killed at work",
    "calls are spread evenly; those that the killed server had are answered by another, with photographs too",
    seen="40 of 40 calls went to one address, and none with over 256 KB was sent again",
)
def test_calls_are_spread_and_outlive_a_kill(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as threads:
        one, other = stack.enter_context(two_servers(tmp_path))
        client = stack.enter_context(striate.Client(addresses([one, other])))
        wait_until(lambda: bool(client.models()) and min(calls(one), calls(other)) > 0)  # both are connected
        before = calls(one), calls(other)
        for _ in range(40):
            client.activations([image()], layers=["layer"])
        assert (calls(one) - before[0], calls(other) - before[1]) == (20, 20)

        def explained(*images: np.ndarray) -> Future[object]:
            return threads.submit(client.activations, images, layers=["layer"])

        asked = [explained(image(SLOW)) for _ in range(2)]
        in_progress = "striate_requests_in_progress"
        wait_until(lambda: one.metric(in_progress) == other.metric(in_progress) == 1)
        asked += [explained(LARGE) for _ in range(2)]
        wait_until(lambda: one.metric(in_progress) == 2 or asked[0].done())
        one.process.send_signal(signal.SIGKILL)
        assert all(future.result() for future in asked)
        assert all(client.activations([LARGE], layers=["layer"]) for _ in range(4))


@pytest.mark.promise(
    "several servers are restarted one after the other, and connections grow old, under load",
    "no call fails",
)
def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    variables = {"STRIATE_DRAIN_DELAY": "1", "STRIATE_MAX_CONNECTION_AGE": "2"}
    ended, answered = Event(), []
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        servers = list(stack.enter_context(two_servers(tmp_path, **variables)))
        client = stack.enter_context(striate.Client(addresses(servers)))

        def ask() -> None:
            while not ended.is_set() or len(answered) < CALLS:
                answered.append(client.activations([image()], layers=["layer"]))

        asking = [threads.submit(ask) for _ in range(4)]
        try:
            for server in servers:
                port = int(server.target.rpartition(":")[2])
                server.process.terminate()
                assert server.process.wait(60) == 0
                stack.enter_context(serving(tmp_path, port=port, **variables))
        finally:
            ended.set()
        for future in asking:
            future.result()
    assert len(answered) >= CALLS
