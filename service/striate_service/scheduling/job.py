"""What waits and what runs: jobs, and the batches that they travel in."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from dataclasses import dataclass, replace


class Lane(enum.Enum):
    """Who waits for a job, which decides who goes first."""

    INTERACTIVE = "interactive"
    """A caller who waits: before everything else."""
    BATCH = "batch"
    """A pipeline, which cares for throughput and not for any single answer."""
    RENDERING = "rendering"
    """An icon: whenever no caller waits, one short slice at a time."""


@dataclass(frozen=True, eq=False)  # two jobs are never the same job
class Job:
    key: Hashable
    """Jobs of equal keys can share a batch: the same model, the same input shape."""
    size: int
    """How many images it brings."""
    lane: Lane = Lane.INTERACTIVE
    deadline: float = math.inf
    """On the scheduler's clock, in seconds."""
    caller: str = ""
    kind: Hashable = None
    """Jobs of one kind take time in one proportion to their forwards."""
    family: Hashable = None
    """What is not known of a kind yet is guessed from others of its family: of its model."""
    work: float | None = None
    """How long it takes, in forwards of one image. None: one for each of its images."""
    forward_seconds: float | None = None
    """How long a forward takes, as far as that is known before any job of the family has run."""
    memory_bytes: int = 0
    """That it takes of a worker, beside the network."""
    payload: object = None
    """What is to be done; none of the scheduler's business."""

    other_seconds: float = 0.0
    """How long it takes outside of the network, about."""

    @property
    def forwards(self) -> float:
        return self.size if self.work is None else self.work


@dataclass(frozen=True, eq=False)
class Batch:
    jobs: tuple[Job, ...]
    crashes: int = 0
    """How many workers it has already brought down."""

    @property
    def size(self) -> int:
        return sum(job.size for job in self.jobs)

    def after_crash(self) -> tuple[Batch, ...]:
        """Return how to try again: whole once, then in halves until the poisonous job is alone. Empty: give it up."""
        if self.crashes == 0:
            return (replace(self, crashes=1),)
        return self.halves()

    def halves(self) -> tuple[Batch, ...]:
        """Return the batch as two smaller ones; empty where it is a single job."""
        middle = len(self.jobs) // 2
        if middle == 0:
            return ()
        return (replace(self, jobs=self.jobs[:middle]), replace(self, jobs=self.jobs[middle:]))
