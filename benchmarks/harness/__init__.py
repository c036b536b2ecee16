"""Shared by the benchmarks of a running service: the work, a server in a separate process, and callers."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path

import striate
import torch

PEERS = Path(__file__).parents[1] / "peers"
sys.path.insert(0, str(PEERS))
from work import Assignment, build  # noqa: E402
from work import load_network as load_network  # noqa: E402

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WEIGHTS = {
    "googlenet_bvlc": SHARED / "models" / "googlenet_bvlc_imagenet.safetensors",
    "squeezenet1_0": SHARED / "models" / "squeezenet1_0_imagenet.pth",
}
"""Of networks that were trained on photographs, the article's kind first."""
ARCHITECTURE = next((name for name, file in WEIGHTS.items() if file.is_file()), "squeezenet1_0")
"""What the benchmarks explain unless told otherwise."""
LAYERS = {
    "googlenet_bvlc": ("inception4d", "inception5b"),
    "googlenet": ("inception4d", "inception5b"),
    "squeezenet1_0": ("features.7", "features.12"),
}
"""One where neurons stand for parts of objects, and the last block."""
PHOTOS = sorted((SHARED / "photos").glob("*.jp*g"))
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}

Ask = Callable[[bytes], Awaitable[None]]
Connect = Callable[[int], contextlib.AbstractAsyncContextManager[Ask]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that define the work."""
    parser.add_argument("--architecture", default=ARCHITECTURE, help="googlenet_bvlc, or one of torchvision's")
    parser.add_argument("--weights", type=Path, help="of another network, a file; random weights where there are none")
    parser.add_argument("--layer", help="a layer's path")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--photos", type=Path, nargs="+", default=PHOTOS)
    parser.add_argument("--workers", type=int, default=os.cpu_count())


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if not options.photos:
        parser.error("there are no photos; name some with --photos")
    return options


def make_assignment(options: argparse.Namespace, folder: Path) -> Assignment:
    """Return the work to do, with random weights, which cost the same, where none are given."""
    weights = options.weights or WEIGHTS.get(options.architecture, folder / "none.pth")
    if not weights.is_file():
        weights = folder / "random.pth"
        torch.save(build(options.architecture).state_dict(), weights)
    copy = folder / f"weights{weights.suffix}"
    copy.write_bytes(weights.read_bytes())
    layer = options.layer or LAYERS[options.architecture][0]
    return Assignment(options.architecture, str(copy), layer, crop=options.crop)


def striate_server(assignment: Assignment, folder: Path, **settings: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a Striate server of that network; {port} stands for its port."""
    preprocessing = f'{{"resize": {assignment.resize}, "crop": {assignment.crop}}}'
    model = f'[{{"name": "net", "architecture": "{assignment.architecture}", "weights": "{assignment.weights}", '
    environment = {
        "STRIATE_HOME": str(folder / "home"),
        "STRIATE_METRICS_PORT": "-1",
        "STRIATE_MODELS": model + f'"preprocessing": {preprocessing}}}]',
    }
    return [str(Path(sys.executable).with_name("striate")), "serve", "--port", "{port}"], environment | settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: list[str], environment: dict[str, str], connect: Connect, photo: bytes
) -> Iterator[tuple[int, int]]:
    """Start a server, wait until it answers, and yield its port and process id."""
    port = free_port()
    server = subprocess.Popen(
        [part.format(port=port) for part in command],
        env=os.environ | KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        asyncio.run(until_it_answers(connect, port, photo, server))
        yield port, server.pid
    finally:
        server.terminate()
        try:
            server.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # LitServe leaves workers behind, which would continue computing


async def until_it_answers(
    connect: Connect,
    port: int,
    photo: bytes,
    server: subprocess.Popen[bytes],
) -> None:
    end = time.monotonic() + 300
    while True:
        try:
            async with connect(port) as ask:
                for _ in range(8):
                    await ask(photo)
                return
        except Exception as error:
            if time.monotonic() > end or server.poll() is not None:
                raise SystemExit(f"{server.args} does not answer: {error}") from error
            await asyncio.sleep(0.5)


async def closed_loop(
    connect: Connect,
    port: int,
    photos: list[bytes],
    callers: int,
    seconds: float,
) -> tuple[float, list[float]]:
    """Run `callers` that call, wait for the reply and call again; return images/s and the seconds of each call."""
    latencies: list[float] = []
    async with connect(port) as ask:
        started = time.perf_counter()

        async def call(number: int) -> None:
            own = cycle(photos[number % len(photos) :] + photos[: number % len(photos)])
            while (begun := time.perf_counter()) - started < seconds:
                await ask(next(own))
                latencies.append(time.perf_counter() - begun)

        await asyncio.gather(*(call(number) for number in range(callers)))
        return len(latencies) / (time.perf_counter() - started), latencies


def ask_striate(layer: str, **options: object) -> Connect:
    """Return a connection that requests a layer, by default its means, and five classes from a Striate server."""

    @contextlib.asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Ask]:
        async with striate.aio.Client(f"127.0.0.1:{port}") as client:

            async def ask(photo: bytes) -> None:
                answer = await client.activations(photo, layer, **{"reduce": "mean", "classes": 5, **options})
                assert len(answer.predictions[0]) == 5

            yield ask

    return connect


def ask_bare_grpc(layer: str, processes: int) -> Connect:
    """Return a connection to peers/bare_grpc_server.py: each call goes to the process with the fewest open calls.

    Ties go to the process with the fewest calls so far, so that the first calls reach, and wait for, every process.
    """

    @contextlib.asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Ask]:
        async with contextlib.AsyncExitStack() as stack:
            calls = [await stack.enter_async_context(ask_striate(layer)(port + number)) for number in range(processes)]
            waiting, asked = [0] * processes, [0] * processes

            async def ask(photo: bytes) -> None:
                number = min(range(processes), key=lambda process: (waiting[process], asked[process]))
                waiting[number] += 1
                asked[number] += 1
                try:
                    await calls[number](photo)
                finally:
                    waiting[number] -= 1

            yield ask

    return connect


def ask_http(path: str, *, as_json: bool) -> Connect:
    """Return a connection to a server that takes pictures by POST."""

    @contextlib.asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Ask]:
        import aiohttp

        url = f"http://127.0.0.1:{port}/{path}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(photo: bytes) -> None:
                body = {"json": {"image": base64.b64encode(photo).decode()}} if as_json else {"data": photo}
                async with session.post(url, **body) as response:  # type: ignore[arg-type]
                    answer = await response.json(content_type=None)
                    assert response.status == 200, answer
                    assert len(answer["classes"]) == 5

            yield ask

    return connect


def machine() -> str:
    """Describe the machine and the torch version of the figures."""
    cpuinfo = Path("/proc/cpuinfo")
    processor = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return f"{os.cpu_count()} cores ({processor[1] if processor else platform.processor()}), torch {torch.__version__}"


def memory(pid: int) -> int:
    """Return the bytes that a process and its children hold (PSS: each shared page is divided among its processes)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    own = int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return own + sum(map(memory, _children(pid)))


def _children(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # of a thread that has just ended
            children += map(int, (task / "children").read_text().split())
    return children
