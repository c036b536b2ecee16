"""Servers in processes of their own, as an orchestrator runs them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fragile
import torch
from processes import descriptors, memory, workers

STRIATE = str(Path(sys.executable).with_name("striate"))


@dataclass
class Running:
    process: subprocess.Popen[str]
    target: str = ""
    metrics: str = ""
    log: list[str] = field(default_factory=list)
    """What it has said."""

    def memory(self) -> int:
        """Return the bytes that the server's process holds."""
        return memory(self.process.pid)

    def descriptors(self) -> int:
        return descriptors(self.process.pid)

    def workers(self) -> list[int]:
        return workers(self.process.pid)

    def metric(self, name: str) -> float:
        """Return the sum over a metric's lines."""
        with urllib.request.urlopen(self.metrics) as reply:
            lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", reply.read().decode(), re.MULTILINE)
        return sum(map(float, lines))


def model_setting(
    folder: Path, make: Callable[[], torch.nn.Module] = fragile.factory, classes: str = ""
) -> dict[str, object]:
    """Save a factory's weights, and return how to serve its network."""
    weights = folder / f"{make.__name__}.pth"
    torch.save(make().state_dict(), weights)
    setting: dict[str, object] = {
        "name": make.__module__ if make.__name__ == "factory" else make.__name__,
        "architecture": f"{make.__module__}:{make.__name__}",
        "weights": str(weights),
        "preprocessing": {"resize": fragile.SIDE, "crop": fragile.SIDE},
    }
    if classes:
        (folder / "classes.txt").write_text(classes)
        setting["classes"] = str(folder / "classes.txt")
    return setting


def start(
    home: Path, *, command: Sequence[str] = (STRIATE,), port: int = 0, metrics_port: int = 0, **variables: str
) -> subprocess.Popen[str]:
    """Start a server of the fragile network, with one worker.

    Args:
        command: what is `striate`.
        port: 0: a free one. So is `metrics_port`.
        variables: of the environment, in place of the usual ones.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "STRIATE_HOME": str(home),
        "STRIATE_CPU_ENGINE": "torch",
        "STRIATE_COMPILE_AHEAD": "false",
        "STRIATE_MAX_BATCH_SIZE": "16",
        **variables,
    }
    if "STRIATE_MODELS" not in environment:
        environment["STRIATE_MODELS"] = json.dumps([model_setting(home)])
    arguments = ["serve", "--devices", "cpu", "--port", str(port), "--metrics-port", str(metrics_port)]
    return subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def serving(
    home: Path, *, command: Sequence[str] = (STRIATE,), port: int = 0, metrics_port: int = 0, **variables: str
) -> Iterator[Running]:
    """A server, from when it serves until it is killed."""
    process = start(home, command=command, port=port, metrics_port=metrics_port, **variables)
    running = Running(process)
    try:
        assert process.stderr
        for line in process.stderr:
            running.log.append(line)
            if addresses := re.search(r"serving .*? on (\S+:\d+)(?:, metrics on (\S+))?", line):
                break
        else:
            raise AssertionError(f"it did not start: {''.join(running.log)}")
        running.target, running.metrics = addresses[1], addresses[2] or ""
        threading.Thread(target=running.log.extend, args=(process.stderr,), daemon=True).start()
        yield running
    finally:
        process.kill()
        process.wait()
