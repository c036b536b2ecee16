"""Choose the workers of a machine: one per GPU, or else one single-threaded worker per CPU core.

On a CPU, several processes of one thread beat one process of several threads by a quarter (squeezenet1_0, 2 cores:
75 to 78 images/s against 56 to 59), since a network's small layers parallelize badly. While only one worker has a
batch, it may use the others' cores too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from striate_service.children import environment

_MOST_CPU_WORKERS = 8  # each holds a copy of the models; further cores become threads
_MOST_THREADS = 4  # of a worker while the others are idle: more threads gain ever less


@dataclass(frozen=True)
class Device:
    name: str
    """torch's name: "cpu", "cuda:0"."""
    threads: int
    """Threads of its worker while all workers are busy: its share of the cores."""
    threads_alone: int
    """Threads of its worker while the others are idle."""


def choose_devices(setting: Literal["auto"] | Sequence[str]) -> list[Device]:
    """Return the devices to start workers on; "auto" detects them."""
    cores = count_cores()
    if setting != "auto":
        return _share(cores, setting)
    if gpus := _gpus():
        return _share(cores, [f"cuda:{index}" for index in range(gpus)])
    return _share(cores, ["cpu"] * min(cores, _MOST_CPU_WORKERS))


def _share(cores: int, names: Sequence[str]) -> list[Device]:
    threads = max(1, cores // len(names))
    return [Device(name, threads, max(threads, min(cores, _MOST_THREADS))) for name in names]


def count_cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota_file = Path("/sys/fs/cgroup/cpu.max")
    quota, _, period = quota_file.read_text().partition(" ") if quota_file.is_file() else ("max", "", "")
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))


def _gpus() -> int:
    """Count CUDA devices in a separate process, since importing torch would cost the server seconds and memory."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()):
        return 0
    question = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(question, capture_output=True, text=True, check=True, env=environment()).stdout)
