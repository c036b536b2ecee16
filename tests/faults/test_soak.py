"""A server under mixed traffic for long: nothing grows, and too much of it leaves nothing behind.

`make soak MINUTES=30` is the long form, which holds memory flat as well; without MINUTES only counts are held, since
memory settles later than in seconds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from soak import Sample, Traffic, growth, per_second, sample, sampling, wrong

MINUTES = float(os.environ.get("MINUTES", "0"))
_SHARE_OF_MOST = 0.8
_OVERLOAD = 3.0
_MOST_GROWTH = 0.02
_COUNTS = {"descriptors": 0, "threads": 2, "shared_blocks": 0}
"""What does not grow, and by how much it may: pools of threads are bounded, and fill as chance has it."""
_RECOVERED = 10.0  # seconds after an overload
_LEAST_THROUGHPUT = 0.9  # of the one before: chance chooses the calls


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A server of the embedded model: its process id and address."""
    environment = os.environ | {"STRIATE_HOME": str(tmp_path), "STRIATE_METRICS_PORT": "-1", "OMP_NUM_THREADS": "1"}
    if not MINUTES:
        environment |= {"STRIATE_CPU_ENGINE": "torch", "STRIATE_COMPILE_AHEAD": "false", "STRIATE_MAX_BATCH_SIZE": "16"}
    command = [str(Path(sys.executable).with_name("striate")), "serve", "--model", "parts", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"serving .*? on (\S+:\d+)", line):
            break
    else:
        pytest.fail("the server has ended")
    # What it says later is thrown away, so that it need not wait for a reader.
    with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL):
        yield process.pid, found[1]
        process.terminate()
        process.wait(60)


@pytest.mark.promise(
    "mixed traffic for long, then three times what a server bears", "nothing grows; it recovers in 10 s"
)
def test_mixed_traffic_leaves_nothing_behind(server: tuple[int, str]) -> None:
    process, target = server
    traffic = Traffic(target)
    warm = traffic.at_most(MINUTES * 6 or 3)
    measured = traffic.at_most(30 if MINUTES else 3)
    took = max(each.ended for each in measured) - max(each.ended for each in warm)
    rate = _SHARE_OF_MOST * len(measured) / took
    # Pools are full only after that: connections to the label database, a worker's second block of shared memory.
    filled = traffic.at_rate(_OVERLOAD * rate, 60 if MINUTES else 3)
    before = sample(process)
    steady_from = time.monotonic()
    with sampling(process, 1.0 if MINUTES else 0.2) as samples:
        steady = traffic.at_rate(rate, MINUTES * 60 or 3)
    throughput = per_second(steady, steady_from, max(each.ended for each in steady))
    flood = traffic.at_rate(_OVERLOAD * rate, 60 if MINUTES else 3)
    again_from = time.monotonic()
    again = traffic.at_rate(rate, 30 if MINUTES else 2)
    traffic.close()
    after = _settled(process, before)
    print(f"\n{rate:.1f} calls/s, {throughput:.1f} answered/s\nbefore: {before}\nafter:  {after}\n{growth(samples)}")
    for outcomes in (warm, measured, filled, steady, flood, again):
        assert not wrong(outcomes)
    assert {each: getattr(after, each) for each in _grown(before, after)} == {}
    if MINUTES:
        assert {name: by for name, by in growth(samples).items() if name not in _COUNTS and by >= _MOST_GROWTH} == {}
        recovered = per_second(again, again_from + _RECOVERED, max(each.ended for each in again))
        assert recovered >= _LEAST_THROUGHPUT * throughput


def _settled(process: int, before: Sample) -> Sample:
    """Return what the kernel says once all has come back, or after a minute."""
    end = time.monotonic() + 60
    while True:
        after = sample(process)
        if not _grown(before, after) or time.monotonic() > end:
            return after
        time.sleep(0.2)


def _grown(before: Sample, after: Sample) -> list[str]:
    return [each for each, more in _COUNTS.items() if getattr(after, each) > getattr(before, each) + more]
