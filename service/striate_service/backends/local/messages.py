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

from striate_service.backends.local.shared_memory import Packed
from striate_service.backends.protocol import RunFailed
from striate_service.config import ModelSettings, Precision
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature


@dataclass(frozen=True)
class Options:
    """How workers compute: what the operator chose."""

    exports: Path | None = None
    """Where exported networks are kept, for CPUs; None: networks run as they are."""
    precision: Precision = "float32"
    compiled: Path | None = None
    """Where compiled code is kept; None: it is compiled, or loaded, when it is first needed."""
    objectives: tuple[str, ...] = ()
    """Modules that register objectives of icons, to be imported."""
    copy_early: bool = False
    """Whether a GPU is sent the next batch's images while it computes."""


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
    """What runs each model, and in which precision: "onnx", "torch bfloat16"."""
    hardware: str
    """What the device is, in its maker's words."""
    objectives: tuple[Signature, ...]
    """Those that the operator's modules have registered."""


@dataclass(frozen=True)
class StartFailed:
    reason: str


@dataclass(frozen=True)
class Run:
    """Carry out a batch: a sequence of `protocol.Work`."""

    slot: int
    """Where its arrays are, and its results go."""
    works: Packed
    images_at_once: int
    """That one forward takes."""
    threads: int
    """That an exported network may take."""


@dataclass(frozen=True)
class RunEnded:
    """The outcomes of a batch, as `protocol.Ran` has them."""

    outcomes: Packed
    seconds: float


@dataclass(frozen=True)
class Ping:
    """Does the worker still answer?"""


@dataclass(frozen=True)
class Pong:
    """It does."""


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
    """As `read`, in an event loop.

    Raises:
        asyncio.IncompleteReadError, OSError: the other end is closed.
    """
    header = await stream.readexactly(_LENGTH.size)
    return pickle.loads(await stream.readexactly(*_LENGTH.unpack(header)))
