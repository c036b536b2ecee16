"""Joins scheduling and workers, which do not know each other: submit a task, await its result."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from striate_service.backends.local.catalogue import Catalogue
from striate_service.backends.local.messages import Failure, Refusal, RunFailed
from striate_service.backends.local.pool import Pool
from striate_service.backends.local.process import NeverBegun, WorkerDied
from striate_service.backends.local.shared_memory import Arrays
from striate_service.backends.local.supervision import Claim, Result, Worker, WorkerState
from striate_service.errors import (
    DeadlineExceeded,
    InvalidArgument,
    QueueFull,
    QuotaExceeded,
    Unavailable,
    WorkFailed,
)
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.job import Batch, Job, Lane
from striate_service.scheduling.scheduler import AHEAD_SECONDS, Scheduler
from striate_service.techniques.objective import Signature
from striate_service.techniques.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Work:
    """A job's payload. Its task and inputs come after its admission."""

    admitted: float
    task: Task | None = None
    inputs: Arrays = field(default_factory=dict)
    result: asyncio.Future[Arrays] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Terms:
    """What a request may expect: how urgent it is, until when, and on whose account."""

    lane: Lane = Lane.INTERACTIVE
    deadline: float = math.inf
    """On time.monotonic(), in seconds."""
    caller: str = ""
    patient: bool = False
    """Wait for a place in a full queue, rather than be refused."""


