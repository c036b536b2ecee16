"""Admission, queueing and batching. The scheduler knows jobs and deadlines, but no clocks, tensors or workers.

Batching is work-conserving: an idle worker gets a batch at once, however small; jobs gather only while all workers are
busy. Callers go before pipelines and pipelines before rendering, but no lane starves; within a lane callers share
fairly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from striate_service.errors import DeadlineExceeded, Overloaded, QueueFull, QuotaExceeded
from striate_service.scheduling.fair_queue import FairQueue
from striate_service.scheduling.job import Batch, Job, Lane

SEND_EARLY_SECONDS = 0.05
"""How long before a worker should be free it may get its next batch: covers the transfer and a poor estimate."""

_PATIENCE = {Lane.INTERACTIVE: 0.0, Lane.BATCH: 1.0, Lane.RENDERING: 10.0}
"""How many seconds higher lanes may go first; then one batch of this lane goes. 0: never."""
_DEFAULT_FORWARD_SECONDS = 0.05  # of a model that has not been measured
_MARGIN = 1.5  # times the estimate, so that admitted jobs meet their deadline; replies take time too
_TIMEOUT_FACTOR = 10  # times the estimate, which may be too low when other processes use the machine
_MAX_CORRECTION = 10  # of a cost: longer delays, such as a first compilation, do not last, but refusals would
_LEARNING_RATE = 0.2  # of the moving averages of measured times


@dataclass
class TooMuchWork(Exception):
    """A job that exceeds what one job may take of a worker, even on an idle server."""

    unit: str
    """Of the two figures: "s", "MiB of memory"."""
    needed: float
    allowed: float

    def __str__(self) -> str:
        return f"would take about {self.needed:.0f} {self.unit}, and at most {self.allowed:.0f} {self.unit} are allowed"


class Scheduler:
    """Four verbs: `admit` a job, `enqueue` it when its inputs are ready, take the `next_batch`, `retry` a batch.

    Times are seconds on any monotonic clock, passed in by the caller.
    """

    def __init__(
        self,
        *,
        max_queue: int,
        max_queue_per_caller: int = 0,
        workers: int = 1,
        max_job_seconds: float = math.inf,
        max_job_bytes: float = math.inf,
    ) -> None:
        """Make an empty scheduler.

        Args:
            max_queue: jobs that may wait in a lane. Rendering has no limit: the service itself orders it.
            max_queue_per_caller: jobs of one caller among these. 0: no limit.
            workers: how many batches run at a time.
            max_job_seconds: estimated seconds that one job may take of a worker.
            max_job_bytes: memory in a worker for one job, and for all jobs of one batch.
        """
        self._max_queue = max_queue
        self._max_queue_per_caller = max_queue_per_caller
        self._workers = workers
        self._max_job_seconds = max_job_seconds
        self._max_job_bytes = max_job_bytes
        self._admitted = {lane: FairQueue() for lane in Lane}
        self._lanes = {lane: FairQueue() for lane in Lane}
        self._passed_over_since = dict.fromkeys(Lane, 0.0)
        self._retries: deque[Batch] = deque()
        self._running: dict[Batch, None] = {}  # a set that keeps its order
        self._seconds_per_forward: dict[Hashable, float] = {}
        """By family, measured on batches without work outside the network."""
        self._best_forward: dict[Hashable, float] = {}
        """By family, the lowest measured seconds: a job is refused only if it is too slow even at this rate."""
        self._corrections: dict[Hashable, float] = {}
        """By kind, the ratio of measured to estimated time."""

    def admit(self, job: Job, now: float) -> None:
        """Give `job` a place before its inputs are prepared. It can be taken once it is enqueued.

        Raises:
            DeadlineExceeded: its deadline has passed.
            TooMuchWork: it would take more time or memory than one job may.
            QueueFull: the lane has `max_queue` jobs.
            QuotaExceeded: the lane has `max_queue_per_caller` jobs of its caller.
            Overloaded: it would miss its deadline.
        """
        if job.deadline <= now:
            raise DeadlineExceeded
        if job.lane is not Lane.RENDERING:
            self._check_cost(job)
            queues = (self._admitted[job.lane], self._lanes[job.lane])
            if sum(map(len, queues)) >= self._max_queue:
                raise QueueFull(self._max_queue, self.expected_wait(job))
            if 0 < self._max_queue_per_caller <= sum(queue.count(job.caller) for queue in queues):
                raise QuotaExceeded(job.caller, self._max_queue_per_caller, self.expected_wait(job))
            if job.deadline < math.inf and job.kind in self._corrections:
                wait = self.expected_wait(job)
                # An idle server tries: what it learned while the machine was busy would else be true for ever.
                own = self._seconds(job) if wait else self._least_seconds(job)
                if now + _MARGIN * (wait + own) > job.deadline:
                    raise Overloaded(wait)
        self._admitted[job.lane].add(job)

    def _check_cost(self, job: Job) -> None:
        if job.memory_bytes > self._max_job_bytes:
            raise TooMuchWork("MiB of memory", job.memory_bytes / 2**20, self._max_job_bytes / 2**20)
        seconds = self._least_seconds(job)
        if seconds > self._max_job_seconds:
            raise TooMuchWork("s", seconds, self._max_job_seconds)

    def enqueue(self, job: Job, now: float) -> None:
        """Put an admitted job in the queue.

        Raises:
            DeadlineExceeded: its deadline has passed.
        """
        self._admitted[job.lane].remove(job)
        if job.deadline <= now:
            raise DeadlineExceeded
        queue = self._lanes[job.lane]
        if not queue:
            self._passed_over_since[job.lane] = now
        queue.add(job)

    def next_batch(
        self,
        now: float,
        max_batch_size: Callable[[Hashable], int],
        *,
        busy_for: float | None = None,
        makes_way: bool = False,
    ) -> tuple[Batch | None, tuple[Job, ...]]:
        """Return a worker's next batch, if any, and the jobs whose deadline has passed, which are not run.

        Args:
            max_batch_size: how many images of a key the worker takes at a time. 0: it cannot take that key.
            busy_for: seconds until the worker should finish its batch. None: it is idle. A busy worker gets only a full
                batch, which gains nothing by waiting, and only shortly before it is free, since no later job can
                overtake a batch that was sent. A worker that is overdue gets none: it may never finish.
            makes_way: its batch stops early for another one, so any may be sent but one of the same lane.
        """
        expired = tuple(job for queue in self._lanes.values() for job in queue if job.deadline <= now)
        for job in expired:
            self._lanes[job.lane].remove(job)
        batch = None
        if busy_for is None:
            batch = self._next_retry(max_batch_size) or self._next_of_lanes(now, max_batch_size)
        elif makes_way:
            batch = self._next_of_lanes(now, max_batch_size, but=Lane.RENDERING)
        elif abs(busy_for) <= SEND_EARLY_SECONDS:
            batch = self._next_of_lanes(now, max_batch_size, only_full=True)
        if batch:
            self._running[batch] = None
        return batch, expired

    def cancel(self, job: Job) -> bool:
        """Remove a job that waits, and return whether it did. A job that runs or has ended is not affected."""
        for queue in (self._admitted[job.lane], self._lanes[job.lane]):
            if job in queue:
                queue.remove(job)
                return True
        return False

    def give_up(self, hopeless: Callable[[Job], bool]) -> tuple[Job, ...]:
        """Take out and return the jobs that wait in vain. The jobs of a retried batch are alike in that."""
        batches = [batch for batch in self._retries if hopeless(batch.jobs[0])]
        for batch in batches:
            self._retries.remove(batch)
        jobs = [job for queue in self._lanes.values() for job in queue if hopeless(job)]
        for job in jobs:
            self._lanes[job.lane].remove(job)
        return (*(job for batch in batches for job in batch.jobs), *jobs)

    def retry(self, batches: Iterable[Batch]) -> None:
        """Run these batches before any other, each by itself."""
        self._retries.extend(batches)

    def ended(self, batch: Batch, seconds: float | None = None) -> None:
        """Note that a batch has ended and, if it succeeded in `seconds`, learn from its time."""
        self._running.pop(batch, None)
        if seconds is None:
            return
        families = {job.family for job in batch.jobs}
        if None not in families and not any(job.other_seconds for job in batch.jobs):
            (family,) = families
            seconds_per_forward = seconds / sum(job.forwards for job in batch.jobs)
            self._best_forward[family] = min(seconds_per_forward, self._best_forward.get(family, math.inf))
            known = self._seconds_per_forward.setdefault(family, seconds_per_forward)
            self._seconds_per_forward[family] = known + _LEARNING_RATE * (seconds_per_forward - known)
        # Jobs of several kinds may share a batch; its time is split in proportion to their estimates.
        ratio = seconds / sum(map(self._seconds, batch.jobs))
        for kind, has_cost in {(job.kind, job.work is not None) for job in batch.jobs}:
            correction = self._corrections.get(kind)
            changed = ratio if correction is None else correction * (1 + _LEARNING_RATE * (ratio - 1))
            self._corrections[kind] = min(changed, _MAX_CORRECTION) if has_cost else changed

    def seconds(self, batch: Batch) -> float:
        """Estimate how long a batch takes; infinite where a kind in it has not been measured."""
        return sum(self._seconds(job, unknown=math.inf) for job in batch.jobs)

    def time_limit(self, batch: Batch, least: float, most: float) -> float:
        """Return the seconds after which a batch has certainly hung: many times its estimate."""
        return min(most, max(least, _TIMEOUT_FACTOR * self.seconds(batch)))

    def is_alone(self, batch: Batch) -> bool:
        """Whether a running batch is the only work: nothing else runs, waits or was admitted."""
        queues = (*self._admitted.values(), *self._lanes.values())
        return self._running.keys() == {batch} and not self._retries and not any(queues)

    def waiting(self, lane: Lane) -> int:
        """Return how many enqueued jobs wait in a lane."""
        return len(self._lanes[lane])

    def waiting_jobs(self, lane: Lane) -> tuple[Job, ...]:
        """Return the enqueued jobs of a lane."""
        return tuple(self._lanes[lane])

    def expected_wait(self, job: Job) -> float:
        """Estimate the seconds until a new job would run, from the jobs before it."""
        lanes = list(Lane)
        seconds = 0.0
        for number, batch in enumerate(
            self._running
        ):  # half done on average; batches that were sent early have not begun
            seconds += sum(map(self._seconds, batch.jobs)) / (2 if number < self._workers else 1)
        for queues in (self._admitted, self._lanes):
            for lane in lanes[: lanes.index(job.lane)]:
                seconds += sum(map(self._seconds, queues[lane]))
            seconds += sum(share * self._seconds(other) for other, share in queues[job.lane].ahead_of(job))
        return seconds / self._workers

    def _next_retry(self, max_batch_size: Callable[[Hashable], int]) -> Batch | None:
        batch = next((batch for batch in self._retries if max_batch_size(batch.jobs[0].key)), None)
        if batch:
            self._retries.remove(batch)
        return batch

    def _next_of_lanes(
        self,
        now: float,
        max_batch_size: Callable[[Hashable], int],
        *,
        only_full: bool = False,
        but: Lane | None = None,
    ) -> Batch | None:
        for lane in self._lanes_in_turn(now):
            if lane is but:
                continue
            queue = self._lanes[lane]
            first = queue.first(max_batch_size)
            if first is None:
                continue
            limit = max_batch_size(first.key)
            if only_full and queue.images(first.key) < limit:
                return None
            self._passed_over_since[lane] = now
            return Batch(queue.take(first, limit, self._max_job_bytes))
        return None

    def _seconds(self, job: Job, unknown: float = 1.0) -> float:
        """Estimate how long a job takes.

        Args:
            unknown: the correction of a kind that has not been measured.
        """
        seconds_per_forward = self._seconds_per_forward.get(job.family, job.forward_seconds or _DEFAULT_FORWARD_SECONDS)
        cost = job.forwards * seconds_per_forward + job.other_seconds
        return cost * self._corrections.get(job.kind, unknown)

    def _least_seconds(self, job: Job) -> float:
        """Estimate how long a job takes at the best rate that has been seen."""
        known = (job.forward_seconds, self._best_forward.get(job.family))
        seconds_per_forward = min((each for each in known if each is not None), default=_DEFAULT_FORWARD_SECONDS)
        return job.forwards * seconds_per_forward + job.other_seconds

    def _lanes_in_turn(self, now: float) -> list[Lane]:
        """Return the lanes with jobs: first those passed over for too long, then by rank."""
        waiting = [lane for lane in Lane if self._lanes[lane]]
        return sorted(waiting, key=lambda lane: not now - self._passed_over_since[lane] > _PATIENCE[lane] > 0)
