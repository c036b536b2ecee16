"""Admission, queueing and batching. It knows jobs and deadlines, and neither clocks, tensors nor workers.

Batching is work-conserving: whoever is free takes a batch at once, however small, and jobs gather only while nobody is.
Callers go before pipelines and pipelines before rendering, but none waits for ever; within a lane callers share fairly.
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
"""So long before a worker is free its next batch may be sent: enough for its transport, and for a poor estimate."""

_PATIENCE = {Lane.INTERACTIVE: 0.0, Lane.BATCH: 1.0, Lane.RENDERING: 10.0}
"""Seconds that a lane lets those above it go first; then one batch of it does."""
_UNKNOWN_SECONDS = 0.05  # a forward, before anything of a kind has been measured
_MARGIN = 1.5  # on the estimate: what is accepted should be answered in time, and replies take time too
_CERTAINLY_TOO_LONG = 10  # times the estimate, which other work on the machine may have made too small
_LEARNING_RATE = 0.2  # of the moving average of seconds a forward


@dataclass(frozen=True)
class TooMuchWork(Exception):
    """A job that would take more of a worker than any may, also on an idle server."""

    unit: str
    """What it takes too much of: "s", "MiB of memory"."""
    needed: float
    allowed: float

    def __str__(self) -> str:
        return f"would take about {self.needed:.0f} {self.unit}, and at most {self.allowed:.0f} {self.unit} are allowed"


class Scheduler:
    """Four verbs: `admit` a job, `enqueue` it when its inputs are ready, take the `next_batch`, `retry` a crashed one.

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
        """Make an empty one.

        Args:
            max_queue: jobs that may wait in a lane. Rendering has no limit: the service itself orders it.
            max_queue_per_caller: of these, jobs of one caller. 0: no limit.
            workers: how many batches run at a time.
            max_job_seconds: that one job may take of a worker, as far as can be told before.
            max_job_bytes: of a worker's memory, for one job and for the jobs of one batch together.
        """
        self._max_queue = max_queue
        self._max_queue_per_caller = max_queue_per_caller
        self._workers = workers
        self._max_job_seconds = max_job_seconds
        self._max_job_bytes = max_job_bytes
        self._coming = {lane: FairQueue() for lane in Lane}
        self._lanes = {lane: FairQueue() for lane in Lane}
        self._passed_over_since = dict.fromkeys(Lane, 0.0)
        self._retries: deque[Batch] = deque()
        self._running: dict[Batch, None] = {}  # a set that keeps its order
        self._seconds_per_forward: dict[Hashable, float] = {}
        """By family, as jobs took it that have nothing to do outside of the network."""
        self._best_forward: dict[Hashable, float] = {}
        """By family, the fewest seconds that a forward ever took: what is refused must be too much at any time."""
        self._corrections: dict[Hashable, float] = {}
        """By kind: how many times as long its jobs take as their costs say."""

    def admit(self, job: Job, now: float) -> None:
        """Give `job` a place, before anything is spent on it. It waits for its turn once it is enqueued.

        Raises:
            DeadlineExceeded: it has expired already.
            TooMuchWork: it would take longer, or more memory, than one job may.
            QueueFull: as many jobs have a place as may.
            QuotaExceeded: as many jobs of its caller have one as may.
            Overloaded: its turn would come after its deadline.
        """
        if job.deadline <= now:
            raise DeadlineExceeded
        if job.lane is not Lane.RENDERING:
            self._check_cost(job)
            queues = (self._coming[job.lane], self._lanes[job.lane])
            if sum(map(len, queues)) >= self._max_queue:
                raise QueueFull(self._max_queue, self.expected_wait(job))
            if 0 < self._max_queue_per_caller <= sum(queue.count(job.caller) for queue in queues):
                raise QuotaExceeded(job.caller, self._max_queue_per_caller, self.expected_wait(job))
            if job.deadline < math.inf and job.kind in self._corrections:
                wait = self.expected_wait(job)
                if now + _MARGIN * (wait + self._seconds(job)) > job.deadline:
                    raise Overloaded(wait)
        self._coming[job.lane].add(job)

    def _check_cost(self, job: Job) -> None:
        if job.memory_bytes > self._max_job_bytes:
            raise TooMuchWork("MiB of memory", job.memory_bytes / 2**20, self._max_job_bytes / 2**20)
        known = (job.forward_seconds, self._best_forward.get(job.family))
        a_forward = min((each for each in known if each is not None), default=_UNKNOWN_SECONDS)
        seconds = job.forwards * a_forward + job.other_seconds
        if seconds > self._max_job_seconds:
            raise TooMuchWork("s", seconds, self._max_job_seconds)

    def enqueue(self, job: Job, now: float) -> None:
        """Let a job that was admitted wait for its turn.

        Raises:
            DeadlineExceeded: it has expired meanwhile.
        """
        self._coming[job.lane].remove(job)
        if job.deadline <= now:
            raise DeadlineExceeded
        queue = self._lanes[job.lane]
        if not queue:
            self._passed_over_since[job.lane] = now
        queue.add(job)

    def next_batch(
        self, now: float, max_batch_size: Callable[[Hashable], int], *, busy_for: float | None = None
    ) -> tuple[Batch | None, tuple[Job, ...]]:
        """Return what to run next, if anything, and the jobs whose deadline has passed: they cost no compute.

        Args:
            max_batch_size: how many images of a key whoever asks takes at a time. 0: it cannot take them.
            busy_for: seconds until whoever asks should have done what it has, so that the next batch is there by then;
                None: it has nothing. Only what gains nothing by waiting is sent ahead, a full batch; and only shortly
                before its time, since nothing overtakes it then, nor to who is long overdue and may never end.
        """
        expired = tuple(job for queue in self._lanes.values() for job in queue if job.deadline <= now)
        for job in expired:
            self._lanes[job.lane].remove(job)
        batch = None
        if busy_for is None:
            batch = self._next_retry(max_batch_size) or self._next_of_lanes(now, max_batch_size)
        elif abs(busy_for) <= SEND_EARLY_SECONDS:
            batch = self._next_of_lanes(now, max_batch_size, only_full=True)
        if batch:
            self._running[batch] = None
        return batch, expired

    def cancel(self, job: Job) -> bool:
        """Take a job's place away, and return whether it had one: one that runs or has ended is left alone."""
        for queue in (self._coming[job.lane], self._lanes[job.lane]):
            if job in queue:
                queue.remove(job)
                return True
        return False

    def retry(self, batches: Iterable[Batch]) -> None:
        """Run these before anything else, each by itself."""
        self._retries.extend(batches)

    def ended(self, batch: Batch, seconds: float | None = None) -> None:
        """Note that a batch runs no more and, if it succeeded, learn from how long it took when a job's turn comes."""
        self._running.pop(batch, None)
        if seconds is None:
            return
        families = {job.family for job in batch.jobs}
        if None not in families and not any(job.other_seconds for job in batch.jobs):
            (family,) = families
            a_forward = seconds / sum(job.forwards for job in batch.jobs)
            self._best_forward[family] = min(a_forward, self._best_forward.get(family, math.inf))
            known = self._seconds_per_forward.setdefault(family, a_forward)
            self._seconds_per_forward[family] = known + _LEARNING_RATE * (a_forward - known)
        # Jobs of several kinds may have shared the time; each kind's part is as it was known, in proportion.
        recent = seconds / sum(map(self._seconds, batch.jobs))
        for kind in {job.kind for job in batch.jobs}:
            correction = self._corrections.get(kind)
            changed = recent if correction is None else correction * (1 + _LEARNING_RATE * (recent - 1))
            self._corrections[kind] = changed

    def seconds(self, batch: Batch) -> float:
        """Estimate how long a batch takes; infinite where nothing of a kind in it has been measured."""
        return sum(self._seconds(job, unknown=math.inf) for job in batch.jobs)

    def time_limit(self, batch: Batch, least: float, most: float) -> float:
        """Return the seconds after which a batch has certainly gone wrong: many times what it should take."""
        return min(most, max(least, _CERTAINLY_TOO_LONG * self.seconds(batch)))

    def is_alone(self, batch: Batch) -> bool:
        """Whether a batch that was taken is all there is to do: nothing else runs, waits or has a place."""
        queues = (*self._coming.values(), *self._lanes.values())
        return self._running.keys() == {batch} and not self._retries and not any(queues)

    def waiting(self, lane: Lane) -> int:
        """Return how many jobs wait in a lane."""
        return len(self._lanes[lane])

    def expected_wait(self, job: Job) -> float:
        """Estimate the seconds until a new job's turn would come, from what waits before it."""
        lanes = list(Lane)
        seconds = 0.0
        for number, batch in enumerate(self._running):  # half done, on average; what was sent ahead has not begun
            seconds += sum(map(self._seconds, batch.jobs)) / (2 if number < self._workers else 1)
        for queues in (self._coming, self._lanes):
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
        self, now: float, max_batch_size: Callable[[Hashable], int], *, only_full: bool = False
    ) -> Batch | None:
        for lane in self._lanes_in_turn(now):
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
            unknown: the correction of a kind of which nothing has been measured.
        """
        a_forward = self._seconds_per_forward.get(job.family, job.forward_seconds or _UNKNOWN_SECONDS)
        cost = job.forwards * a_forward + job.other_seconds
        return cost * self._corrections.get(job.kind, unknown)

    def _lanes_in_turn(self, now: float) -> list[Lane]:
        """Those where somebody waits: first who has been passed over for too long, then by rank."""
        waiting = [lane for lane in Lane if self._lanes[lane]]
        return sorted(waiting, key=lambda lane: not now - self._passed_over_since[lane] > _PATIENCE[lane] > 0)
