"""The work in a loop without a server: python raw_loop.py ENGINE BATCH SECONDS PHOTO...

The loop starts when it reads a line on standard input, so that several loops can start together. It prints the number
of images, the seconds, and the median seconds of a batch.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from onnx_network import OnnxNetwork
from work import Assignment, Network


def main() -> None:
    engine, batch, seconds, *paths = sys.argv[1:]
    network = {"torch": Network, "onnx": OnnxNetwork}[engine](Assignment.from_environment())
    photos = cycle([Path(path).read_bytes() for path in paths])
    for _ in range(2):
        network.explain([network.decode(photo) for photo in islice(photos, int(batch))])
    print("ready", flush=True)
    sys.stdin.readline()
    each, started = [], time.perf_counter()
    while (begun := time.perf_counter()) - started < float(seconds):
        network.explain([network.decode(photo) for photo in islice(photos, int(batch))])
        each.append(time.perf_counter() - begun)
    print(len(each) * int(batch), time.perf_counter() - started, statistics.median(each), flush=True)


if __name__ == "__main__":
    main()
