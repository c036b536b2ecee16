"""`striate serve` as an orchestrator runs it: signals, surroundings that get in the way, readers that are slow."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import striate
from fragile import SECONDS, SLOW, image
from hostile import large_pictures
from processes import children, command, is_alive, memory, wait_until, workers
from serving import STRIATE, Running, serving, start

MODULE, SCRIPT = (sys.executable, "-m", "striate_service"), (STRIATE,)
PATIENCE = 8  # seconds that a worker may take over a batch
DECODING = 150 * 2**20
"""Bytes that a process only has once it decodes a large picture."""


@pytest.fixture(scope="module")
def in_namespaces() -> Sequence[str]:
    """The command that runs another as process 1 of its own."""
    unshare = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives users no namespaces of their own")
    return unshare


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server on IPv6, in Kubernetes."""
    variables = {"STRIATE_HOST": "::1", "STRIATE_PORT": "tcp://10.0.0.1:50051", "STRIATE_BATCH_TIMEOUT": str(PATIENCE)}
    with serving(tmp_path_factory.mktemp("home"), **variables) as running:
        yield running


@pytest.mark.promise(
    "the host is an IPv6 address", "requests and /metrics are answered", seen="the start failed, with metrics on"
)
def test_a_host_may_be_an_ipv6_address(server: Running) -> None:
    assert server.target.startswith("[::1]:")
    assert b"striate_workers" in urllib.request.urlopen(server.metrics).read()
    with striate.Client(server.target) as client:
        assert client.activations(image(), "layer").predictions


@pytest.mark.promise("Kubernetes sets STRIATE_PORT", "one warning", seen="the server crashed at each start")
def test_what_kubernetes_sets_is_told_once_and_ignored(server: Running) -> None:
    assert len([line for line in server.log if "STRIATE_PORT is of a Kubernetes service" in line]) == 1


