"""How many images a second, and how soon an answer: python benchmarks/throughput.py [--callers 1 8 32]

The same work for all: JPEG bytes in; one layer's means and the five most probable classes out. Ours, LitServe, mosec
and raw loops without any server take turns, round after round, each alone on the machine; medians over the rounds are
printed, and ratios to the best raw loop. Peers are installed by: pip install -c constraints.txt 'striate[bench]'
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import importlib.util
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import striate
import torch
from rich.console import Console
from rich.table import Table

PEERS = Path(__file__).parent / "peers"
sys.path.insert(0, str(PEERS))
from work import Assignment  # noqa: E402

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
BATCH = 8
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}

Ask = Callable[[bytes], Awaitable[None]]


@dataclass
class Figures:
    """What was measured of one contender at one number of callers, a value a round."""

    rate: list[float] = field(default_factory=list)
    """images/s"""
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    """ms"""


def main() -> None:
    options = _options()
    photos = [path.read_bytes() for path in options.photos]
    figures: dict[tuple[str, int], Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        assignment = _assignment(options, Path(folder))
        contenders = _contenders(assignment, options, Path(folder))
        for number in range(options.rounds):
            for name, contender in contenders.items():
                for callers, rate, latencies in contender(photos):
                    found = figures.setdefault((name, callers), Figures())
                    found.rate.append(rate)
                    if latencies:
                        found.p50.append(1000 * float(np.percentile(latencies, 50)))
                        found.p99.append(1000 * float(np.percentile(latencies, 99)))
                    print(f"round {number + 1}: {name}, {callers} callers: {rate:.1f} images/s", file=sys.stderr)
    Console(width=120).print(_table(figures, assignment))


Contender = Callable[[list[bytes]], Iterator[tuple[int, float, list[float]]]]


def _contenders(assignment: Assignment, options: argparse.Namespace, folder: Path) -> dict[str, Contender]:
    workers = options.workers
    found: dict[str, Contender] = {}
    for engine in ("torch", "onnx"):
        for batch in (1, BATCH):
            found[f"raw loop, {engine}, batch {batch}"] = _raw(assignment, options, engine, batch)
    settings = {"STRIATE_HOME": str(folder / "home"), "STRIATE_METRICS_PORT": "-1"}
    preprocessing = f'{{"resize": {assignment.resize}, "crop": {assignment.crop}}}'
    model = f'[{{"name": "net", "architecture": "{assignment.architecture}", "weights": "{assignment.weights}", '
    settings["STRIATE_MODELS"] = model + f'"preprocessing": {preprocessing}}}]'
    serve = [str(Path(sys.executable).with_name("striate")), "serve", "--port", "{port}"]
    found["striate"] = _served(serve, settings, lambda port: _ask_striate(port, assignment.layer), options)
    environment = assignment.to_environment() | {"BENCHMARK_WORKERS": str(workers), "BENCHMARK_BATCH": str(BATCH)}
    if importlib.util.find_spec("litserve") and not options.without_peers:
        command = [sys.executable, str(PEERS / "litserve_server.py"), "{port}", str(workers), str(BATCH)]
        found["LitServe"] = _served(
            command, environment, lambda port: _ask_http(f"http://127.0.0.1:{port}/predict", True), options
        )
    if importlib.util.find_spec("mosec") and not options.without_peers:
        command = [sys.executable, str(PEERS / "mosec_server.py"), "--address", "127.0.0.1", "--port", "{port}"]
        url = "http://127.0.0.1:{}/inference"
        found["mosec"] = _served(command, environment, lambda port: _ask_http(url.format(port), False), options)
    return found


def _raw(assignment: Assignment, options: argparse.Namespace, engine: str, batch: int) -> Contender:
    def run(_photos: list[bytes]) -> Iterator[tuple[int, float, list[float]]]:
        arguments = [engine, str(batch), str(options.seconds), *map(str, options.photos)]
        environment = os.environ | assignment.to_environment() | _KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": "1"}
        loops = [
            subprocess.Popen(
                [sys.executable, str(PEERS / "raw_loop.py"), *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for _ in range(options.workers)
        ]  # fmt: skip
        for loop in loops:
            assert loop.stdout
            while loop.stdout.readline().strip() != "ready":
                if loop.poll() is not None:
                    sys.exit(f"the raw loop ended with status {loop.returncode}")
        for loop in loops:
            assert loop.stdin
            loop.stdin.write("\n")
            loop.stdin.flush()
        counted = [loop.communicate()[0].split() for loop in loops]
        yield 0, sum(int(images) / float(seconds) for images, seconds in counted), []

    return run


def _served(
    command: list[str],
    environment: dict[str, str],
    connect: Callable[[int], contextlib.AbstractAsyncContextManager[Ask]],
    options: argparse.Namespace,
) -> Contender:
    def run(photos: list[bytes]) -> Iterator[tuple[int, float, list[float]]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(os.devnull, "w") as nowhere:
            server = subprocess.Popen(
                [part.format(port=port) for part in command],
                env=os.environ | _KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": "1"} | environment,
                stdout=nowhere, stderr=nowhere,
            )  # fmt: skip
        try:
            asyncio.run(_until_it_answers(connect, port, photos[0], server))
            for callers in options.callers:
                rate, latencies = asyncio.run(_closed_loop(connect, port, photos, callers, options.seconds))
                yield callers, rate, latencies
        finally:
            server.terminate()
            server.wait(30)

    return run


async def _until_it_answers(
    connect: Callable[[int], contextlib.AbstractAsyncContextManager[Ask]],
    port: int,
    photo: bytes,
    server: subprocess.Popen[bytes],
) -> None:
    end = time.monotonic() + 120
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


async def _closed_loop(
    connect: Callable[[int], contextlib.AbstractAsyncContextManager[Ask]],
    port: int,
    photos: list[bytes],
    callers: int,
    seconds: float,
) -> tuple[float, list[float]]:
    """Have callers ask, await and ask again; return images/s and seconds a call."""
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


@contextlib.asynccontextmanager
async def _ask_striate(port: int, layer: str):  # type: ignore[no-untyped-def]
    async with striate.aio.Client(f"127.0.0.1:{port}") as client:

        async def ask(photo: bytes) -> None:
            answer = await client.activations(photo, layer, reduce="mean", classes=5)
            assert len(answer.predictions[0]) == 5

        yield ask


@contextlib.asynccontextmanager
async def _ask_http(url: str, as_json: bool):  # type: ignore[no-untyped-def]
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(photo: bytes) -> None:
            body = {"json": {"image": base64.b64encode(photo).decode()}} if as_json else {"data": photo}
            async with session.post(url, **body) as response:  # type: ignore[arg-type]
                answer = await response.json(content_type=None)
                assert response.status == 200, answer
                assert len(answer["classes"]) == 5

        yield ask


def _table(figures: dict[tuple[str, int], Figures], assignment: Assignment) -> Table:
    raw = {name: statistics.median(f.rate) for (name, _), f in figures.items() if name.startswith("raw")}
    best = max(raw.values())
    processor = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if os.path.exists("/proc/cpuinfo")
        else None
    )
    machine = (
        f"{os.cpu_count()} cores ({processor[1] if processor else platform.processor()}), torch {torch.__version__}"
    )
    title = f"{assignment.architecture}, mean of {assignment.layer} and 5 classes; {machine}"
    table = Table("who", "callers", "images/s", "of the best raw loop", "p50 ms", "p99 ms", title=title)
    for (name, callers), found in figures.items():
        rate = statistics.median(found.rate)
        latency = (f"{statistics.median(values):.0f}" if values else "" for values in (found.p50, found.p99))
        table.add_row(name, str(callers or ""), f"{rate:.1f}", f"{rate / best:.2f}", *latency)
    return table


def _assignment(options: argparse.Namespace, folder: Path) -> Assignment:
    """The network with its weights; random ones, which cost the same, where none are given."""
    weights = options.weights
    if options.architecture == "squeezenet1_0" and weights is None:
        weights = SHARED / "models" / "squeezenet1_0_imagenet.pth"
    if weights is None:
        from striate_service.models.torchvision_compat import import_torchvision

        arguments = {"init_weights": False} if options.architecture == "googlenet" else {}
        network = import_torchvision().models.get_model(options.architecture, weights=None, **arguments)
        weights = folder / "random.pth"
        torch.save(network.state_dict(), weights)
    copy = folder / "weights.pth"
    copy.write_bytes(Path(weights).read_bytes())
    layer = options.layer or {"squeezenet1_0": "features.7", "googlenet": "inception4d"}[options.architecture]
    return Assignment(options.architecture, str(copy), layer, crop=options.crop)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare throughput and latency with raw loops and other servers.")
    parser.add_argument("--architecture", default="squeezenet1_0", help="of torchvision")
    parser.add_argument("--weights", type=Path, help="a .pth file; random weights where there is none")
    parser.add_argument("--layer", help="a layer's path")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--photos", type=Path, nargs="+", default=sorted((SHARED / "photos").glob("*.jp*g")))
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    if not options.photos:
        parser.error("there are no photos; name some with --photos")
    return options


if __name__ == "__main__":
    main()
