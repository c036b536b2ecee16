"""What the service needs from a backend: processes on this machine today, perhaps actors on other machines later.

A backend serves models with workers. A claim on a worker that has room is the right to run one batch there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
    """The worker died, or was killed, before it answered."""


class NeverBegun(WorkerDied):
    """The worker died while an earlier batch ran; this batch had not begun."""


@dataclass(frozen=True)
class RunResult:
    """The outcomes of a batch."""

    outcomes: tuple[Any | Refusal | Failure, ...]
    """Each task's result, or why there is none, in the order of the tasks."""
    began: float
    """When the worker began, on the server's time.monotonic()."""
    seconds: float
    seconds_once: float = 0.0
    """Of `seconds`: what was made for the first such batch, and is there for the next."""
    process: int = 0
    """The id of the worker's process."""


@dataclass(frozen=True)
class RunFailed:
    """The whole batch failed; smaller batches may succeed."""

    reason: str
    out_of_memory: bool


@dataclass(frozen=True)
class BatchLimit:
    images: int
    """In one forward pass."""
    images_per_second: float = 0.0
    """Measured at that size; 0: not measured."""


class Claim(Protocol):
    """The right to run one batch on a worker. `run` uses it up."""

    async def run(self, works: Sequence[Work], *, alone: bool, time_limit: float) -> RunResult | RunFailed:
        """Run tasks as one batch.

        Args:
            alone: no other worker has work, so this one may use more of the machine.
            time_limit: seconds from the start of the batch. A worker that takes longer is killed.

        Raises:
            NeverBegun: the worker died before the batch began.
            WorkerDied: it died during the batch, or took too long and was killed.
            MemoryError: the inputs do not fit in memory.
        """
        ...


class Worker(Protocol):
    """Computes one batch at a time."""

    @property
    def device_name(self) -> str:
        """torch's name of its device, which labels metrics."""
        ...

    @property
    def in_flight(self) -> int:
        """How many batches it runs or has queued."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether it can take another batch."""
        ...

    def claim(self) -> Claim:
        """Reserve room for one batch. Call it only if the worker `has_room`."""
        ...


@dataclass(frozen=True)
class SpoolProgress:
    """The progress of a spool's factorization, 0 to 1."""

    share: float


@dataclass(frozen=True)
class SpoolBasis:
    """The groups that were found in a spool."""

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
    """The activations exceed the operator's limit on disk space."""

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.alone = alone
        """Whether those of this spool would by themselves."""


class Spool(Protocol):
    """Activations of more images than fit into memory, stored so that they can be factorized."""

    @property
    def rows(self) -> int:
        """How many positions it holds."""
        ...

    def add(self, activations: NDArray[np.float16]) -> None:
        """Append activations [N, C, H, W]. Blocking.

        Raises:
            SpoolFull: with those of all spools they exceed the limit.
            OSError: the disk does not take them.
        """
        ...

    def factorize(
        self, components: int, method: Literal["nmf", "semi-nmf"], rectify: bool
    ) -> AsyncGenerator[SpoolProgress | SpoolBasis | SpoolFailed, None]:
        """Factorize all activations outside the workers; yield progress and, last, the basis or the failure."""
        ...


class Backend(Protocol):
    """Workers, and the models that they serve."""

    @property
    def workers(self) -> Sequence[Worker]: ...

    @property
    def models(self) -> Sequence[ModelDescription]:
        """The served models, in the order of the settings, then of loading."""
        ...

    @property
    def objectives(self) -> Mapping[str, Signature]:
        """Icon objectives that the operator registered, by name."""
        ...

    def is_lost(self, model: str = "") -> bool:
        """Whether no worker (of a model) runs, and none could be started: until one can, nothing is computed."""
        ...

    async def start(self, on_change: Callable[[], None]) -> None:
        """Start the workers with their models.

        Args:
            on_change: called when a worker may have room for a reason other than the end of a batch, or when one could
                not be started.

        Raises:
            StartError: a worker cannot start.
        """
        ...

    async def stop(self) -> None:
        """Stop the workers. Batches in flight are lost."""
        ...

    async def load(self, settings: ModelSettings) -> ModelDescription:
        """Serve one more model. Running batches are not disturbed, even if loading fails.

        Raises:
            InvalidArgument: the backend lacks its devices, or it cannot be loaded; nothing has changed.
        """
        ...

    async def unload(self, name: str) -> None:
        """Stop serving a model."""
        ...

    def batch_limit(self, worker: Worker, model: str) -> BatchLimit | None:
        """Return how many images a worker takes at a time; None: it does not serve the model."""
        ...

    def lower_batch_limit(self, worker: Worker, model: str, images: int) -> None:
        """Lower a limit, since more images do not fit in memory."""
        ...

    def count_workers(self, device: str, state: str) -> int:
        """Return how many workers of a device are in a state: starting, idle, busy, down or stopped."""
        ...

    def spool(self, channels: int) -> AbstractContextManager[Spool]:
        """Open an empty spool for activations with `channels` channels; the context's end deletes it."""
        ...


def batch_limits(backend: Backend, model: str) -> Mapping[str, BatchLimit]:
    """Return how many images one forward pass of a model takes, by device."""
    found = {worker.device_name: backend.batch_limit(worker, model) for worker in backend.workers}
    return {device: limit for device, limit in found.items() if limit}
