"""The worker of one server dies, breaks and lacks memory, one test after the other; requests do not get lost."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import striate
from conftest import settings
from fragile import BREAKING, DEADLY, GREEDY, SECONDS, SLOW, image
from PIL import Image
from processes import wait_until, workers
from serving import model_setting
from striate_service.backends.local.supervision import _FIRST_BACKOFF
from striate_service.local import LocalServer

RESTARTS = "striate_worker_restarts_total"


@dataclass
class Watched:
    """A server in this process, with one worker."""

    server: LocalServer
    others: frozenset[int]
    """Workers of other servers."""

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum over a metric's lines that have certain labels."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.server.metrics_port}/metrics").read().decode()
        return sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*{labels}[^}}]*}})? (\S+)$", text, re.MULTILINE)))

    def worker(self) -> int:
        """Return the worker's process id, once it is ready."""
        wait_until(lambda: self.metric("striate_workers", 'state="idle"') == 1, 120)
        (pid,) = set(workers()) - self.others
        return pid

    def jobs(self, lane: str = "interactive") -> tuple[float, float]:
        """Return how many of the callers' jobs have begun, and how many wait."""
        labels = f'lane="{lane}"'
        return self.metric("striate_queue_wait_seconds_count", labels), self.metric("striate_queue_jobs", labels)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    others = frozenset(workers())
    home = tmp_path_factory.mktemp("home")
    own = {"devices": ("cpu",), "models": [model_setting(home)], "ping_interval": 0.5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        with LocalServer(settings(home, **own)) as server:
            yield Watched(server, others)


@pytest.fixture
def client(watched: Watched) -> Iterator[striate.Client]:
    with striate.Client(watched.server.target, timeout=300) as connected:
        yield connected


@pytest.mark.promise(
    "a worker dies while it is idle", "it is replaced at once", seen="nobody noticed until the next ping, 5 s later"
)
def test_a_worker_that_dies_idle_is_replaced(watched: Watched, client: striate.Client) -> None:
    pid, before = watched.worker(), watched.metric(RESTARTS)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: watched.metric(RESTARTS) == before + 1, 120)
    assert watched.worker() != pid
    assert watched.metric("striate_workers", 'state="down"') == 0
    assert client.activations(image(), "layer").predictions[0]


@pytest.mark.promise(
    "a worker lacks memory", "UNAVAILABLE; the worker stays", seen="INTERNAL: torch's error was not recognized"
)
def test_a_lack_of_memory_is_no_mistake(watched: Watched, client: striate.Client) -> None:
    first = watched.worker()
    with pytest.raises(striate.Unavailable, match="can't allocate memory"):
        client.activations(image(GREEDY), "layer")
    assert watched.worker() == first


@pytest.mark.parametrize("place", ["striate_service.monitoring.metrics.Metrics.observe_batch", "sending"])
@pytest.mark.promise("the server makes a mistake in a batch", "the batch ends INTERNAL; the next is answered")
def test_a_mistake_of_the_servers_own_costs_one_batch_and_no_worker(
    watched: Watched, client: striate.Client, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pid = watched.worker()
    client.activations(image(), "layer")
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise RuntimeError("a mistake")

        if place == "sending":
            broken.setattr("striate_service.backends.local.process.WorkerProcess.ask", fail)
        else:
            broken.setattr(place, fail)
        with pytest.raises(striate.InternalError):
            client.activations(image(), "layer")
    assert client.activations(image(), "layer")["layer"].shape[0] == 1
    if place != "sending":  # as pings are, so that the worker may have been replaced
        assert watched.worker() == pid


def test_large_pictures_do_not_wait_in_memory_for_their_turn(watched: Watched, client: striate.Client) -> None:
    """Only what the network sees of them does."""
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000), "red").save(file, "PNG")
    whole = 3000 * 3000 * 4  # bytes, as Pillow keeps it
    watched.worker()
    with ThreadPoolExecutor(17) as callers:
        client.activations(file.getvalue(), "layer")
        begun, _ = watched.jobs()
        slow = callers.submit(client.activations, image(SLOW), "layer")
        wait_until(lambda: watched.jobs() == (begun + 1, 0))
        Path("/proc/self/clear_refs").write_text("5")  # from now on the peak is counted anew
        before = peak_memory()
        answers = [callers.submit(client.activations, file.getvalue(), "layer") for _ in range(16)]
        assert all(answer.result() for answer in [slow, *answers])
        assert peak_memory() - before < 8 * whole, "two decode threads have one picture each, and what they make of it"


