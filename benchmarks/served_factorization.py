"""Factorizations a second that a server gives 64 callers: python benchmarks/served_factorization.py

Each caller sends the article's own activations (mixed4d of GoogLeNet, [1, 528, 14, 14], in ../shared) and asks for 6
groups, again as soon as it has its answer. Measured in turn, round after round, on one machine:

- replies of numbers, as the client asks for them (it draws overlays itself, when they are looked at),
- replies with overlays that the server draws, as it did for everybody,
- scikit-learn's NMF with init="nndsvd" in a loop, in this process.

Printed are medians over the rounds and their range, and the ratios to scikit-learn. Callers, server and worker share
the machine's cores. It needs: pip install -c constraints.txt 'striate[service]'
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch load

import grpc
import numpy as np
from sklearn.decomposition import NMF
from striate.calls.factorize import FactorizeCall
from striate.tensors import array_from_tensor
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.config import load
from striate_service.local import LocalServer

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
GROUPS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of each contender in a round")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn warns that it has not converged
    files = sorted((SHARED / "reference" / "distill").glob("*_mixed4d.npy"))
    layers = [np.load(file).astype(np.float32).transpose(0, 3, 1, 2).copy() for file in files]
    rates: dict[str, list[float]] = {"numbers": [], "with overlays": [], "scikit-learn": []}
    with tempfile.TemporaryDirectory() as home:
        settings = load(home=home, host="127.0.0.1", port=0, metrics_port=0, models=["parts"], devices=("cpu",))
        with LocalServer(settings) as server:
            asyncio.run(served(server.target, layers, options.callers, 2, overlays=False))  # warm up
            for _ in range(options.rounds):
                for name, overlays in (("numbers", False), ("with overlays", True)):
                    answered = served(server.target, layers, options.callers, options.seconds, overlays=overlays)
                    rates[name].append(asyncio.run(answered))
                rates["scikit-learn"].append(loop(layers, options.seconds))
    reference = statistics.median(rates["scikit-learn"])
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name}: {median:.0f} a second ({min(found):.0f} to {max(found):.0f}), {median / reference:.2f} times")


async def served(target: str, layers: list[np.ndarray], callers: int, seconds: float, *, overlays: bool) -> float:
    """Return how many replies a second the callers read."""
    requests = [FactorizeCall(activations=layer, components=GROUPS).request() for layer in layers]
    for request in requests:
        request.omit_overlays = not overlays
    answered = 0

    async def call(stub: InterpretabilityServiceStub, number: int, until: float) -> None:
        nonlocal answered
        while time.monotonic() < until:
            reply = await stub.Factorize(requests[number % len(requests)], timeout=120)
            assert array_from_tensor(reply.spatial).shape[-1] == GROUPS
            answered += 1

    async with grpc.aio.insecure_channel(target) as channel:
        stub, started = InterpretabilityServiceStub(channel), time.monotonic()
        await asyncio.gather(*(call(stub, number, started + seconds) for number in range(callers)))
        return answered / (time.monotonic() - started)


def loop(layers: list[np.ndarray], seconds: float) -> float:
    """Return how many factorizations a second scikit-learn does, one after the other."""
    matrices = [layer[0].reshape(len(layer[0]), -1).T for layer in layers]
    started, done = time.monotonic(), 0
    while time.monotonic() < started + seconds:
        NMF(GROUPS, init="nndsvd").fit_transform(matrices[done % len(matrices)])
        done += 1
    return done / (time.monotonic() - started)


if __name__ == "__main__":
    main()