class Engine:
    """Keeps every worker in work: whoever has room gets the next batch, and its results go to those who asked."""

    def __init__(self, scheduler: Scheduler, pool: Pool, catalogue: Catalogue, metrics: Metrics) -> None:
        self._scheduler = scheduler
        self._pool = pool
        self._catalogue = catalogue
        self._metrics = metrics
        self._places_freed = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._batches: dict[Worker, list[Batch]] = defaultdict(list)
        """What each worker has: the first is being computed, any other was sent ahead."""
        self._free_at: dict[Worker, float] = {}
        """When the first of these should end, on time.monotonic()."""

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """What is served; the first is the default."""
        return self._catalogue.models

    @property
    def objectives(self) -> dict[str, Signature]:
        """Objectives of icons that the operator has added, by name."""
        return self._catalogue.objectives

    @property
    def worker_count(self) -> int:
        return len(self._pool.workers)

    def batch_limit(self, model: ModelDescription) -> int:
        """Return how many images every worker that has the model takes at a time."""
        return min(limit.images for limit in self._catalogue.batch_limits(model).values())

    async def start(self) -> None:
        """Start the workers, and measure the batch limits that are not known yet.

        Raises:
            workers.pool.StartError: a worker cannot start.
        """
        for lane in Lane:
            self._metrics.queue_jobs.labels(lane=lane.value).set_function(partial(self._scheduler.waiting, lane))
        for worker in self._pool.workers:
            device = worker.device.name
            for state in WorkerState:
                count = partial(self._count_workers, device, state)
                self._metrics.workers.labels(device=device, state=state.value).set_function(count)
            worker.on_restart = self._metrics.worker_restarts.labels(device=device).inc
            worker.on_start = self._dispatch
        await self._catalogue.start()

    async def stop(self) -> None:
        """End the workers. What has not been answered by now is lost, so drain first."""
        await self._pool.stop()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def admission(
        self, kind: str, model: str, images: int, *, preprocessed: bool, terms: Terms
    ) -> AbstractAsyncContextManager[Place]:
        """Give a place to a request on images, before they are decoded, and take it back at the end.

        Requests on the same model and kind of images share a forward, whatever they ask of it.

        Args:
            kind: what is asked; requests of one kind take about as long an image.

        Raises:
            RequestError: on entry: it is refused; this takes no time.
        """
        return self._admission(model, ("images", preprocessed), images, kind, terms)

    async def submit(self, task: Task, inputs: Arrays, terms: Terms, *, alike: Hashable = None) -> Arrays:
        """Have a task carried out that needs no images, and return its arrays, as `workers.tasks` names them.

        Args:
            alike: tasks of one class and with the same one here share a batch; without it, a task is by itself.

        Raises:
            RequestError: the task is not admitted, expires, is refused by its technique, or fails.
        """
        kind = type(task).__name__
        key = (kind, object() if alike is None else alike)
        async with self._admission(getattr(task, "model", ""), key, 1, kind, terms) as place:
            return await place.run(task, inputs)

    @asynccontextmanager
    async def _admission(
        self, model: str, shared: Hashable, size: int, kind: str, terms: Terms
    ) -> AsyncIterator[Place]:
        work = _Work(admitted=time.monotonic())
        job = Job(_Key(model, shared), size, terms.lane, terms.deadline, terms.caller, (kind, model), work)
        with self._catalogue.in_use(model):
            while True:
                try:
                    self._scheduler.admit(job, time.monotonic())
                    break
                except (QueueFull, QuotaExceeded):
                    if not terms.patient:
                        raise
                    await self._places_freed.wait()
            try:
                yield Place(self, job)
            finally:  # also where the caller has gone: its place is free at once
                if self._scheduler.cancel(job):
                    self._wake_the_patient()

    async def run(self, job: Job, task: Task, inputs: Arrays) -> Arrays:
        """Carry out an admitted job's task. For `Place`."""
        work, now = _work(job), time.monotonic()
        work.task, work.inputs = task, inputs
        self._scheduler.enqueue(job, now)
        self._dispatch()
        try:
            return await asyncio.wait_for(work.result, None if job.deadline == math.inf else job.deadline - now)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded from error

    def _dispatch(self) -> None:
        """Give work to whoever has room: to the idle whatever waits, to the busy what may be sent ahead."""
        for worker in sorted(self._pool.workers, key=lambda worker: worker.in_flight):
            while worker.has_room and (batch := self._take(worker)):
                self._batches[worker].append(batch)
                if len(self._batches[worker]) == 1:
                    self._begun(worker)
                task = asyncio.create_task(self._serve(worker.claim(), batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _take(self, worker: Worker) -> Batch | None:
        def limit(key: Hashable) -> int:
            assert isinstance(key, _Key)
            return self._catalogue.batch_limit(worker, key.model)

        now = time.monotonic()
        busy_for = self._free_at.get(worker, math.inf) - now if worker.in_flight else None
        batch, expired = self._scheduler.next_batch(now, limit, busy_for=busy_for)
        for job in expired:
            _fail(job, DeadlineExceeded())
        if batch:
            for job in batch.jobs:
                self._metrics.queue_wait.labels(lane=job.lane.value).observe(now - _work(job).admitted)
        if batch or expired:
            self._wake_the_patient()
        return batch

    def _begun(self, worker: Worker) -> None:
        """Note when a worker, at the first of its batches, should be free, and shortly before see what comes next."""
        seconds = self._scheduler.seconds(self._batches[worker][0])
        self._free_at[worker] = time.monotonic() + seconds
        if AHEAD_SECONDS < seconds < math.inf:
            # Well within that time: loops may call a millisecond early, when nothing could be sent yet.
            asyncio.get_running_loop().call_later(seconds - AHEAD_SECONDS / 2, self._dispatch)

    def _wake_the_patient(self) -> None:
        """Let all who wait for a place ask again."""
        self._places_freed.set()
        self._places_freed.clear()

    async def _serve(self, claim: Claim, batch: Batch) -> None:
        try:
            await self._run(claim, batch)
        except Exception:  # a mistake of ours costs this batch, and not every later one
            logger.exception("a batch failed")
            for job in batch.jobs:
                _fail(job, WorkFailed("the server made a mistake; its log says more"))
        finally:
            self._scheduler.ended(batch)
            batches = self._batches[claim.worker]
            batches.remove(batch)
            if batches:
                self._begun(claim.worker)
            self._dispatch()

    async def _run(self, claim: Claim, batch: Batch) -> None:
        works = [_work(job) for job in batch.jobs]
        tasks = [work.task for work in works if work.task]
        device = claim.worker.device.name
        try:
            inputs = [work.inputs for work in works]
            reply = await claim.run(tasks, inputs, alone=self._scheduler.is_alone(batch))
        except NeverBegun:
            self._scheduler.retry([batch])
            return
        except WorkerDied as death:
            self._try_again(
                batch, batch.after_crash(), WorkFailed(f"every worker that takes this request dies: {death}")
            )
            return
        except MemoryError as error:
            self._try_again(batch, batch.halves(), Unavailable(f"the server is short of memory: {error}"))
            return
        if isinstance(reply, RunFailed):
            if reply.out_of_memory and batch.size > 1:
                self._catalogue.lower_batch_limit(claim.worker, _model(batch), batch.size // 2)
            failure = Unavailable if reply.out_of_memory else WorkFailed
            self._try_again(batch, batch.halves(), failure(f"the request failed on {device}: {reply.reason}"))
            return
        results, seconds = reply
        self._scheduler.ended(batch, seconds)
        self._metrics.observe_batch(device, tasks[0], batch.size, seconds)
        for job, result in zip(batch.jobs, results, strict=True):
            _settle(job, result)

    def _try_again(self, batch: Batch, batches: Sequence[Batch], otherwise: WorkFailed | Unavailable) -> None:
        if batches:
            self._scheduler.retry(batches)
            return
        logger.error("gave up on a request: %s", otherwise)
        for job in batch.jobs:
            _fail(job, otherwise)

    def _count_workers(self, device: str, state: WorkerState) -> int:
        return sum(worker.device.name == device and worker.state is state for worker in self._pool.workers)


@dataclass(frozen=True)
class Place:
    """A request's place: what it was admitted for can be run."""

    _engine: Engine
    _job: Job

    async def run(self, task: Task, inputs: Arrays) -> Arrays:
        """Have the task carried out and return its arrays, as `workers.tasks` names them.

        Raises:
            RequestError: it expires, is refused by its technique, or fails.
        """
        return await self._engine.run(self._job, task, inputs)


@dataclass(frozen=True)
class _Key:
    """What jobs of one batch have in common."""

    model: str
    """Empty: none is needed."""
    shared: Hashable


def _model(batch: Batch) -> str:
    key = batch.jobs[0].key
    assert isinstance(key, _Key)
    return key.model


def _work(job: Job) -> _Work:
    assert isinstance(job.payload, _Work)
    return job.payload


def _settle(job: Job, result: Result) -> None:
    if isinstance(result, Refusal):
        _fail(job, InvalidArgument(result.field, result.problem))
    elif isinstance(result, Failure):
        logger.error("a request failed: %s", result.reason)
        _fail(job, WorkFailed(result.reason))
    elif not _work(job).result.done():
        _work(job).result.set_result(result)


def _fail(job: Job, error: Exception) -> None:
    if not _work(job).result.done():
        _work(job).result.set_exception(error)