def peak_memory() -> int:
    """Return the most bytes that this process, which has the server, has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.promise("a worker is killed at work", "its requests are answered by another")
def test_a_worker_killed_at_work_costs_nobody_an_answer(watched: Watched, client: striate.Client) -> None:
    victim = watched.worker()
    with ThreadPoolExecutor(4) as callers:
        answers = [callers.submit(client.activations, image(SLOW), "layer") for _ in range(4)]
        time.sleep(SECONDS / 2)
        os.kill(victim, signal.SIGKILL)
        assert all(answer.result()["layer"].shape == (1, 4, 14, 14) for answer in answers)
    assert watched.worker() != victim


@pytest.mark.promise("a request that kills workers shares a batch with others", "it alone fails")
def test_a_deadly_request_fails_alone(watched: Watched, client: striate.Client) -> None:
    watched.worker()
    with ThreadPoolExecutor(6) as callers:
        first = callers.submit(client.activations, image(SLOW), "layer")  # the others gather behind it
        time.sleep(SECONDS / 2)
        harmless = [callers.submit(client.activations, image(), "layer") for _ in range(4)]
        deadly = callers.submit(client.activations, image(DEADLY), "layer")
        with pytest.raises(striate.InternalError, match="every worker that takes this request dies"):
            deadly.result()
        expected = first.result()["layer"].shape
        assert all(answer.result()["layer"].shape == expected for answer in harmless)
        assert client.activations(image(), "layer")["layer"].shape == expected


@pytest.mark.promise(
    "a GPU computes nothing more (illegal access, device assert, ECC error)",
    "its worker ends and is replaced",
    seen="every batch ended INTERNAL at once, so that this worker drew all traffic",
)
def test_a_worker_whose_device_is_broken_ends(watched: Watched, client: striate.Client) -> None:
    """It would answer every batch with an error at once, and so be free before all others."""
    first = watched.worker()
    with pytest.raises(striate.InternalError, match="every worker that takes this request dies"):
        client.activations(image(BREAKING), "layer")
    assert client.activations(image(), "layer").predictions
    assert watched.worker() != first


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), ValueError("a mistake")])
@pytest.mark.promise(
    "a worker dies while the server has no descriptors left, or makes a mistake",
    "it is replaced as soon as it can be",
    seen="supervision ended in silence: the worker was never replaced",
)
def test_a_worker_is_replaced_as_soon_as_the_machine_allows(
    watched: Watched, client: striate.Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pid, before = watched.worker(), watched.metric(RESTARTS)
    tries = []

    def none_left() -> tuple[socket.socket, socket.socket]:
        tries.append(error)
        raise error

    with monkeypatch.context() as poor:
        poor.setattr("striate_service.backends.local.process.socket.socketpair", none_left)
        blocks = _descriptors()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(tries) >= 2, 120)
        assert _descriptors() <= blocks
    wait_until(lambda: watched.metric(RESTARTS) == before + 1, 120)
    assert client.activations(image(), "layer").predictions


@pytest.mark.promise(
    "workers are killed again and again",
    "each is replaced at once; no shared memory and no process is left",
    seen="the pause before a new one doubled up to 30 s though all had answered",
)
def test_nothing_is_left_behind(watched: Watched, client: striate.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.worker()
    before = _descriptors()
    pauses: list[float] = []
    sleep = asyncio.sleep

    def noted_sleep(seconds: float) -> Coroutine[None, None, None]:
        pauses.append(seconds)
        return sleep(seconds)

    assert client.activations(image(), "layer").predictions
    monkeypatch.setattr("striate_service.backends.local.supervision.asyncio.sleep", noted_sleep)
    for _ in range(3):
        os.kill(watched.worker(), signal.SIGKILL)
        assert client.activations(image(), "layer").predictions
    watched.worker()
    assert pauses.count(_FIRST_BACKOFF) == 3
    assert _descriptors() <= before


def _descriptors() -> int:
    """Return how many blocks of shared memory this process has open."""
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum("memfd:striate" in link for link in links)
