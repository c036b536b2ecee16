"""A server at its peak load and at twice that load: python benchmarks/overload.py

A closed loop finds the peak. Then deploy/load/load.py starts calls at that rate and at twice that rate, each with a
deadline, without waiting for earlier calls. Calls that arrive one by one cost a server more than the bursts of a closed
loop, so the answers at twice the peak are compared with those at the peak and with the closed loop. Also printed:
the time to refusals, as callers see it (with the delays of the load generator on the same cores) and by the server's
clock; calls that missed their deadline; and the memory of all the server's processes.

On Linux, --apart gives the server the first core and the load generator the others, so that neither slows the other.

For the record: python benchmarks/overload.py --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import os
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
from load import OK, Tally, load

_RPC = "Activations"


def main() -> None:
    options = _options()
    photos = [path.read_bytes() for path in options.photos]
    cores = sorted(os.sched_getaffinity(0)) if options.apart else []
    with tempfile.TemporaryDirectory() as folder:
        assignment = make_assignment(options, Path(folder))
        connect = ask_striate(assignment.layer)
        metrics = free_port()
        server = striate_server(assignment, Path(folder), STRIATE_METRICS_PORT=str(metrics))
        if cores:
            os.sched_setaffinity(0, cores[:1])  # which the server inherits
        with running(*server, connect, photos[0]) as (port, pid):
            if cores:
                os.sched_setaffinity(0, cores[1:])
            peak, _ = asyncio.run(closed_loop(connect, port, photos, options.callers, options.closed_seconds))
            columns = []
            for times in options.times:
                before, soon_before = memory(pid), _answered_soon(metrics)
                tally, seconds = asyncio.run(
                    load(
                        f"127.0.0.1:{port}",
                        photos,
                        assignment.layer,
                        "",
                        [_RPC],
                        callers=0,
                        rate=times * peak,
                        seconds=options.seconds,
                        deadline=options.deadline,
                    )
                )
                soon = _answered_soon(metrics) - soon_before
                columns.append(_column(tally, seconds, peak, soon, before, memory(pid)))
    where = ", the server on a core of its own" if cores else ""
    title = f"{assignment.architecture}, peak of a closed loop {peak:.1f} images/s{where}; {machine()}"
    table = Table("what", *(f"{times:g} times the peak" for times in options.times), title=title)
    for what in columns[0]:
        table.add_row(what, *(column[what] for column in columns))
    Console(width=120).print(table)


def _column(tally: Tally, seconds: float, peak: float, soon: float, before: float, after: float) -> dict[str, str]:
    """Return the figures of one rate, by row of the table."""
    calls = {outcome: found for (_, outcome), found in tally.seconds.items()}
    answered, refused = calls.get(OK, []), calls.get("RESOURCE_EXHAUSTED", [])
    others = {outcome: len(found) for outcome, found in calls.items() if outcome not in _EXPECTED}
    rate = len(answered) / seconds
    return {
        "answered (of the peak)": f"{rate:.1f} images/s ({rate / peak:.2f})",
        "answered after, p50 / p99": _milliseconds(answered),
        "refused": f"{len(refused)} of {sum(map(len, calls.values()))} calls",
        "refused after, p50 / p99": _milliseconds(refused),
        "of these within 10 ms by the server's clock": f"{min(1, soon / len(refused)):.1%}" if refused else "",
        "missed their deadline": str(len(calls.get("DEADLINE_EXCEEDED", []))),
        "failed otherwise": str(others or "none"),
        "memory before / after": f"{before / 2**20:.0f} / {after / 2**20:.0f} MiB",
    }


def _answered_soon(metrics: int) -> float:
    """Return how many calls ended within 10 ms: under overload, only refused calls do."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
    found = re.findall(rf'striate_request_duration_seconds_bucket{{.*le="0.01",method="{_RPC}".*}} (\S+)', text)
    assert found
    return sum(map(float, found))


_EXPECTED = (OK, "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")


def _milliseconds(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return " / ".join(f"{1000 * value:.1f} ms" for value in np.percentile(seconds, [50, 99]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a server for more than it can do.")
    add_options(parser)
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 2.0], help="the peak")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each rate")
    parser.add_argument("--closed-seconds", type=float, default=10.0, help="to find the peak")
    parser.add_argument("--callers", type=int, default=32, help="to find the peak")
    parser.add_argument("--deadline", type=float, default=2.0, help="of a call, in seconds")
    parser.add_argument("--apart", action="store_true", help="the server on the first core, its callers on the others")
    return parse(parser)


if __name__ == "__main__":
    main()
