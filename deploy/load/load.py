"""Load a server with calls of three RPCs, and report latencies: python deploy/load/load.py photo.jpg --callers 32

Each caller calls, waits for the reply and calls again (a closed loop). With --rate, calls start at that rate without
waiting for earlier calls (an open loop), which shows how a server behaves under overload.
Exit status 1: a call failed for a reason other than a refusal or a deadline.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import striate
import typer
from rich.console import Console
from rich.table import Table
from striate.errors import DeadlineExceeded, ResourceExhausted, StriateError

RPCS = ("Activations", "SemanticDictionary", "Factorize")
OK = "OK"


class Tally:
    """The seconds of all calls, by RPC and outcome."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, rpc: str, outcome: str, seconds: float) -> None:
        self.seconds[rpc, outcome].append(seconds)

    def table(self, elapsed: float) -> Table:
        table = Table("RPC", "outcome", "calls", "calls/s", "p50 ms", "p95 ms", "p99 ms")
        for (rpc, outcome), seconds in sorted(self.seconds.items()):
            percentiles = (f"{1000 * value:.0f}" for value in np.percentile(seconds, [50, 95, 99]))
            table.add_row(rpc, outcome, str(len(seconds)), f"{len(seconds) / elapsed:.1f}", *percentiles)
        return table

    def failures(self) -> Counter[str]:
        fine = {OK, ResourceExhausted.code.name, DeadlineExceeded.code.name}
        return Counter({outcome: len(s) for (_, outcome), s in self.seconds.items() if outcome not in fine})


async def ask(client: striate.aio.Client, rpc: str, image: bytes, layer: str, model: str, deadline: float) -> None:
    if rpc == "Activations":
        await client.activations(image, layer, model=model, reduce="mean", timeout=deadline)
    elif rpc == "SemanticDictionary":
        await client.semantic_dictionary(image, layer, model=model, wait_for_icons=False, timeout=deadline)
    else:
        await client.factorize(image, layer, model=model, wait_for_icons=False, timeout=deadline)


async def load(
    server: str,
    images: list[bytes],
    layer: str,
    model: str,
    rpcs: list[str],
    *,
    callers: int,
    rate: float,
    seconds: float,
    deadline: float,
) -> tuple[Tally, float]:
    tally, work = Tally(), itertools.cycle(itertools.product(images, rpcs))

    async def once(client: striate.aio.Client) -> None:
        image, rpc = next(work)
        started = time.perf_counter()
        try:
            await ask(client, rpc, image, layer, model, deadline)
            outcome = OK
        except StriateError as error:
            outcome = error.code.name
        tally.add(rpc, outcome, time.perf_counter() - started)

    async def caller(client: striate.aio.Client, until: float) -> None:
        while time.perf_counter() < until:
            await once(client)

    async with striate.aio.Client(server) as client:
        await client.models()
        started = time.perf_counter()
        if rate > 0:
            calls = []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                calls.append(asyncio.create_task(once(client)))
            await asyncio.gather(*calls)
        else:
            await asyncio.gather(*(caller(client, started + seconds) for _ in range(callers)))
        return tally, time.perf_counter() - started


def main(
    photos: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Image files, sent in turn.")],
    server: Annotated[str, typer.Option(help="The server's address.")] = "localhost:50051",
    layer: Annotated[str, typer.Option(help="A layer's path or alias.")] = "mixed4d",
    model: Annotated[str, typer.Option(help="A model's name.", show_default="the server's default")] = "",
    rpc: Annotated[list[str] | None, typer.Option(help="Repeat for several.", show_default="all three")] = None,
    callers: Annotated[int, typer.Option(min=1, max=1024, help="How many ask at a time.")] = 8,
    rate: Annotated[float, typer.Option(min=0, help="Calls a second, instead of callers.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long.")] = 20,
    deadline: Annotated[float, typer.Option(min=0.01, help="Of a call, in seconds.")] = 10,
) -> None:
    """Load a server with calls of three RPCs, and report how many succeeded and their latencies."""
    rpcs = rpc or list(RPCS)
    if unknown := set(rpcs) - set(RPCS):
        raise typer.BadParameter(f"no RPC called {', '.join(unknown)}: choose from {', '.join(RPCS)}")
    images = [photo.read_bytes() for photo in photos]
    console = Console()
    try:
        with console.status(f"loading {server} for {seconds:.0f} s"):
            tally, elapsed = asyncio.run(
                load(
                    server,
                    images,
                    layer,
                    model,
                    rpcs,
                    callers=callers,
                    rate=rate,
                    seconds=seconds,
                    deadline=deadline,
                )
            )
    except StriateError as error:
        console.print(f"load: {error}", highlight=False)
        raise typer.Exit(1) from error
    console.print(tally.table(elapsed))
    if failures := tally.failures():
        console.print(f"[red]failed: {', '.join(f'{count} {code}' for code, count in failures.items())}[/red]")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
