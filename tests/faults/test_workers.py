"""Workers die, hang and are overrun; requests do not get lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import solitary
import striate
import torch
from conftest import needs_compiler, settings
from fragile import DEADLY, MANY, SECONDS, SIDE, SLOW, factory, image, many_classes
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import workers
from striate_service.backends.protocol import StartError
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.local import LocalServer

Serve = Callable[..., LocalServer]


def saved(make: Callable[[], torch.nn.Module], folder: Path, **more: object) -> ModelSettings:
    """Save a factory's weights, and return how to serve its network."""
    name = f"{make.__module__}.{make.__name__}"
    weights = folder / f"{name}.pth"
    torch.save(make().state_dict(), weights)
    return ModelSettings(
        name=name,
        architecture=f"{make.__module__}:{make.__name__}",
        weights=str(weights),
        preprocessing=PreprocessingSettings(resize=SIDE, crop=SIDE),
        **more,
    )


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start servers of the fragile network, with one worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    model = saved(factory, tmp_path)
    servers: list[LocalServer] = []

    def start(**changes: object) -> LocalServer:
        own = {"devices": ("cpu",), "models": [model], "ping_interval": 0.5, **changes}
        servers.append(LocalServer(settings(tmp_path, **own)).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def only_workers() -> list[int]:
    return [pid for pid in workers() if pid not in _others]


def only_worker() -> int:
    (pid,) = only_workers()
    return pid


_others: set[int] = set()


@pytest.fixture(autouse=True)
def _workers_of_other_tests() -> None:
    """Servers that live as long as the session have workers too."""
    _others.clear()
    _others.update(workers())


def test_what_a_worker_says_may_be_long(serve: Serve, tmp_path: Path) -> None:
    names = [f"class number {number} of very many, whose names fill more than a socket holds" for number in range(MANY)]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    model = saved(many_classes, tmp_path, classes=tmp_path / "classes.txt")
    with striate.Client(serve(models=[model]).target) as client:
        assert client.activations(image(), "layer").predictions[0]
        assert client.models()[0].classes[-1] == names[-1]


def test_nothing_is_compiled_while_a_network_is_exported(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export puts its own functions into Python's `math` for a while, and numba does not know them."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))  # with nothing in it
    monkeypatch.setenv("NUMBA_OPT", "0")  # it is to compile, no matter how well
    serve(models=[saved(solitary.factory, tmp_path)], cpu_engine="onnx", compile_ahead=True)
    assert list(tmp_path.rglob("*.onnx"))


@needs_compiler
def test_a_compiled_network_answers_as_the_network_does(
    serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for layers in ((), ("layer",)):
        server = serve(models=[saved(solitary.factory, tmp_path, compiled_layers=layers)])
        with striate.Client(server.target) as client:
            answers.append([client.activations([image()] * count, "layer") for count in (1, 3)])
    assert "not compiled" not in capfd.readouterr().err
    for plain, compiled in zip(*answers, strict=True):
        np.testing.assert_allclose(compiled["layer"], plain["layer"], rtol=1e-5, atol=1e-6)
        assert [each[0][0] for each in compiled.predictions] == [each[0][0] for each in plain.predictions]


def test_without_a_compiler_the_network_serves_as_it_is(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    server = serve(models=[saved(solitary.factory, tmp_path, compiled_layers=("layer",))])
    with striate.Client(server.target) as client:
        assert client.activations(image(), "layer").predictions[0]
    assert "runs as it is, not compiled" in capfd.readouterr().err


def test_a_layer_to_compile_that_there_is_not_is_named(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="compiled_layers names 'elsewhere'"):
        serve(models=[saved(solitary.factory, tmp_path, compiled_layers=("elsewhere",))])


@pytest.mark.promise(
    "requests reach a worker that has just died",
    "all are answered, and nothing is written to files that have its descriptors' numbers by then",
    seen="INTERNAL for 5 s though another worker was well; a label database was overwritten with a picture",
)
def test_an_idle_workers_death_costs_nobody_an_answer_and_no_file_its_content(serve: Serve, tmp_path: Path) -> None:
    """Batches are written through descriptors, whose numbers other files get once they are closed."""
    server = serve(ping_interval=60)
    with striate.Client(server.target, timeout=60) as client, contextlib.ExitStack() as stack:
        for number in range(3):
            client.activations(image(), "layer")
            os.kill(only_worker(), signal.SIGKILL)
            while_dead = wait_for_descriptors(before=_descriptors())
            files = [stack.enter_context((tmp_path / f"{number}-{i}").open("w+b")) for i in range(while_dead + 8)]
            for file in files:
                file.write(b"a database" * 1000)
                file.flush()
            with ThreadPoolExecutor(4) as callers:
                answers = [callers.submit(client.activations, image(), "layer") for _ in range(4)]
                assert all(answer.result()["layer"].shape == (1, 4, 14, 14) for answer in answers)
            assert {Path(file.name).read_bytes() for file in files} == {b"a database" * 1000}


def wait_for_descriptors(before: int) -> int:
    """Wait a moment for the server to close a dead worker's blocks, and return how many it had of them."""
    end = time.monotonic() + 1
    while _descriptors() >= before and time.monotonic() < end:
        time.sleep(0.001)
    return before


@pytest.mark.promise("a worker is killed with two batches in flight", "both are answered")
def test_a_worker_killed_with_two_batches_in_flight_costs_nobody_an_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("striate_service.scheduling.scheduler.SEND_EARLY_SECONDS", 60.0)
    server = serve(max_batch_size=1)
    with striate.Client(server.target) as client, ThreadPoolExecutor(4) as callers:
        client.activations(image(SLOW), "layer")  # what has not been measured is not sent ahead
        victim = only_worker()
        answers = [callers.submit(client.activations, image(SLOW), "layer") for _ in range(4)]
        time.sleep(SECONDS / 2)
        os.kill(victim, signal.SIGKILL)
        assert all(answer.result(timeout=60)["layer"].shape == (1, 4, 14, 14) for answer in answers)


@pytest.mark.promise("a request kills every worker that takes it", "who waits behind it is answered")
def test_who_waits_behind_a_deadly_request_is_answered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("striate_service.scheduling.scheduler.SEND_EARLY_SECONDS", 60.0)
    server = serve(max_batch_size=1)
    with striate.Client(server.target) as client, ThreadPoolExecutor(4) as callers:
        client.activations(image(SLOW), "layer")
        deadly = callers.submit(client.activations, image(DEADLY), "layer")
        behind = [callers.submit(client.activations, image(), "layer") for _ in range(3)]
        with pytest.raises(striate.InternalError, match="every worker that takes this request dies"):
            deadly.result(timeout=120)
        assert all(answer.result(timeout=60)["layer"].shape == (1, 4, 14, 14) for answer in behind)


@pytest.mark.promise(
    "a worker hangs",
    "it is replaced after ten times what its batch should take; the request is answered",
    seen="its calls waited for 120 s",
)
def test_a_worker_that_hangs_is_replaced(serve: Serve) -> None:
    server = serve(batch_timeout=2)
    with striate.Client(server.target) as client:
        stopped = only_worker()
        os.kill(stopped, signal.SIGSTOP)
        assert client.activations(image(), "layer", timeout=60)["layer"].shape[0] == 1
        assert only_worker() != stopped


@pytest.mark.promise(
    "no worker can be started (its weights are gone)",
    "NOT_SERVING, requests end UNAVAILABLE at once, failed starts are counted; SERVING as soon as one starts",
    seen="health said SERVING; requests without a deadline waited for ever",
)
def test_health_tells_whether_any_worker_can_answer(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (weights,) = tmp_path.glob("*.pth")
    with striate.Client(server.target, timeout=60) as client, grpc.insecure_channel(server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        states = health.Watch(health_pb2.HealthCheckRequest())
        next(states)
        weights.rename(tmp_path / "away")
        os.kill(only_worker(), signal.SIGKILL)
        with pytest.raises(striate.Unavailable, match="no worker can be started now"):
            client.activations(image(), "layer")
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
        assert 'striate_worker_failed_starts_total{device="cpu"} 0.0' not in metrics
        (tmp_path / "away").rename(weights)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        assert client.activations(image(), "layer").predictions


@pytest.mark.promise(
    "the label database cannot be opened at the start", "no worker is left behind", seen="workers were left behind"
)
def test_the_workers_of_a_server_that_cannot_start_end(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the database cannot be used"):
        serve(database=f"sqlite:///{tmp_path}/no/such/folder/labels.db")
    assert not only_workers()


def wait_for(server: LocalServer, *, begun: int, waiting: int) -> None:
    """Wait until the server says that so many of its callers' jobs have begun, and so many wait."""
    wait_for_metrics(
        server,
        f'striate_queue_wait_seconds_count{{lane="interactive"}} {begun:.1f}',
        f'striate_queue_jobs{{lane="interactive"}} {waiting:.1f}',
    )


def wait_for_metrics(server: LocalServer, *lines: str) -> None:
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    end = time.monotonic() + 60
    while missing := set(lines) - set(urllib.request.urlopen(url).read().decode().splitlines()):
        assert time.monotonic() < end, f"it never said {missing}"
        time.sleep(0.01)


@pytest.mark.promise("more requests than the queue holds", "RESOURCE_EXHAUSTED at once, with when to come again")
def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(serve: Serve) -> None:
    server = serve(max_queue=2, max_batch_size=1)
    with striate.Client(server.target) as client, ThreadPoolExecutor(8) as callers:
        accepted = [callers.submit(client.activations, image(SLOW), "layer") for _ in range(3)]
        wait_for(server, begun=1, waiting=2)
        with pytest.raises(striate.ResourceExhausted) as refused:
            client.activations(image(), "layer")
        assert refused.value.retry_after is not None
        assert refused.value.retry_after > 0
        wait_for_metrics(server, 'striate_refusals_total{method="Activations",reason="queue"} 1.0')
        assert all(answer.result().predictions for answer in accepted)


@pytest.mark.promise("one caller sends more than its quota", "others are answered")
def test_one_callers_quota_leaves_room_for_others(serve: Serve) -> None:
    server = serve(max_queue_per_caller=1, max_batch_size=1)
    with (
        striate.Client(server.target, caller="greedy") as greedy,
        striate.Client(server.target, caller="modest") as modest,
        ThreadPoolExecutor(8) as callers,
    ):
        running = callers.submit(greedy.activations, image(SLOW), "layer")
        wait_for(server, begun=1, waiting=0)
        waiting = callers.submit(greedy.activations, image(SLOW), "layer")
        wait_for(server, begun=1, waiting=1)
        with pytest.raises(striate.QuotaExceeded):
            greedy.activations(image(), "layer")
        assert modest.activations(image(), "layer").predictions
        assert running.result().predictions
        assert waiting.result().predictions


@pytest.mark.promise("a caller gives up", "its place is free")
def test_a_caller_who_gives_up_frees_the_place(serve: Serve) -> None:
    server = serve(max_queue=1, max_batch_size=1)
    with striate.Client(server.target) as client, ThreadPoolExecutor(2) as callers:
        running = callers.submit(client.activations, image(SLOW), "layer")
        wait_for(server, begun=1, waiting=0)
        with pytest.raises(striate.DeadlineExceeded):
            client.activations(image(), "layer", timeout=0.1)  # waits in the only place, then leaves
        assert client.activations(image(), "layer").predictions
        assert running.result().predictions


def _descriptors() -> int:
    """Return how many blocks of shared memory this process has open."""
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum("memfd:striate" in link for link in links)
