"""What the service needs of whoever computes: processes of this machine today, actors on others tomorrow.

A backend serves models with workers. A worker has room for a batch or not; whoever takes its room runs one batch there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from striate_service.config import ModelSettings
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature
from striate_service.techniques.outcomes import Failure, Refusal
from striate_service.techniques.tasks.base import Work


class StartError(Exception):
    """The backend cannot start, or a model cannot be loaded. The text tells the operator why."""


class WorkerDied(Exception):
    """The worker ended, or had to be ended, before it answered."""


class NeverBegun(WorkerDied):
    """It died of an earlier batch: this one was only waiting behind it."""


@dataclass(frozen=True)
class Ran:
    """What became of a batch."""

    outcomes: tuple[Any | Refusal | Failure, ...]
    """Each task's result, or why there is none, in their order."""
    seconds: float


@dataclass(frozen=True)
class RunFailed:
    """The tasks failed together, in what they share; smaller batches may do better."""

    reason: str
    out_of_memory: bool


@dataclass(frozen=True)
class BatchLimit:
    images: int
    """That one forward takes."""
    images_per_second: float = 0.0
    """What was measured at that size; 0 where it was set by hand."""


class Claim(Protocol):
    """The right to run one batch on a worker. It ends with `run`."""

    async def run(self, works: Sequence[Work], *, alone: bool, time_limit: float) -> Ran | RunFailed:
        """Have tasks carried out together.

        Args:
            alone: no other worker has anything to do, so that this one may take more of the machine.
            time_limit: seconds from when the batch's turn comes. A worker that takes longer is ended.

        Raises:
            NeverBegun: the worker ended before it came to them.
            WorkerDied: it ended over them, or took too long and was ended.
            MemoryError: the inputs do not fit in memory.
        """
        ...


class Worker(Protocol):
    """One that computes a batch at a time."""

    @property
    def device_name(self) -> str:
        """Of the device that it computes on, as torch calls it: a label of metrics."""
        ...

    @property
    def in_flight(self) -> int:
        """How many batches it has."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether it takes another batch."""
        ...

    def claim(self) -> Claim:
        """Take its room for one batch. Only where it `has_room`."""
        ...


@dataclass(frozen=True)
class SpoolProgress:
    """How far the factorization of a spool is, 0 to 1."""

    share: float


@dataclass(frozen=True)
class SpoolBasis:
    """The groups in a spool."""

    directions: NDArray[np.float32]
    """[K, C]"""
    importance: NDArray[np.float32]
    """[K]"""
    relative_error: float
    scale: float
    """The 0.9 quantile, over positions, of the sum over groups."""


@dataclass(frozen=True)
class SpoolFailed:
    reason: str


class SpoolFull(Exception):
    """More activations than the operator allows on disk."""


class Spool(Protocol):
    """Activations of more images than fit into memory, which are factorized where they lie."""

    @property
    def rows(self) -> int:
        """How many positions it holds."""
        ...

    def add(self, activations: NDArray[np.float16]) -> None:
        """Append activations [N, C, H, W]. Blocking.

        Raises:
            SpoolFull: there is no more room for them.
        """
        ...

    def factorize(self, components: int) -> AsyncGenerator[SpoolProgress | SpoolBasis | SpoolFailed, None]:
        """Factorize all of it beside the workers; yield progress, and at last what was found or why nothing was."""
        ...


class Backend(Protocol):
    """Who computes."""

    @property
    def workers(self) -> Sequence[Worker]: ...

    @property
    def models(self) -> Sequence[ModelDescription]:
        """What it serves, in the order of the settings, then of loading."""
        ...

    @property
    def objectives(self) -> Mapping[str, Signature]:
        """Objectives of icons that the operator has added, by name."""
        ...

    async def start(self, on_room: Callable[[], None]) -> None:
        """Start the workers with their models.

        Args:
            on_room: called whenever a worker that had no room may have some for another reason than its batch's end.

        Raises:
            StartError: a worker cannot start.
        """
        ...

    async def stop(self) -> None:
        """End the workers. What they have is lost."""
        ...

    async def load(self, settings: ModelSettings) -> ModelDescription:
        """Serve one more model. Running work is not disturbed, whatever goes wrong.

        Raises:
            InvalidArgument: its devices are none of this backend's, or it cannot be loaded; all is as it was.
        """
        ...

    async def unload(self, name: str) -> None:
        """Serve a model no more."""
        ...

    def batch_limit(self, worker: Worker, model: str) -> BatchLimit | None:
        """Return how many images a worker takes at a time; None: it does not have the model."""
        ...

    def lower_batch_limit(self, worker: Worker, model: str, images: int) -> None:
        """Note that more images do not fit."""
        ...

    def count_workers(self, device: str, state: str) -> int:
        """Return how many workers of a device are in a state (starting, idle, busy, down, stopped): its health."""
        ...

    def spool(self, channels: int) -> AbstractContextManager[Spool]:
        """Make an empty spool of activations of so many channels; nothing of it is left behind."""
        ...


def batch_limits(backend: Backend, model: str) -> Mapping[str, BatchLimit]:
    """Return how many images a forward of a model takes, by device."""
    found = {worker.device_name: backend.batch_limit(worker, model) for worker in backend.workers}
    return {device: limit for device, limit in found.items() if limit}
