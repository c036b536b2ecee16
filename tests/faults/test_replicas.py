"""Several servers behind one client: calls are spread, and none is lost where a server is killed or restarted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import numpy as np
import pytest
import striate
from fragile import SLOW, image
from processes import wait_until
from serving import Running, serving

LARGE = np.random.default_rng(0).integers(0, 256, (1402, 1402, 3), np.uint8)
"""5.9 MB, which no encoding makes smaller."""
DOCKERFILE = (Path(__file__).parents[2] / "deploy" / "docker" / "Dockerfile").read_text().replace("\\\n", "")
CALLS = 2000 if os.environ.get("LONG") else 200


@contextlib.contextmanager
def two_servers(folder: Path, **variables: str) -> Iterator[list[Running]]:
    with serving(folder, **variables) as one, serving(folder, **variables) as other:
        yield [one, other]


def addresses(servers: Sequence[Running]) -> list[str]:
    return [server.target for server in servers]


def calls(server: Running) -> float:
    return server.metric("striate_requests_total")


def rests(server: Running) -> bool:
    """Whether a server that listens gets no calls."""
    before = calls(server)
    time.sleep(0.2)
    return calls(server) == before


def is_healthy(server: Running) -> bool:
    """Ask as the container does (deploy/docker/Dockerfile)."""
    (command,) = re.findall(r"^HEALTHCHECK.*? CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    check = json.loads(command)
    check[-1] = check[-1].replace("/9464", f"/{urlsplit(server.metrics).port}")
    return subprocess.run(check, capture_output=True).returncode == 0


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
    variables = {"STRIATE_DRAIN_DELAY": "3", "STRIATE_MAX_CONNECTION_AGE": "2"}
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
                assert is_healthy(server)
                server.process.terminate()
                wait_until(lambda server=server: not is_healthy(server))
                wait_until(lambda server=server: rests(server))  # while it would still answer
                assert server.process.wait(60) == 0
                again = stack.enter_context(serving(tmp_path, port=port, **variables))
                # Clients have found it: who rolls out waits a little, as docs/deployment.md says.
                wait_until(lambda again=again: calls(again) > 0)
        finally:
            ended.set()
        for future in asking:
            future.result()
    assert len(answered) >= CALLS
