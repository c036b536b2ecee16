"""Joins scheduling and workers, which do not know each other: submit a task, await its result."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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
from striate_service.scheduling.scheduler import Scheduler
from striate_service.workers.messages import Failure, Refusal, RunFailed
from striate_service.workers.pool import Pool, Result, Worker, WorkerState
from striate_service.workers.process import WorkerDied
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import Task

logger = logging.getLogger(__name__)

_PATIENT_PAUSE = 0.05  # seconds until a patient request tries again to get into a full queue


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
    """Keeps every worker in work: each has a loop that takes the next batch, runs it and hands out its results."""

    def __init__(self, scheduler: Scheduler, pool: Pool, metrics: Metrics, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._scheduler = scheduler
        self._pool = pool
        self._metrics = metrics
        self._enqueued = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._models: tuple[ModelDescription, ...] = ()

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """What is served; the first is the default."""
        return self._models

    @property
    def worker_count(self) -> int:
        return len(self._pool.workers)

    async def start(self) -> None:
        """Start the workers and their loops.

        Raises:
            workers.pool.StartError: a worker cannot start.
        """
        for worker in self._pool.workers:
            worker.on_change = self._count_workers
        self._models = await self._pool.start()
        self._loops = [asyncio.create_task(self._serve(worker)) for worker in self._pool.workers]

    async def stop(self) -> None:
        """End the loops and the workers. What has not been answered by now is lost, so drain first."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._pool.stop()

    @asynccontextmanager
    async def admission(
        self, kind: str, model: str, images: int, *, preprocessed: bool, terms: Terms
    ) -> AsyncIterator[Place]:
        """Give a place to a request on images, before they are decoded, and take it back at the end.

        Requests on the same model and kind of images share a forward, whatever they ask of it.

        Args:
            kind: what is asked; requests of one kind take about as long an image.

        Raises:
            RequestError: it is refused; this takes no time.
        """
        async with self._admission(("images", model, preprocessed), images, (kind, model), terms) as place:
            yield place

    async def submit(self, task: Task, inputs: Arrays, terms: Terms) -> Arrays:
        """Have a task carried out by itself and return its arrays, as `workers.tasks` names them.

        Raises:
            RequestError: the task is not admitted, expires, is refused by its technique, or fails.
        """
        async with self._admission(("alone", object()), 1, (type(task).__name__,), terms) as place:
            return await place.run(task, inputs)

    @asynccontextmanager
    async def _admission(self, key: Hashable, size: int, kind: Hashable, terms: Terms) -> AsyncIterator[Place]:
        work = _Work(admitted=time.monotonic())
        job = Job(key, size, terms.lane, terms.deadline, terms.caller, kind, work)
        while True:
            try:
                self._scheduler.admit(job, time.monotonic())
                break
            except (QueueFull, QuotaExceeded):
                if not terms.patient:
                    raise
                await asyncio.sleep(_PATIENT_PAUSE)
        try:
            yield Place(self, job)
        finally:  # also where the caller has gone: its place is free at once
            if self._scheduler.cancel(job):
                self._count_queue()

    async def run(self, job: Job, task: Task, inputs: Arrays) -> Arrays:
        """Carry out an admitted job's task. For `Place`."""
        work, now = _work(job), time.monotonic()
        work.task, work.inputs = task, inputs
        self._scheduler.enqueue(job, now)
        self._count_queue()
        self._enqueued.set()
        try:
            return await asyncio.wait_for(work.result, None if job.deadline == math.inf else job.deadline - now)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded from error

    async def _serve(self, worker: Worker) -> None:
        while True:
            await worker.ready()
            batch = await self._take()
            try:
                if worker.state is WorkerState.IDLE:
                    await self._run(worker, batch)
                else:  # it died while it waited for work
                    self._retry([batch])
            except Exception:  # a mistake of ours costs this batch, and not every later one
                logger.exception("a batch failed")
                for job in batch.jobs:
                    _fail(job, WorkFailed("the server made a mistake; its log says more"))
            finally:
                self._scheduler.ended(batch)

    async def _take(self) -> Batch:
        while True:
            now = time.monotonic()
            batch, expired = self._scheduler.next_batch(now, lambda _key: self._max_batch_size)
            for job in expired:
                _fail(job, DeadlineExceeded())
            if batch is not None:
                self._count_queue()
                for job in batch.jobs:
                    self._metrics.queue_wait.labels(lane=job.lane.value).observe(now - _work(job).admitted)
                return batch
            self._enqueued.clear()
            await self._enqueued.wait()

    async def _run(self, worker: Worker, batch: Batch) -> None:
        works = [_work(job) for job in batch.jobs]
        tasks = [work.task for work in works if work.task]
        started = time.monotonic()
        try:
            reply = await worker.run(tasks, [work.inputs for work in works])
        except WorkerDied as death:
            self._try_again(
                batch, batch.after_crash(), WorkFailed(f"every worker that takes this request dies: {death}")
            )
            return
        except MemoryError as error:
            self._try_again(batch, batch.halves(), Unavailable(f"the server is short of memory: {error}"))
            return
        if isinstance(reply, RunFailed):
            failure = Unavailable if reply.out_of_memory else WorkFailed
            self._try_again(
                batch, batch.halves(), failure(f"the request failed on {worker.device.name}: {reply.reason}")
            )
            return
        results, seconds = reply
        self._scheduler.ended(batch, time.monotonic() - started)
        self._metrics.observe_batch(worker.device.name, tasks[0], batch.size, seconds)
        for job, result in zip(batch.jobs, results, strict=True):
            _settle(job, result)

    def _try_again(self, batch: Batch, batches: Sequence[Batch], otherwise: WorkFailed | Unavailable) -> None:
        if batches:
            self._retry(batches)
            return
        logger.error("gave up on a request: %s", otherwise)
        for job in batch.jobs:
            _fail(job, otherwise)

    def _retry(self, batches: Sequence[Batch]) -> None:
        self._scheduler.retry(batches)
        self._enqueued.set()

    def _count_queue(self) -> None:
        for lane in Lane:
            self._metrics.queue_jobs.labels(lane=lane.value).set(self._scheduler.waiting(lane))

    def _count_workers(self) -> None:
        self._metrics.count_workers((worker.device.name, worker.state.value) for worker in self._pool.workers)
        self._metrics.count_restarts((worker.device.name, worker.restarts) for worker in self._pool.workers)


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
