"""Callers connect by the thousand, fall silent, vanish, or do not read; others are answered, and nothing is kept."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest
import striate
from conftest import settings
from fragile import MANY, SECONDS, SIDE, SLOW, image, many_classes
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from processes import wait_until
from raw_http2 import DATA, GOAWAY, HEADERS, PING, RawClient
from serving import STRIATE, Running, model_setting, serving
from striate.v1 import common_pb2, models_pb2, models_pb2_grpc
from striate.v1 import interpretability_pb2 as pb
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.local import LocalServer
from striate_service.servicers import connections

REPLY_BYTES = 2**24
MOST_MEMORY = 500 * 2**20
CONNECTIONS = int(os.environ.get("CONNECTIONS", "2000"))
LIST_MODELS = "/striate.v1.ModelService/ListModels"
KINDS = (
    LIST_MODELS,
    "/striate.v1.InterpretabilityService/WatchIcons",
    "/striate.v1.InterpretabilityService/StreamActivations",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
"""A method of each kind: with or without a stream of requests, of replies, of the service itself or beside it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose list of models is large, 1.7 MB, and which keeps few of such lists for slow readers."""
    home = tmp_path_factory.mktemp("home")
    names = "\n".join(f"class number {number} of very many, whose names make replies long" for number in range(MANY))
    models = [model_setting(home), model_setting(home, many_classes, names)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, CONNECTIONS + 1000)), hard))  # the server's too
    with serving(
        home, STRIATE_MODELS=json.dumps(models), STRIATE_MAX_REPLY_BYTES_IN_PROGRESS=str(REPLY_BYTES)
    ) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.promise(
    "2,000 connections at once, each with a request",
    "each is answered, or refused with when to come again; memory and descriptors come back",
)
async def test_thousands_of_connections(server: Running) -> None:
    """As many as the limit of descriptors allows, if that is fewer."""
    count = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
    request = activations()

    async def ask(channel: grpc.aio.Channel) -> str:
        try:
            stub = InterpretabilityServiceStub(channel)
            reply = await stub.Activations(request, timeout=120, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return "refused" if retry_after(error) else f"{error.code()}: {error.details()}"
        return "answered" if reply.predictions else "empty"

    async def round_of_calls() -> Counter[str]:
        channels = [grpc.aio.insecure_channel(server.target, own) for _ in range(count)]
        try:
            ends = Counter(await asyncio.gather(*map(ask, channels)))
            assert server.descriptors() > count
            return ends
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))

    descriptors = server.descriptors()
    ends = await round_of_calls()
    assert ends["answered"] + ends["refused"] == count, ends
    assert ends["answered"] > 0
    wait_until(lambda: server.descriptors() <= descriptors + 10)
    assert server.memory() < MOST_MEMORY, "50 MB stay with the allocator"


@pytest.mark.promise(
    "callers ask for large replies and do not read them",
    "their connections are closed before memory fills; others are answered",
    seen="memory grew without a limit",
)
def test_slow_readers(server: Running) -> None:
    before = server.memory()
    with ExitStack() as stack:
        slow = [stack.enter_context(RawClient(server.target)) for _ in range(20)]
        for client in slow:
            for _ in range(10):
                client.call(LIST_MODELS, b"")  # 340 MB in all
        wait_until(lambda: any("has not read the oldest" in line for line in server.log))
        with striate.Client(server.target) as reader:
            for _ in range(10):
                assert len(reader.models()) == 2
                assert server.memory() - before < 8 * REPLY_BYTES
        closed = sum(hangs_up(client) for client in slow)
        assert 0 < closed < len(slow), "the latest are not closed: there is room for them"


def hangs_up(client: RawClient, timeout: float = 0.5) -> bool:
    """Whether the server has closed a connection."""
    try:
        deque(client.frames(timeout), maxlen=0)
    except TimeoutError:
        return False
    return True


def activations() -> pb.ActivationsRequest:
    pixels = common_pb2.Tensor(dtype=common_pb2.DATA_TYPE_FLOAT32, shape=[3, SIDE, SIDE], data=image().tobytes())
    return pb.ActivationsRequest(images=[common_pb2.Image(preprocessed=pixels)], layers=["layer"])


def retry_after(error: grpc.RpcError) -> float:
    """Return the seconds after which the server wants the call to be tried again; 0: it says nothing of it."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return 0.0
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    for detail in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta().total_seconds()
    return 0.0


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that takes two calls at a time, and finds silent peers in seconds and not in minutes."""
    own = settings(tmp_path_factory.mktemp("home"), devices=("cpu",), max_calls=2)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # of this server alone: others wait as usual
            patch.setattr(connections, "_PING_SECONDS", 2.0)
            patch.setattr(connections, "_PING_PATIENCE", 2.0)
            patch.setattr(connections, "_HANDSHAKE_PATIENCE", 2.0)
            patch.setattr(connections, "_CLIENTS_PINGS", 0.2)
            running = stack.enter_context(LocalServer(own))
        yield running


@pytest.mark.promise("connections are opened and never speak", "they are closed after 20 s; others are answered")
@pytest.mark.promise(
    "callers vanish in the middle of a request, and the network does not say so",
    "within 80 s their connections are closed and their places free; others are answered",
)
@pytest.mark.promise(
    "as many calls are under way as `max_calls` allows",
    "RESOURCE_EXHAUSTED with when to come again; health checks and reflection are answered all the same",
    seen="from 1,000 unseen calls on, gRPC ended some at random, CANCELLED",
)
def test_half_open_connections_and_calls(quick_server: LocalServer) -> None:
    with ExitStack() as stack:
        host, port = quick_server.target.rsplit(":", 1)
        silent = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
        vanished = [stack.enter_context(RawClient(quick_server.target)) for _ in range(2)]
        for client in vanished:
            client.call(LIST_MODELS, bytes(100), sent=10)
            client.half_a_frame()
        alive = stack.enter_context(RawClient(quick_server.target))
        channel = stack.enter_context(grpc.insecure_channel(quick_server.target))
        models = models_pb2_grpc.ModelServiceStub(channel)
        wait_until(lambda: refusal(models) > 0)  # both places are taken by who has vanished
        for _ in range(5):  # more than there are places
            assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == 1
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        assert listed.list_services_response.service

        wait_until(lambda: refusal(models) == 0)
        for client in vanished:
            assert hangs_up(client)
        for connection in silent:
            connection.settimeout(10)
            with suppress(ConnectionError):
                while connection.recv(1000):
                    pass

        pings = (frame for frame in alive.frames(timeout=5) if frame[:2] == (PING, 0))
        for frame in itertools.islice(pings, 3):  # who answers them stays
            alive.acknowledge(frame)
        alive.call(LIST_MODELS, b"")
        assert any(kind == DATA for kind, _, _ in alive.frames(timeout=5))


@pytest.fixture(scope="module")
def impatient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that takes two calls at a time, and waits a second for each message of a caller."""
    own = settings(tmp_path_factory.mktemp("home"), devices=("cpu",), max_calls=2, message_timeout=1.0)
    with LocalServer(own) as running:
        yield running


