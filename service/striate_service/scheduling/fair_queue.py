"""One lane's jobs, shared fairly by their callers: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).

Every caller has a tag, which grows by the size of each of its jobs that is taken; the caller with the lowest tag goes
first. A caller who returns starts at least at the tag of the last taken job, so that idle time earns no credit, and a
caller who floods the queue delays only itself. Each caller's own jobs go by earliest deadline.

Of callers without jobs only the last few are remembered: a new name for each request costs neither memory nor time.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from striate_service.scheduling.job import Job

MOST_GONE = 256
"""Callers without jobs whose tags are kept: as many as have a place in the queue by default."""


class FairQueue:
    def __init__(self) -> None:
        self._jobs: dict[str, list[Job]] = {}
        """By caller, the earliest deadline first; only callers with jobs."""
        self._tags: dict[str, float] = {}
        """Of callers with jobs."""
        self._gone: OrderedDict[str, float] = OrderedDict()
        """The tags of callers without jobs, those that left first first."""
        self._last_tag = 0.0

    def __iter__(self) -> Iterator[Job]:
        # Of copies, since metrics are read in a thread of their own.
        return (job for jobs in tuple(self._jobs.values()) for job in tuple(jobs))

    def __len__(self) -> int:
        return sum(map(len, self._jobs.values()))

    @property
    def remembered(self) -> int:
        """How many callers have a tag."""
        return len(self._tags) + len(self._gone)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs.get(job.caller, ())

    def count(self, caller: str) -> int:
        """Return how many jobs of a caller wait."""
        return len(self._jobs.get(caller, ()))

    def add(self, job: Job) -> None:
        if job.caller not in self._jobs:
            self._jobs[job.caller] = []
            self._tags[job.caller] = max(self._last_tag, self._gone.pop(job.caller, 0.0))
        insort(self._jobs[job.caller], job, key=lambda other: other.deadline)

    def remove(self, job: Job) -> None:
        self._jobs[job.caller].remove(job)
        if not self._jobs[job.caller]:
            del self._jobs[job.caller]
            self._leave(job.caller)

    def first(self, max_size: Callable[[Hashable], int]) -> Job | None:
        """Return the next job, among the jobs of keys for which `max_size` is above 0."""
        return self._next(lambda job: max_size(job.key) > 0)

    def images(self, key: Hashable) -> int:
        """Return how many images wait under a key."""
        return sum(job.size for job in self if job.key == key)

    def take(self, first: Job, max_size: int, max_bytes: float = math.inf) -> tuple[Job, ...]:
        """Take `first` and further jobs of its key, up to `max_size` images and `max_bytes` of memory.

        `first` is taken even if it alone exceeds a limit.
        """
        taken: list[Job] = []
        job: Job | None = first
        while job:
            max_size -= job.size
            max_bytes -= job.memory_bytes
            taken.append(job)
            self._last_tag = self._tags[job.caller]
            self._tags[job.caller] += job.size
            self.remove(job)
            job = self._next(lambda other: other.key == first.key, max_size, max_bytes)
        return tuple(taken)

    def ahead_of(self, job: Job) -> Iterator[tuple[Job, float]]:
        """Yield the queued jobs and the share of each that would go before a new job."""
        own = job.size + sum(other.size for other in self._jobs.get(job.caller, ()))
        for caller, others in self._jobs.items():
            theirs = sum(other.size for other in others)
            share = 1.0 if caller == job.caller else min(1.0, own / theirs)
            yield from ((other, share) for other in others)

    def _leave(self, caller: str) -> None:
        """Note that a caller has no more jobs."""
        tag = self._tags.pop(caller)
        if tag > self._last_tag:  # a lower one means nothing: who returns starts at the last tag
            self._gone[caller] = tag
            if len(self._gone) > MOST_GONE:
                self._gone.popitem(last=False)

    def _next(self, suits: Callable[[Job], bool], room: float = math.inf, free_bytes: float = math.inf) -> Job | None:
        """Return the next job that suits, of the lowest-tagged caller whose next such job fits."""
        for caller in sorted(self._jobs, key=self._tags.__getitem__):
            job = next(filter(suits, self._jobs[caller]), None)
            if job and job.size <= room and job.memory_bytes <= free_bytes:
                return job
        return None
