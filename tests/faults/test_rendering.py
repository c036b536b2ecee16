"""Servers are killed while they render, and share a store; no icon is lost, damaged, or rendered twice."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3
import striate
import torch
from fragile import SIDE
from slow import factory
from striate_service.techniques.recipe import Fourier

STEPS = Fourier().steps
CHANNELS = 4  # of the slow network: one batch


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def metric(self, name: str) -> float:
        """Return the sum over a metric's lines."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as reply:
            lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", reply.read().decode(), re.MULTILINE)
        return sum(map(float, lines))

    def slices(self) -> float:
        return self.metric(r"striate_batch_duration_seconds_count{[^}]*task=\"render\"[^}]*}")


Serve = Callable[..., Running]


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket's URL, and the environment by which to reach it."""
    with s3.bucket() as found:
        yield found


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers of the slow network, whose slices are a step each; by default all on one store."""
    weights = tmp_path / "slow.pth"
    torch.save(factory().state_dict(), weights)
    running: list[Running] = []

    def start(home: str, **settings: str) -> Running:
        port, metrics_port = _free_port(), _free_port()
        model = (
            f'[{{"name": "slow", "architecture": "slow:factory", "weights": "{weights}", '
            f'"preprocessing": {{"resize": {SIDE}, "crop": {SIDE}}}}}]'
        )
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
            "STRIATE_MODELS": model,
            "STRIATE_HOME": str(tmp_path / home),
            "STRIATE_ICONS": str(tmp_path / "icons"),
            "STRIATE_DEVICES": '["cpu"]',
            "STRIATE_CPU_ENGINE": "torch",
            "STRIATE_COMPILE_AHEAD": "false",
            "STRIATE_MAX_BATCH_SIZE": "16",  # measuring it takes time
            "STRIATE_RENDER_SLICE": "0.001",
            "STRIATE_ICON_LEASE": "3",
            **settings,
        }
        command = [str(Path(sys.executable).with_name("striate")), "serve"]
        command += ["--port", str(port), "--metrics-port", str(metrics_port)]
        running.append(Running(subprocess.Popen(command, env=environment), port, metrics_port))
        with striate.Client(running[-1].target) as client:
            while not _answers(client):
                assert running[-1].process.poll() is None, "it has ended"
                time.sleep(0.1)
        return running[-1]

    yield start
    for server in running:
        server.process.kill()
        server.process.wait()


@pytest.mark.promise("a server is killed while it renders", "it goes on where it was; no icon is damaged")
def test_a_server_killed_while_it_renders_loses_no_more_than_a_slice(serve: Serve) -> None:
    first = serve("home")
    with striate.Client(first.target) as client:
        before = 0.0
        for update in client.render_icons("layer"):
            before = update.progress
            if before >= 0.6:
                break
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    second = serve("home")
    with striate.Client(second.target) as client:
        *_, last = client.render_icons("layer", icons=False)
        assert last.completed == CHANNELS
        # Twice what is left: killed between two icons' files, the batch goes on as two. Fewer than anew, all the same.
        assert second.slices() <= 2 * (STEPS * (1 - before) + 1) < STEPS
        assert second.metric("striate_icons_rendered_total") == CHANNELS
        *_, again = client.render_icons("layer")
        assert [neuron.icon.size for neuron in again.neurons] == [(128, 128)] * CHANNELS, "none is damaged"


@pytest.fixture(params=["folder", "bucket"])
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings of servers that share a store, with nothing in it."""
    if request.param == "folder":
        return {}
    url, environment = request.getfixturevalue("bucket")
    return {"STRIATE_ICONS": f"{url}/{tmp_path.name}", **environment}


def test_two_servers_on_one_store_render_each_icon_once(serve: Serve, shared_store: dict[str, str]) -> None:
    servers = [serve("one", **shared_store), serve("two", **shared_store)]
    found: list[list[bytes]] = []

    def ask(server: Running) -> None:
        with striate.Client(server.target) as client:
            neurons = [neuron for update in client.render_icons("layer") for neuron in update.neurons]
            found.append([neuron.icon_file.data for neuron in sorted(neurons, key=lambda each: each.channel)])

    callers = [threading.Thread(target=ask, args=(server,)) for server in servers]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert sum(server.metric("striate_icons_rendered_total") for server in servers) == CHANNELS
    assert found[0] == found[1]
    assert len(found[0]) == CHANNELS


@pytest.mark.promise("a server that shares a store is killed while it renders", "another takes over")
def test_what_a_killed_server_had_begun_is_taken_over_by_another(serve: Serve, shared_store: dict[str, str]) -> None:
    killed, other = serve("one", **shared_store), serve("two", **shared_store)
    with striate.Client(killed.target) as client:
        next(update for update in client.render_icons("layer") if update.progress > 0)
        killed.process.send_signal(signal.SIGKILL)
    with striate.Client(other.target) as client:
        *_, last = client.render_icons("layer", timeout=120)
    assert last.completed == CHANNELS
    assert other.metric("striate_icons_rendered_total") == CHANNELS


def test_detached_rendering_goes_on_without_its_caller(serve: Serve) -> None:
    server = serve("home", STRIATE_RENDER_BATCH_SIZE="1")
    with striate.Client(server.target) as client:
        next(update for update in client.render_icons("layer", detach=True) if update.progress > 0)
    end = time.monotonic() + 120
    while server.metric("striate_icons_rendered_total") < CHANNELS:
        assert time.monotonic() < end
        time.sleep(0.2)


def _answers(client: striate.Client) -> bool:
    try:
        return bool(client.models(timeout=1))
    except striate.StriateError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
