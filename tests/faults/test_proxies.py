"""The examples of proxies (deploy/proxies) before two real servers: nginx and HAProxy as Debian has them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest
import striate
from fragile import SLOW, image
from processes import wait_until
from serving import Running, serving
from test_replicas import LARGE

EXAMPLES = Path(__file__).parents[2] / "deploy" / "proxies"
SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"


def nginx(folder: Path, port: int, servers: list[Running]) -> list[str]:
    """Write nginx's example without TLS, for these servers; return the command that runs it."""
    text = _filled((EXAMPLES / "nginx.conf").read_text(), servers)
    text = text.replace("listen 50051 ssl http2;", f"listen 127.0.0.1:{port} http2;")
    lines = [line for line in text.splitlines() if not line.strip().startswith("ssl_")]
    (folder / "nginx.conf").write_text("\n".join([f"pid {folder}/pid; daemon off; error_log {folder}/log;", *lines]))
    return ["nginx", "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, servers: list[Running]) -> list[str]:
    """Write HAProxy's example without TLS, for these servers; return the command that runs it."""
    text = _filled((EXAMPLES / "haproxy.cfg").read_text(), servers)
    text = text.replace("bind :50051 ssl crt /etc/striate/tls.pem alpn h2", f"bind 127.0.0.1:{port} proto h2")
    (folder / "haproxy.cfg").write_text(text.replace("/etc/striate", str(EXAMPLES)))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def _filled(text: str, servers: list[Running]) -> str:
    for example, server in zip(("10.0.0.7", "10.0.0.8"), servers, strict=True):
        text = text.replace(f"{example}:50051 port 9464", f"{server.target} port {urlsplit(server.metrics).port}")
        text = text.replace(f"{example}:50051", server.target)
    return text


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen([shutil.which(command[0], path=SBIN) or "", *command[1:]])
    try:
        wait_until(lambda: _listens(port))
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.mark.promise(
    "a proxy stands before several servers, and one of these is stopped, or killed at work",
    "no call fails, photographs and streams included (nginx, HAProxy)",
)
@pytest.mark.parametrize("example", [nginx, haproxy], ids=["nginx", "haproxy"])
def test_calls_through_a_proxy(example: Callable[[Path, int, list[Running]], list[str]], tmp_path: Path) -> None:
    if not shutil.which(example.__name__, path=SBIN):
        pytest.skip(f"{example.__name__} is not installed")
    variables = {"STRIATE_DRAIN_DELAY": "0" if example is nginx else "3"}
    port, ended, answered = free_port(), Event(), []
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        one, other = (stack.enter_context(serving(tmp_path, **variables)) for _ in range(2))
        stack.enter_context(running(example(tmp_path, port, [one, other]), port))
        client = stack.enter_context(striate.Client(f"127.0.0.1:{port}"))
        assert client.activations([LARGE], layers=["layer"])
        assert (
            len(list(client.stream_activations(((str(number), image()) for number in range(20)), layers=["layer"])))
            == 20
        )

        def ask() -> None:
            while not ended.is_set():
                answered.append(client.activations([image()], layers=["layer"]))

        asking = [threads.submit(ask) for _ in range(3)]
        try:
            wait_until(lambda: len(answered) > 20)
            one.process.terminate()
            assert one.process.wait(60) == 0
            seen = len(answered)
            wait_until(lambda: len(answered) > seen + 20)
            place = int(one.target.rpartition(":")[2])
            metrics = urlsplit(one.metrics).port or 0
            one = stack.enter_context(serving(tmp_path, port=place, metrics_port=metrics, **variables))
            wait_until(lambda: one.metric("striate_requests_total") > 5)
        finally:
            ended.set()
        for each in asking:
            each.result()

        slow = [threads.submit(client.activations, [image(SLOW)], layers=["layer"]) for _ in range(4)]
        wait_until(lambda: one.metric("striate_requests_in_progress") > 0)
        large = [threads.submit(client.activations, [LARGE], layers=["layer"]) for _ in range(2)]
        one.process.send_signal(signal.SIGKILL)
        assert all(call.result() for call in (*slow, *large))
