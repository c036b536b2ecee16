"""Jobs, and the batches that they run in."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from dataclasses import dataclass, replace


class Lane(enum.Enum):
    """A job's priority."""

    INTERACTIVE = "interactive"
    """A caller waits for the answer: first."""
    BATCH = "batch"
    """A pipeline, which needs throughput more than low latency: second."""
    RENDERING = "rendering"
    """An icon: when no caller waits, one short slice at a time."""


@dataclass(frozen=True, eq=False)  # jobs are compared by identity
class Job:
    key: Hashable
    """Jobs with equal keys can share a batch: the same model, the same kind of input."""
    size: int
    """Its number of images."""
    lane: Lane = Lane.INTERACTIVE
    deadline: float = math.inf
    """On the scheduler's clock, in seconds."""
    caller: str = ""
    kind: Hashable = None
    """Jobs of one kind take time in one proportion to their forwards."""
    family: Hashable = None
    """The model: unmeasured kinds are estimated from other kinds of the same family."""
    work: float | None = None
    """Its time in the network, in forward passes of one image. None: one for each of its images."""
    forward_seconds: float | None = None
    """Seconds of such a pass, where known before any job of the family has run."""
    memory_bytes: int = 0
    """Memory that it needs in a worker, besides the network."""
    payload: object = None
    """For the engine; the scheduler does not read it."""

    other_seconds: float = 0.0
    """Its estimated seconds outside the network."""

    @property
    def forwards(self) -> float:
        return self.size if self.work is None else self.work


@dataclass(frozen=True, eq=False)
class Batch:
    jobs: tuple[Job, ...]
    crashes: int = 0
    """How many workers died while running it."""

    @property
    def size(self) -> int:
        return sum(job.size for job in self.jobs)

    @property
    def makes_way(self) -> bool:
        """Whether it stops early where the worker has got another batch, to go on later."""
        return all(job.lane is Lane.RENDERING for job in self.jobs)

    def after_crash(self) -> tuple[Batch, ...]:
        """Return the batches to retry: the whole once, then halves until the crashing job is alone. Empty: give up."""
        if self.crashes == 0:
            return (replace(self, crashes=1),)
        return self.halves()

    def halves(self) -> tuple[Batch, ...]:
        """Return the batch as two smaller ones; empty where it is a single job."""
        middle = len(self.jobs) // 2
        if middle == 0:
            return ()
        return (replace(self, jobs=self.jobs[:middle]), replace(self, jobs=self.jobs[middle:]))
