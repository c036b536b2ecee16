"""A minute of twice the work that the server can do: python benchmarks/overload.py

First a closed loop finds what it can do. Then calls start at twice that rate, each with a deadline, whatever happens to
earlier ones, by deploy/load/load.py. Printed: answers a second against the peak; how soon the refused were refused, as
they saw it, which includes their way to the server and what the load generator on the same cores kept them waiting, and
by the server's own clock; calls that missed their deadline; and the memory of all the server's processes.

For the record: python benchmarks/overload.py --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
from harness import (
    add_options,
    ask_striate,
    closed_loop,
    free_port,
    machine,
    make_assignment,
    memory,
    parse,
    running,
    striate_server,
)
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy" / "load"))
from load import OK, load

_RPC = "Activations"


def main() -> None:
    options = _options()
    photos = [path.read_bytes() for path in options.photos]
    with tempfile.TemporaryDirectory() as folder:
        assignment = make_assignment(options, Path(folder))
        connect = ask_striate(assignment.layer)
        metrics = free_port()
        server = striate_server(assignment, Path(folder), STRIATE_METRICS_PORT=str(metrics))
        with running(*server, connect, photos[0]) as (port, pid):
            peak, _ = asyncio.run(closed_loop(connect, port, photos, options.callers, options.closed_seconds))
            before, soon_before = memory(pid), _answered_soon(metrics)
            tally, seconds = asyncio.run(
                load(
                    f"127.0.0.1:{port}",
                    photos,
                    assignment.layer,
                    "",
                    [_RPC],
                    callers=0,
                    rate=options.times * peak,
                    seconds=options.seconds,
                    deadline=options.deadline,
                )
            )
            after, soon = memory(pid), _answered_soon(metrics) - soon_before
    calls = {outcome: found for (_, outcome), found in tally.seconds.items()}
    answered, refused = calls.get(OK, []), calls.get("RESOURCE_EXHAUSTED", [])
    table = Table("what", "figure", title=f"{assignment.architecture}, {options.times:g} times the peak; {machine()}")
    table.add_row("peak, closed loop", f"{peak:.1f} images/s")
    table.add_row(
        "answered under overload", f"{len(answered) / seconds:.1f} images/s ({len(answered) / seconds / peak:.2f})"
    )
    table.add_row("answered after, p50 / p99", _milliseconds(answered))
    table.add_row("refused", f"{len(refused)} of {sum(map(len, calls.values()))} calls")
    table.add_row("refused after, p50 / p99", _milliseconds(refused))
    table.add_row("of these within 10 ms by the server's clock", f"{min(1, soon / max(1, len(refused))):.1%}")
    table.add_row("missed their deadline", str(len(calls.get("DEADLINE_EXCEEDED", []))))
    others = {outcome: len(found) for outcome, found in calls.items() if outcome not in _EXPECTED}
    table.add_row("failed otherwise", str(others or "none"))
    table.add_row("memory before / after", f"{before / 2**20:.0f} / {after / 2**20:.0f} MiB")
    Console(width=120).print(table)


def _answered_soon(metrics: int) -> float:
    """Return how many calls were answered within 10 ms: under overload, only those that were refused."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
    found = re.search(rf'striate_request_duration_seconds_bucket{{le="0.01",method="{_RPC}"}} (\S+)', text)
    assert found
    return float(found[1])


_EXPECTED = (OK, "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")


def _milliseconds(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return " / ".join(f"{1000 * value:.1f} ms" for value in np.percentile(seconds, [50, 99]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a server for more than it can do.")
    add_options(parser)
    parser.add_argument("--times", type=float, default=2.0, help="the peak")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--closed-seconds", type=float, default=10.0, help="to find the peak")
    parser.add_argument("--callers", type=int, default=32, help="to find the peak")
    parser.add_argument("--deadline", type=float, default=2.0, help="of a call, in seconds")
    return parse(parser)


if __name__ == "__main__":
    main()
