"""Servers are killed while they render, and share a store; no icon is lost, damaged, or rendered twice."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import s3
import slow
import striate
from fragile import image
from serving import Running, model_setting, serving
from striate_service.techniques.recipe import Fourier

STEPS = Fourier().steps
CHANNELS = 4  # of the slow network: one batch


Serve = Callable[..., Running]


def slices(server: Running) -> float:
    """Return how many slices of rendering a server has run."""
    return server.metric(r"striate_batch_duration_seconds_count{[^}]*task=\"render\"[^}]*}")


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket's URL, and the environment by which to reach it."""
    with s3.bucket() as found:
        yield found


@contextmanager
def servers(folder: Path) -> Iterator[Serve]:
    """Start servers of the slow network, whose slices are a step each; by default all on one store."""
    model = model_setting(folder, slow.factory)
    with ExitStack() as running:

        def start(home: str, **variables: str) -> Running:
            own = {
                "OMP_NUM_THREADS": "1",
                "STRIATE_MODELS": json.dumps([model]),
                "STRIATE_ICONS": str(folder / "icons"),
                "STRIATE_RENDER_SLICE": "0.001",
                "STRIATE_RENDER_BATCH_SIZE": str(CHANNELS),
                "STRIATE_ICON_LEASE": "3",
            }
            return running.enter_context(serving(folder / home, **(own | variables)))

        yield start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with servers(tmp_path) as start:
        yield start


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
        assert slices(second) <= 2 * (STEPS * (1 - before) + 1) < STEPS
        assert second.metric("striate_icons_rendered_total") == CHANNELS
        *_, again = client.render_icons("layer")
        assert [neuron.icon.size for neuron in again.neurons] == [(128, 128)] * CHANNELS, "none is damaged"


@pytest.fixture(scope="module", params=["folder", "bucket"])
def pair(
    request: pytest.FixtureRequest, bucket: tuple[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Running]]:
    """Two servers that share a store, with nothing in it."""
    url, environment = bucket
    store = {"STRIATE_ICONS": f"{url}/icons", **environment} if request.param == "bucket" else {}
    with servers(tmp_path_factory.mktemp("pair")) as serve:
        yield serve("one", **store), serve("two", **store)


def test_two_servers_on_one_store_render_each_icon_once(pair: tuple[Running, Running]) -> None:
    found: list[list[bytes]] = []

    def ask(server: Running) -> None:
        with striate.Client(server.target) as client:
            updates = client.render_icons("layer", channels=[0, 1])
            neurons = [neuron for update in updates for neuron in update.neurons]
            found.append([neuron.icon_file.data for neuron in sorted(neurons, key=lambda each: each.channel)])

    callers = [threading.Thread(target=ask, args=(server,)) for server in pair]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert sum(server.metric("striate_icons_rendered_total") for server in pair) == 2
    assert found[0] == found[1]
    assert len(found[0]) == 2


@pytest.mark.promise("a server that shares a store is killed while it renders", "another takes over")
def test_what_a_killed_server_had_begun_is_taken_over_by_another(pair: tuple[Running, Running]) -> None:
    """The last test of the pair."""
    killed, other = pair
    before = other.metric("striate_icons_rendered_total")
    with striate.Client(killed.target) as client:
        next(update for update in client.render_icons("layer", channels=[2, 3]) if update.progress > 0)
        killed.process.send_signal(signal.SIGKILL)
    with striate.Client(other.target) as client:
        *_, last = client.render_icons("layer", channels=[2, 3], timeout=120)
    assert last.completed == 2
    assert other.metric("striate_icons_rendered_total") - before == 2


def test_who_calls_waits_for_no_more_than_a_step_of_rendering(serve: Serve) -> None:
    server = serve("home", STRIATE_RENDER_SLICE="600", STRIATE_DEVICES='["cpu"]')
    with striate.Client(server.target) as client:
        next(client.render_icons("layer", detach=True))
        end = time.monotonic() + 120
        while server.metric("striate_icons_pending") < CHANNELS:
            assert time.monotonic() < end
            time.sleep(0.05)
        for _ in range(3):
            assert client.activations(image(), "layer").predictions
        assert server.metric("striate_icons_rendered_total") == 0, "all of them are one slice, if nobody calls"
        assert slices(server) >= 2, "each call ends one"


def test_detached_rendering_goes_on_without_its_caller(serve: Serve) -> None:
    server = serve("home", STRIATE_RENDER_BATCH_SIZE="1")
    with striate.Client(server.target) as client:
        updates = client.render_icons("layer", channels=[0, 1], detach=True)
        next(update for update in updates if update.progress > 0)
    end = time.monotonic() + 120
    while server.metric("striate_icons_rendered_total") < 2:
        assert time.monotonic() < end
        time.sleep(0.2)
