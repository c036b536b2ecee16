"""Messages between the server and a worker. Arrays travel separately, in shared memory.

Each message is its length and a pickle. The worker reads and writes messages with blocking calls; the server reads them
in its event loop, so that a slow worker never blocks it.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from striate_service.backends.local.shared_memory import Packed
from striate_service.backends.protocol import RunFailed
from striate_service.config import LogFormat, LogLevel, ModelSettings, Precision
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature


@dataclass(frozen=True)
class Options:
    """How workers compute, from the settings."""

    exports: Path | None = None
    """The folder of exported networks, for CPUs; None: do not export."""
    precision: Precision = "float32"
    compiled: Path | None = None
    """The folder of compiled kernels; None: compile or load them on first use."""
    objectives: tuple[str, ...] = ()
    """Modules to import, which register icon objectives."""
    copy_early: bool = False
    """Whether the next batch's images are copied to a GPU while it computes."""
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"


@dataclass(frozen=True)
class Start:
    """The first message to a new worker: load these models."""

    models: tuple[ModelSettings, ...]
    device: str
    threads: int
    options: Options


@dataclass(frozen=True)
class Started:
    models: tuple[ModelDescription, ...]
    engines: tuple[str, ...]
    """Each model's engine and precision: "onnx", "torch bfloat16"."""
    hardware: str
    """The device's product name."""
    objectives: tuple[Signature, ...]
    """Registered by the operator's modules."""


@dataclass(frozen=True)
class StartFailed:
    reason: str


@dataclass(frozen=True)
class Run:
    """Run a batch."""

    slot: int
    """The slot of the batch's arrays and of its results."""
    works: Packed
    """A sequence of `tasks.base.Work`."""
    images_at_once: int
    """Images in one forward pass."""
    threads: int
    """Threads that an exported network may use."""


@dataclass(frozen=True)
class DeviceUse:
    """How much of a GPU is in use, by whichever process."""

    memory_used: int
    memory_total: int
    """In bytes."""
    utilization: float | None
    """The share of the last second or so in which it computed; None: NVML does not tell."""


@dataclass(frozen=True)
class RunEnded:
    """A `protocol.RunResult` whose outcomes are in shared memory."""

    outcomes: Packed
    began: float
    """On time.monotonic(), the clock of all processes of a machine."""
    seconds: float
    seconds_once: float
    use: DeviceUse | None = None
    """None: of a CPU, or where it was told a moment ago."""


@dataclass(frozen=True)
class Ping:
    """Asks whether the worker still answers."""


@dataclass(frozen=True)
class Pong:
    """The answer to a `Ping`."""

    use: DeviceUse | None = None


Request = Run | Ping
Reply = RunEnded | RunFailed | Pong

_LENGTH = struct.Struct("!Q")


def to_bytes(message: object) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def write(stream: BufferedIOBase, message: object) -> None:
    stream.write(to_bytes(message))
    stream.flush()


def read(stream: BufferedIOBase) -> Any:
    """Return the next message, waiting for it.

    Raises:
        EOFError: the other end is closed.
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(*_LENGTH.unpack(header)))


async def receive(stream: asyncio.StreamReader) -> Any:
    """Return the next message without blocking the event loop.

    Raises:
        asyncio.IncompleteReadError, OSError: the other end is closed.
    """
    header = await stream.readexactly(_LENGTH.size)
    return pickle.loads(await stream.readexactly(*_LENGTH.unpack(header)))
