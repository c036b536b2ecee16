"""Admission, queueing and batching. It knows jobs and deadlines, and neither clocks, tensors nor workers.

Batching is work-conserving: whoever is free takes a batch at once, however small, and jobs gather only while nobody is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable

from striate_service.errors import DeadlineExceeded, QueueFull, QuotaExceeded
from striate_service.scheduling.job import Batch, Job, Lane


class Scheduler:
    """Three verbs: `admit` a job, take the `next_batch`, `retry` what brought down a worker.

    Times are seconds on any monotonic clock, passed in by the caller.
    """

    def __init__(self, *, max_batch_size: int, max_queue: int, max_queue_per_caller: int = 0) -> None:
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._max_queue_per_caller = max_queue_per_caller
        self._queues: dict[Lane, dict[Hashable, deque[Job]]] = {lane: {} for lane in Lane}
        self._retries: deque[Batch] = deque()
        self._callers: Counter[str] = Counter()
        self._seconds_per_image = 0.05  # until the first batch has been measured

    def admit(self, job: Job, now: float) -> None:
        """Let `job` wait for its turn.

        Raises:
            DeadlineExceeded: it has expired already.
            QueueFull: as many jobs wait as may.
            QuotaExceeded: as many jobs of its caller wait as may.
        """
        if job.deadline <= now:
            raise DeadlineExceeded
        if job.lane is Lane.INTERACTIVE:
            if self.waiting(Lane.INTERACTIVE) >= self._max_queue:
                raise QueueFull(self._max_queue, self._expected_wait())
            if 0 < self._max_queue_per_caller <= self._callers[job.caller]:
                raise QuotaExceeded(job.caller, self._max_queue_per_caller, self._expected_wait())
        self._callers[job.caller] += 1
        self._queues[job.lane].setdefault(job.key, deque()).append(job)

    def next_batch(self, now: float) -> tuple[Batch | None, tuple[Job, ...]]:
        """Return what to run next, if anything, and the jobs whose deadline has passed: they cost no compute."""
        expired = self._take_expired(now)
        if self._retries:
            return self._retries.popleft(), expired
        for lane in Lane:
            if batch := self._gather(lane):
                return batch, expired
        return None, expired

    def cancel(self, job: Job) -> bool:
        """Forget a job that waits, and return whether it did: one that runs or has ended is left alone."""
        queue = self._queues[job.lane].get(job.key, ())
        if job in queue:
            self._remove([job])
            return True
        return False

    def retry(self, batches: Iterable[Batch]) -> None:
        """Run these before anything else, each by itself."""
        self._retries.extend(batches)

    def record(self, batch: Batch, seconds: float) -> None:
        """Learn how long a batch took, for the advice when to come again."""
        recent = seconds / max(batch.size, 1)
        self._seconds_per_image += 0.1 * (recent - self._seconds_per_image)

    def waiting(self, lane: Lane) -> int:
        """Return how many jobs wait in a lane."""
        return sum(len(queue) for queue in self._queues[lane].values())

    def _expected_wait(self) -> float:
        images = sum(job.size for queue in self._queues[Lane.INTERACTIVE].values() for job in queue)
        return images * self._seconds_per_image

    def _gather(self, lane: Lane) -> Batch | None:
        """Take jobs of one key, first come first served; a job that is larger than a batch runs alone."""
        queues = self._queues[lane]
        if not queues:
            return None
        key = next(iter(queues))
        queue, size = queues[key], 0
        jobs: list[Job] = []
        while queue and (not jobs or size + queue[0].size <= self._max_batch_size):
            jobs.append(queue.popleft())
            size += jobs[-1].size
        del queues[key]
        if queue:  # behind the other keys, which have waited longer
            queues[key] = queue
        self._callers.subtract(job.caller for job in jobs)
        self._callers += Counter()  # drops the callers that have nothing here
        return Batch(tuple(jobs))

    def _take_expired(self, now: float) -> tuple[Job, ...]:
        expired = [
            job for queues in self._queues.values() for queue in queues.values() for job in queue if job.deadline <= now
        ]
        self._remove(expired)
        return tuple(expired)

    def _remove(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            queues = self._queues[job.lane]
            queues[job.key].remove(job)
            if not queues[job.key]:
                del queues[job.key]
            self._callers[job.caller] -= 1
