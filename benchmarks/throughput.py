"""Throughput and latency beside raw loops and peers: python benchmarks/throughput.py [--architecture googlenet]

All contenders do the same work: JPEG bytes in; one layer's means and the five most probable classes out. Striate,
LitServe, mosec and raw loops without a server alternate, each alone on the machine, in reverse order every second
round, so that a machine that slows down affects all equally. Printed are medians over the rounds, and the median of
each round's ratio to the best raw loop. "In process" does the work one image at a time without a server: one caller's
latency is compared with it. "Bare gRPC" is the raw loop behind gRPC and nothing else: the limit of a gRPC service whose
callers share its cores. googlenet has random weights, which cost the same, unless --weights is given.
To install the peers: pip install -c constraints.txt -e '.[bench]'

For the record: python benchmarks/throughput.py --callers 1 8 32 --seconds 8 --rounds 5, with either architecture.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from harness import (
    KEEP_FREED_MEMORY,
    PEERS,
    Assignment,
    Connect,
    add_options,
    ask_bare_grpc,
    ask_http,
    ask_striate,
    closed_loop,
    machine,
    make_assignment,
    parse,
    running,
    striate_server,
)
from rich.console import Console
from rich.table import Table

BATCH = 8


@dataclass
class Figures:
    """Measurements of one contender with one number of callers, one value per round."""

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
        assignment = make_assignment(options, Path(folder))
        contenders = _contenders(assignment, options, Path(folder))
        for number in range(options.rounds):
            for name, contender in list(contenders.items())[:: -1 if number % 2 else 1]:
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
    found: dict[str, Contender] = {"in process": _raw(assignment, options, "onnx", 1, processes=1, callers=1)}
    for engine in ("torch", "onnx"):
        for batch in (1, BATCH):
            found[f"raw loop, {engine}, batch {batch}"] = _raw(assignment, options, engine, batch, processes=workers)
    found["striate"] = _served(*striate_server(assignment, folder), ask_striate(assignment.layer), options)
    command = [sys.executable, str(PEERS / "bare_grpc_server.py"), "{port}", str(workers)]
    ask = ask_bare_grpc(assignment.layer, workers)
    found["bare gRPC, onnx"] = _served(command, assignment.to_environment(), ask, options)
    if options.without_peers:
        return found
    environment = assignment.to_environment() | {"BENCHMARK_WORKERS": str(workers), "BENCHMARK_BATCH": str(BATCH)}
    if importlib.util.find_spec("litserve"):
        command = [sys.executable, str(PEERS / "litserve_server.py"), "{port}", str(workers), str(BATCH)]
        found["LitServe"] = _served(command, environment, ask_http("predict", as_json=True), options)
    if importlib.util.find_spec("mosec"):
        command = [sys.executable, str(PEERS / "mosec_server.py"), "--address", "127.0.0.1", "--port", "{port}"]
        found["mosec"] = _served(command, environment, ask_http("inference", as_json=False), options)
    return found


def _raw(
    assignment: Assignment,
    options: argparse.Namespace,
    engine: str,
    batch: int,
    *,
    processes: int,
    callers: int = 0,
) -> Contender:
    def run(_photos: list[bytes]) -> Iterator[tuple[int, float, list[float]]]:
        arguments = [engine, str(batch), str(options.seconds), *map(str, options.photos)]
        environment = os.environ | assignment.to_environment() | KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": "1"}
        loops = [
            subprocess.Popen(
                [sys.executable, str(PEERS / "raw_loop.py"), *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for _ in range(processes)
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
        rate = sum(int(images) / float(seconds) for images, seconds, _ in counted)
        yield callers, rate, [float(counted[0][2])] if callers else []

    return run


def _served(
    command: list[str], environment: dict[str, str], connect: Connect, options: argparse.Namespace
) -> Contender:
    def run(photos: list[bytes]) -> Iterator[tuple[int, float, list[float]]]:
        with running(command, environment, connect, photos[0]) as (port, _):
            for callers in options.callers:
                rate, latencies = asyncio.run(closed_loop(connect, port, photos, callers, options.seconds))
                yield callers, rate, latencies

    return run


def _table(figures: dict[tuple[str, int], Figures], assignment: Assignment) -> Table:
    raw = [found.rate for (name, _), found in figures.items() if name.startswith("raw")]
    best = max(raw, key=statistics.median)
    title = f"{assignment.architecture}, mean of {assignment.layer} and 5 classes; {machine()}"
    table = Table("who", "callers", "images/s", "of the best raw loop", "p50 ms", "p99 ms", title=title)
    for (name, callers), found in figures.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(found.rate, best, strict=True))
        latency = (f"{statistics.median(values):.0f}" if values else "" for values in (found.p50, found.p99))
        table.add_row(name, str(callers or ""), f"{statistics.median(found.rate):.1f}", f"{ratio:.2f}", *latency)
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare throughput and latency with raw loops and other servers.")
    add_options(parser)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peers", action="store_true")
    return parse(parser)


if __name__ == "__main__":
    main()
