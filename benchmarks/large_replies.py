"""Throughput of whole layers, small replies and the bare loopback: python benchmarks/large_replies.py

Each reply holds a whole layer, by default 2.4 MB per image (googlenet's conv3, with random weights). Three contenders
alternate: a Striate server that returns the layer's means; the same server that returns the whole layer; and a gRPC
server that takes the same pictures and returns as many bytes without computing anything, which is the limit of gRPC and
the loopback. Ratios are to the slower of small replies and loopback.

For the record: python benchmarks/large_replies.py --callers 32 --seconds 8 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import striate
from harness import (
    Ask,
    Connect,
    add_options,
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

_ECHO = "/benchmark/Echo"
_OPTIONS = [("grpc.max_receive_message_length", 64 * 2**20), ("grpc.max_send_message_length", 64 * 2**20)]


def main() -> None:
    options = _options()
    if options.serve_bytes:
        asyncio.run(_serve_bytes(*options.serve_bytes))
        return
    photos = [path.read_bytes() for path in options.photos]
    rates: dict[str, list[float]] = {"small replies": [], "whole layers": [], "loopback": []}
    with tempfile.TemporaryDirectory() as folder:
        assignment = make_assignment(options, Path(folder))
        small, whole = ask_striate(assignment.layer), ask_striate(assignment.layer, reduce="none")
        for _ in range(options.rounds):
            with running(*striate_server(assignment, Path(folder)), small, photos[0]) as (port, _):
                size = asyncio.run(_reply_bytes(port, photos[0], assignment.layer))
                for name, connect in (("small replies", small), ("whole layers", whole)):
                    rates[name].append(
                        asyncio.run(closed_loop(connect, port, photos, options.callers, options.seconds))[0]
                    )
            command = [sys.executable, __file__, "--serve-bytes", "{port}", str(size)]
            with running(command, {}, _ask_bytes(size), photos[0]) as (port, _):
                rate, _ = asyncio.run(closed_loop(_ask_bytes(size), port, photos, options.callers, options.seconds))
                rates["loopback"].append(rate)
    bound = min(statistics.median(rates["small replies"]), statistics.median(rates["loopback"]))
    title = f"{assignment.architecture}, {assignment.layer}, {size / 1e6:.1f} MB an image, {options.callers} callers"
    table = Table("what", "images/s", "MB/s", "of the bound", title=f"{title}; {machine()}")
    for name, found in rates.items():
        rate = statistics.median(found)
        transferred = "" if name == "small replies" else f"{rate * size / 1e6:.0f}"
        table.add_row(name, f"{rate:.1f}", transferred, f"{rate / bound:.2f}")
    Console(width=120).print(table)


async def _reply_bytes(port: int, photo: bytes, layer: str) -> int:
    async with striate.aio.Client(f"127.0.0.1:{port}") as client:
        return int((await client.activations(photo, layer))[layer].nbytes)


async def _serve_bytes(port: int, size: int) -> None:
    reply = np.random.default_rng(0).bytes(size)

    async def echo(_request: bytes, _context: object) -> bytes:
        return reply

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("benchmark", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def _ask_bytes(size: int) -> Connect:
    @contextlib.asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Ask]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", _OPTIONS) as channel:
            call = channel.unary_unary(_ECHO)

            async def ask(photo: bytes) -> None:
                assert len(await call(photo)) == size

            yield ask

    return connect


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare whole activations with small replies and the loopback.")
    add_options(parser)
    parser.set_defaults(architecture="googlenet", layer="conv3")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve-bytes", type=int, nargs=2, metavar=("PORT", "BYTES"), help=argparse.SUPPRESS)
    return parse(parser)


if __name__ == "__main__":
    main()