@pytest.mark.promise("the server's port, or that of its metrics, is taken", "the start ends with a sentence")
@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_that_is_taken_is_told_in_a_sentence(server: Running, tmp_path: Path, option: str) -> None:
    ports = {"--port": "0", "--metrics-port": "0", option: server.target.rpartition(":")[2]}
    command = [
        STRIATE,
        "serve",
        "--host",
        "::1",
        "--home",
        str(tmp_path),
        *(word for each in ports.items() for word in each),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert f"striate serve: cannot listen on [::1]:{ports[option]}: is another server there?" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.promise(
    "the environment names a proxy",
    "`striate health` asks the server itself",
    seen="the probe asked the proxy, and failed",
)
def test_a_proxy_is_not_asked_for_health(server: Running) -> None:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    asked = subprocess.run(
        [STRIATE, "health", "--server", server.target], env=os.environ | nowhere, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr


def test_a_proxy_is_not_asked_for_health_under_another_address_either(tmp_path: Path) -> None:
    """A probe asks for a pod by its own address; the environment's proxy is for what lies outside."""
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    with serving(tmp_path, STRIATE_HOST=own_address()) as running:
        for options, status in (([], 0), (["--proxy"], 1)):
            asked = subprocess.run([STRIATE, "health", "--server", running.target, *options], env=environment)
            assert asked.returncode == status


def own_address() -> str:
    """Return an address of this machine that is not the loopback's."""
    # Without a network there is none; nothing is sent in any case.
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return address
    pytest.skip("this machine has no address but the loopback's")


@pytest.mark.promise(
    "hundreds of slow readers of /metrics",
    "at most 32 threads for them; requests are answered",
    seen="800 held 800 threads",
)
def test_slow_readers_of_metrics_hold_no_threads(server: Running) -> None:
    host, port = re.findall(r"//\[(.*?)\]:(\d+)", server.metrics)[0]
    slow = [socket.create_connection((host, int(port))) for _ in range(200)]
    time.sleep(0.5)
    (threads,) = re.findall(r"Threads:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert int(threads) < 120
    for reader in slow:
        reader.close()
    with striate.Client(server.target) as client:
        assert client.activations(image(), "layer").predictions


@pytest.mark.promise(
    "ONNX Runtime sends telemetry unless told not to", "every worker is told", seen="it sent, from 1.29 on"
)
def test_workers_send_no_telemetry(server: Running) -> None:
    (worker,) = workers(server.process.pid)
    assert b"ORT_DISABLE_TELEMETRY=1" in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")


@pytest.mark.promise(
    "the server's process stands still for longer than a worker may take (a suspended machine)",
    "what workers have answered meanwhile counts; none is replaced",
    seen="workers were killed that had answered in time",
)
def test_a_server_that_stands_still_blames_no_worker(server: Running) -> None:
    before = workers(server.process.pid)
    with striate.Client(server.target) as client, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(client.activations, image(SLOW), "layer")
        wait_until(lambda: server.metric("striate_requests_in_progress") == 1)
        time.sleep(SECONDS / 3)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(PATIENCE + 1)
        server.process.send_signal(signal.SIGCONT)
        assert answer.result().predictions
        assert server.metric("striate_worker_restarts_total") == 0
    assert workers(server.process.pid) == before


@pytest.mark.promise(
    "the server is killed while a worker computes and a large picture is decoded",
    "the worker and the decoder end at once",
    seen="both lived on",
)
def test_a_killed_servers_processes_end_in_the_middle_of_their_work(server: Running) -> None:
    """The last test of this server."""
    (worker,) = workers(server.process.pid)
    with striate.Client(server.target) as client, ThreadPoolExecutor(2) as callers:
        decoded = callers.submit(client.activations, large_pictures.WEBP, "layer")
        wait_until(lambda: len(children(server.process.pid)) == 2)
        (decoder,) = {*children(server.process.pid)} - {worker}
        try:
            wait_until(lambda: memory(decoder) > DECODING)
            os.kill(decoder, signal.SIGSTOP)  # so that it cannot end by itself
            computed = callers.submit(client.activations, image(SLOW), "layer")
            time.sleep(SECONDS / 3)
            assert not computed.done()
            server.process.kill()
            server.process.wait()
            time.sleep(0.2)
            assert not is_alive(worker)
            wait_until(lambda: not is_alive(decoder))
        finally:
            with suppress(ProcessLookupError):
                os.kill(decoder, signal.SIGKILL)
        assert decoded.exception()
        assert computed.exception()


@pytest.mark.promise("SIGTERM during the start", "it ends with status 0, and so do its workers", seen="it was lost")
def test_sigterm_during_the_start_is_not_lost(tmp_path: Path) -> None:
    process = start(tmp_path)
    while not workers(process.pid):  # its worker loads
        time.sleep(0.01)
    (worker,) = workers(process.pid)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "stopped before it served" in log
    assert "Traceback" not in log
    assert not is_alive(worker)


@pytest.mark.promise(
    "SIGTERM reaches the server as process 1 of a container, also while it imports its modules",
    "it ends at once with status 0 or 143, and so do its workers",
    seen="it was lost",
)
@pytest.mark.parametrize(
    ("striate", "moment"),
    [(MODULE, 0.1), (MODULE, 0.6), (SCRIPT, 0.1), (SCRIPT, 0.6), (SCRIPT, 1.2), (SCRIPT, "serves")],
)
def test_sigterm_to_process_one(
    tmp_path: Path, in_namespaces: Sequence[str], striate: Sequence[str], moment: float | str
) -> None:
    """The kernel keeps from process 1 whatever signal it has no handler for."""
    process = start(tmp_path, command=[*in_namespaces, *striate])
    try:
        while not (first := children(process.pid)):
            time.sleep(0.005)
        (server,) = first
        if moment == "serves":
            assert process.stderr
            assert any("serving fragile" in line for line in process.stderr)
        else:
            assert isinstance(moment, float)
            wait_until(lambda: "serve" in command(server))
            time.sleep(moment)
        its_workers = workers(server)
        os.kill(server, signal.SIGTERM)
        process.wait(timeout=10)
        assert process.returncode in (0, 143)
        assert not any(map(is_alive, [server, *its_workers]))
    finally:
        process.kill()
        process.wait()


@pytest.mark.promise("the package of a bucket is missing", "the start ends with a sentence", seen="a traceback")
def test_a_bucket_without_its_package_is_told_in_a_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, STRIATE_ICONS="gs://bucket/icons")
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "gs://bucket/icons cannot be used: Please install gcsfs" in log
    assert "Traceback" not in log