@pytest.mark.promise(
    "calls are begun, and their requests never sent, or not to the end, on connections that live",
    "they end DEADLINE_EXCEEDED after `message_timeout`, 600 s, and their places are free, health checks' too",
    seen="each kept its place for ever",
)
def test_calls_that_are_never_sent_lose_their_places(impatient_server: LocalServer) -> None:
    ended = "no whole message came for 1 s; send each sooner, or in smaller parts"
    begun = time.monotonic()
    with RawClient(impatient_server.target) as half_sent:
        half_sent.call(LIST_MODELS, bytes(100), sent=10)
        told = [payload for kind, _, payload in half_sent.frames(30) if kind == HEADERS]
        assert any(ended.encode() in payload for payload in told), told
        assert time.monotonic() - begun >= 1
    with grpc.insecure_channel(impatient_server.target) as channel:
        for path in KINDS:
            sent = threading.Event()
            call = channel.stream_stream(path)(iter(sent.wait, True))  # begun, with nothing to send
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED, path
            assert call.details() == ended
            sent.set()
        assert refusal(models_pb2_grpc.ModelServiceStub(channel)) == 0
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == 1


def refusal(models: models_pb2_grpc.ModelServiceStub) -> float:
    """Return when to come again; 0: the call is answered."""
    call = models.ListModels.future(models_pb2.ListModelsRequest(), timeout=10)
    error = call.exception()
    if error is None:
        return 0.0
    assert "2 calls are under way" in str(call.details())
    seconds = retry_after(error)
    assert seconds > 0
    return seconds


@pytest.mark.parametrize(("interval", "welcome"), [(0.25, True), (0.02, False)])
@pytest.mark.promise(
    "idle clients ping",
    "every 5 s they may; only who pings much more often is sent away (too_many_pings)",
    seen="they were sent away (too_many_pings)",
)
def test_idle_clients_may_ping(quick_server: LocalServer, interval: float, welcome: bool) -> None:
    with RawClient(quick_server.target) as client:
        sent_away = pinged(client, interval, times=10)
        assert sent_away is not welcome


@pytest.mark.skipif("LONG" not in os.environ, reason="it takes half a minute: make faults")
def test_an_idle_client_may_ping_every_six_seconds(tmp_path: Path) -> None:
    """With the server's own settings."""
    with LocalServer(settings(tmp_path, devices=("cpu",))) as running, RawClient(running.target) as client:
        assert not pinged(client, interval=6, times=6)


def pinged(client: RawClient, interval: float, times: int) -> bool:
    """Ping, and return whether the server sends the client away."""
    with suppress(ConnectionError):
        for _ in range(times):
            client.ping()
            time.sleep(interval)
    with suppress(TimeoutError):
        return any(kind == GOAWAY and b"too_many_pings" in payload for kind, _, payload in client.frames(timeout=0.5))
    return False


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit")
@pytest.mark.promise(
    "a server of 256 descriptors gets 300 connections, and a worker dies at work",
    "the worker is replaced at once, its requests and others are answered: connections do not get the last descriptors",
    seen="the worker was never replaced",
)
def test_few_descriptors(tmp_path: Path) -> None:
    with (
        serving(tmp_path, command=["prlimit", "--nofile=256", STRIATE]) as server,
        striate.Client(server.target, timeout=60) as client,
        ExitStack() as stack,
        ThreadPoolExecutor(4) as callers,
    ):
        client.activations(image(), "layer")
        crowd = [stack.enter_context(RawClient(server.target)) for _ in range(300)]
        answers = [callers.submit(client.activations, image(SLOW), "layer") for _ in range(4)]
        wait_until(lambda: server.metric("striate_requests_in_progress") == 4)
        time.sleep(SECONDS / 3)
        (victim,) = server.workers()
        os.kill(victim, signal.SIGKILL)
        assert all(answer.result(timeout=60).predictions for answer in answers)
        assert server.workers() != [victim]
        refused = sum(hangs_up(client, timeout=0.01) for client in crowd)
        assert 300 - 256 < refused < 300
        assert server.descriptors() < 256
        assert client.activations(image(), "layer").predictions
