"""What crosses the boundary between the server and a worker. Arrays travel beside it, in shared memory.

Each message is a pickle that follows its length: the worker reads and writes them whole, one at a time, and the server
as they come, so that it never waits for a worker in the middle of one.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from striate_service.backends.local.shared_memory import ArrayRef
from striate_service.config import ModelSettings, Precision
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature
from striate_service.techniques.tasks import Task


@dataclass(frozen=True)
class Options:
    """How workers compute: what the operator chose."""

    exports: Path | None = None
    """Where exported networks are kept, for CPUs; None: networks run as they are."""
    precision: Precision = "float32"
    compiled: Path | None = None
    """Where compiled code is kept; None: it is compiled, or loaded, when it is first needed."""
    copy_ahead: bool = False
    """Whether a GPU is sent the next batch's images while it computes."""
    objectives: tuple[str, ...] = ()
    """Modules that register objectives of icons."""


@dataclass(frozen=True)
class Start:
    """To a new worker, first of all."""

    models: tuple[ModelSettings, ...]
    device: str
    threads: int
    options: Options


@dataclass(frozen=True)
class Started:
    models: tuple[ModelDescription, ...]
    engines: tuple[str, ...]
    """What runs each model, and in which precision: "onnx", "torch bfloat16"."""
    hardware: str
    """What the device is, in its maker's words."""
    objectives: tuple[Signature, ...] = ()
    """Those that are registered, by name."""


@dataclass(frozen=True)
class StartFailed:
    reason: str


@dataclass(frozen=True)
class Run:
    """Carry out these tasks together."""

    slot: int
    """Where their inputs are, and their results go."""
    threads: int
    """That an exported network may take."""
    tasks: tuple[Task, ...]
    inputs: tuple[dict[str, ArrayRef], ...]


@dataclass(frozen=True)
class Refusal:
    """The task cannot be done, and the caller can mend it."""

    field: str
    problem: str


@dataclass(frozen=True)
class Failure:
    """The task cannot be done, and it is not the caller's fault."""

    reason: str


Outcome = dict[str, ArrayRef] | Refusal | Failure


@dataclass(frozen=True)
class Ran:
    """One outcome a task, in their order."""

    outcomes: tuple[Outcome, ...]
    seconds: float


@dataclass(frozen=True)
class RunFailed:
    """The tasks failed together, in what they share; smaller batches may do better."""

    reason: str
    out_of_memory: bool


@dataclass(frozen=True)
class Ping:
    """Still there?"""


@dataclass(frozen=True)
class Pong:
    """Yes."""


Request = Run | Ping
Reply = Ran | RunFailed | Pong

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
    """As `read`, in an event loop.

    Raises:
        asyncio.IncompleteReadError, OSError: the other end is closed.
    """
    header = await stream.readexactly(_LENGTH.size)
    return pickle.loads(await stream.readexactly(*_LENGTH.unpack(header)))
