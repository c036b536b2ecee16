"""Choose the workers of a machine: one per GPU, or else one single-threaded worker per CPU core, as far as memory
reaches.

On a CPU, several processes of one thread beat one process of several threads by a quarter (squeezenet1_0, 2 cores:
75 to 78 images/s against 56 to 59), since a network's small layers parallelize badly. While only one worker has a
batch, it may use the others' cores too.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from striate_service.backends.local.cgroup import Allowance, allowance
from striate_service.children import environment

logger = logging.getLogger(__name__)

WORKER_BYTES = 700 * 2**20  # of a worker that serves small networks: 250 to 730 MiB were seen
_SERVER_BYTES = 512 * 2**20  # of the server's own process: 230 to 370 MiB were seen
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


def choose_devices(
    setting: Literal["auto"] | Sequence[str],
    bytes_each: int,
    *,
    allowed: Allowance | None = None,
    cores: int | None = None,
    gpus: int | None = None,
) -> list[Device]:
    """Return the devices to start workers on; "auto" detects them, and takes no more than fit. The log says why.

    Args:
        bytes_each: what a worker's models and work may take, besides what it takes by itself.
        allowed: what the container allows.
        cores: that this process may use, its container aside.
        gpus: that there are.
    """
    allowed = allowed or allowance()
    present = _present_cores() if cores is None else cores
    usable = _usable(present, allowed)
    fitting = _fitting(bytes_each, allowed)
    if setting != "auto":
        if fitting < sum(name == "cpu" for name in setting):
            logger.warning("%s, as devices says, may need more than the %s", _workers(setting), _memory(allowed))
        return _share(usable, setting)
    if found := _gpus() if gpus is None else gpus:
        return _share(usable, [f"cuda:{index}" for index in range(found)])
    names = ["cpu"] * min(usable, fitting, _MOST_CPU_WORKERS)
    if fitting < min(usable, _MOST_CPU_WORKERS):
        each = (WORKER_BYTES + bytes_each) / 2**30
        why = f"in the {_memory(allowed)}, each with up to {each:.1f} GiB (max_task_bytes)"
    elif allowed.cpus is not None and allowed.cpus < present:
        why = f"for the {allowed.cpus:g} CPUs of its control group"
    else:
        why = f"for {present} cores"
    logger.info("%s %s", _workers(names), why)
    return _share(usable, names)


def _fitting(bytes_each: int, allowed: Allowance) -> int:
    """Return how many workers the memory holds; one is tried in any case."""
    if allowed.memory is None:
        return sys.maxsize
    return max(1, (allowed.memory - _SERVER_BYTES) // (WORKER_BYTES + bytes_each))


def _workers(names: Sequence[str]) -> str:
    return f"{len(names)} worker{'s' * (len(names) > 1)}"


def _memory(allowed: Allowance) -> str:
    return f"{(allowed.memory or 0) / 2**30:.1f} GiB of memory of its control group"


def _share(cores: int, names: Sequence[str]) -> list[Device]:
    threads = max(1, cores // len(names))
    return [Device(name, threads, max(threads, min(cores, _MOST_THREADS))) for name in names]


def count_cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    return _usable(_present_cores(), allowance())


def _present_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _usable(present: int, allowed: Allowance) -> int:
    """Return the whole cores of a quota: with 1.5, two workers would stand still for a quarter of the time."""
    return present if allowed.cpus is None else max(1, min(present, int(allowed.cpus)))


def _gpus() -> int:
    """Count CUDA devices in a separate process, since importing torch would cost the server seconds and memory."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()):
        return 0
    question = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(question, capture_output=True, text=True, check=True, env=environment()).stdout)
