"""Connect the scheduler and the backend, which do not know each other: submit a task, await its result."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from striate_service.backends.protocol import Backend, Claim, NeverBegun, RunFailed, Worker, WorkerDied
from striate_service.config import Settings
from striate_service.errors import (
    DeadlineExceeded,
    InvalidArgument,
    QueueFull,
    QuotaExceeded,
    ReplyTooLarge,
    Unavailable,
    WorkFailed,
)
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import WORKER_STATES, Metrics
from striate_service.monitoring.requests import current, detached
from striate_service.scheduling.catalogue import Catalogue
from striate_service.scheduling.job import Batch, Job, Lane
from striate_service.scheduling.payload import Payload, deliver, fail, note_stages, payload_of
from striate_service.scheduling.scheduler import SEND_EARLY_SECONDS, Scheduler, TooMuchWork
from striate_service.techniques.costs import Cost
from striate_service.techniques.tasks.base import Array, ImageTask, Task, Work

logger = logging.getLogger(__name__)

R = TypeVar("R")

_NO_WORKER = "no worker can be started now; the server's log says why"
_RETRY_WITHOUT_WORKERS = 5.0  # seconds
_SHARE_OF_TIMEOUT = 0.5  # of `batch_timeout` that one request may take by its estimate, which may be too low


@dataclass(frozen=True)
class Terms:
    """How a request is scheduled: its lane, deadline and caller."""

    lane: Lane = Lane.INTERACTIVE
    deadline: float = math.inf
    """On time.monotonic(), in seconds."""
    caller: str = ""
    patient: bool = False
    """Wait for a place in a full queue instead of being refused."""
    placed: Callable[[], None] = lambda: None
    """Called when a request has got its place: a stream then takes the next one in."""


@dataclass(frozen=True)
class _Key:
    """Jobs with equal keys may share a batch."""

    model: str
    """Empty: the task needs none."""
    batch_key: Hashable


@dataclass(frozen=True)
class Place(Generic[R]):
    """The place in the queue of an admitted request, whose task can be run."""

    _engine: Engine
    _job: Job

    async def run(self, images: Array | None = None) -> R:
        """Run the task and return its result.

        Args:
            images: the task's images, as `ImageTask` takes them.

        Raises:
            RequestError: the deadline passes, the technique refuses the task, or it fails.
        """
        return cast(R, await self._engine.run(self._job, images))


class Engine:
    """Gives every worker that has room its next batch, and hands each result to the request that awaits it."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self.catalogue = Catalogue(backend, metrics)
        self._scheduler = Scheduler(
            max_queue=settings.max_queue,
            max_queue_per_caller=settings.max_queue_per_caller,
            workers=len(backend.workers),
            max_job_seconds=_SHARE_OF_TIMEOUT * settings.batch_timeout,
            max_job_bytes=settings.max_task_bytes,
        )
        self._time_limits = (settings.batch_timeout_least, settings.batch_timeout)
        self._max_reply_bytes = settings.max_message_bytes
        self._unique_keys = itertools.count()
        self._has_quotas = settings.max_queue_per_caller > 0
        self._places_freed = asyncio.Event()
        self._lines: WeakValueDictionary[tuple[Lane, str], asyncio.Lock] = WeakValueDictionary()
        """Of patient requests; each lasts while somebody stands in it."""
        self._running: set[asyncio.Task[None]] = set()
        self._batches: dict[Worker, list[Batch]] = defaultdict(list)
        """By worker: the first batch is being computed, any other was sent early."""
        self._begun: dict[Worker, float] = {}
        """When each worker began its first batch, on time.monotonic()."""
        self._free_at: dict[Worker, float] = {}
        """When each worker's first batch should end, on time.monotonic()."""
        self.on_health: Callable[[bool], None] = lambda answers: None
        """Called with whether any worker can answer, when that may have changed."""

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """The served models; the first is the default."""
        return self.catalogue.models

    @property
    def worker_count(self) -> int:
        return len(self._backend.workers)

    def batch_limit(self, model: str) -> int:
        """Return how many images at a time all workers of a model can take.

        Raises:
            NotFound: the model has been unloaded.
        """
        self.catalogue.model(model)
        return min(limit.images for limit in self.catalogue.batch_limits(model).values())

    async def start(self) -> None:
        """Start the workers.

        Raises:
            StartError: a worker cannot start.
        """
        for lane in Lane:
            self._metrics.queue_jobs.labels(lane=lane.value).set_function(partial(self._scheduler.waiting, lane))
            self._metrics.oldest_wait.labels(lane=lane.value).set_function(partial(self._oldest_wait, lane))
        for device in {worker.device_name for worker in self._backend.workers}:
            for state in WORKER_STATES:
                count = partial(self._backend.count_workers, device, state)
                self._metrics.workers.labels(device=device, state=state).set_function(count)
        await self._backend.start(self._workers_changed)
        self.catalogue.show_limits()

    async def stop(self) -> None:
        """Stop the workers. Requests that are still unanswered are lost, so drain first."""
        await self._backend.stop()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def admission(
        self, task: ImageTask[R], images: int, *, preprocessed: bool, terms: Terms
    ) -> AbstractAsyncContextManager[Place[R]]:
        """Reserve a place for a request on `images` images before they are decoded; the context's end frees it.

        Requests on the same model and kind of images share a forward pass, whatever their tasks.

        Raises:
            RequestError: the request is refused, on entry and at once.
        """
        return self._admission(task, images, ("images", preprocessed), terms)

    async def submit(self, task: Task[R], terms: Terms, *, batch_key: Hashable = None) -> R:
        """Run a task that needs no images, and return its result.

        Args:
            batch_key: tasks of one technique with equal keys may share a batch; None: the task runs alone.

        Raises:
            RequestError: the task is not admitted, its deadline passes, its technique refuses it, or it fails.
        """
        key = (type(task), next(self._unique_keys) if batch_key is None else batch_key)
        async with self._admission(task, 1, key, terms) as place:
            return await place.run()

    @asynccontextmanager
    async def _admission(
        self, task: Task[R], images: int, batch_key: Hashable, terms: Terms
    ) -> AsyncIterator[Place[R]]:
        model = self.catalogue.model(task.model) if task.model else None
        cost = task.cost(model, images)
        self._check_reply(task, cost)
        request = current() if terms.lane is not Lane.RENDERING else None
        if request and task.model:
            request.model = request.model or task.model
        payload = Payload(task, request)
        job = Job(
            _Key(task.model, batch_key),
            images,
            terms.lane,
            terms.deadline,
            terms.caller,
            kind=(task.rate_key, task.model),
            family=task.model or None,
            work=cost.forwards,
            other_seconds=cost.other_seconds,
            forward_seconds=self._forward_seconds(task.model),
            memory_bytes=cost.memory_bytes,
            payload=payload,
        )
        with self.catalogue.in_use(task.model):
            self._check_workers(task.model)
            try:
                if terms.patient:
                    await self._wait_for_place(job, task.model)
                else:
                    self._scheduler.admit(job, time.monotonic())
            except TooMuchWork as error:
                field_name, advice = task.too_costly
                raise InvalidArgument(field_name, f"{error}; {advice}.") from error
            terms.placed()
            try:
                yield Place(self, job)
            finally:  # also when the caller cancels: the place is freed at once
                if self._scheduler.cancel(job):
                    self._wake_waiting_requests()

    async def _wait_for_place(self, job: Job, model: str) -> None:
        """Admit a job as soon as the queue has a place.

        Who waits stands in line, and only the first tries when a place is freed. Where callers have quotas, each has a
        line, since it may be waiting for its own jobs.
        """
        line = (job.lane, job.caller if self._has_quotas else "")
        async with self._lines.setdefault(line, asyncio.Lock()):
            while True:
                self._check_workers(model)
                try:
                    self._scheduler.admit(job, time.monotonic())
                    return
                except (QueueFull, QuotaExceeded):
                    await self._places_freed.wait()

    def _forward_seconds(self, model: str) -> float | None:
        """Return the seconds of a forward pass of one image by the measured batch limits; None: not measured."""
        rates = [limit.images_per_second for limit in self.catalogue.batch_limits(model).values()]
        return 1 / min(rates) if rates and min(rates) > 0 else None

    def _check_reply(self, task: Task[Any], cost: Cost) -> None:
        if task.is_reply and cost.result_bytes > self._max_reply_bytes:
            field_name, advice = task.too_costly
            raise ReplyTooLarge(
                field_name,
                f"would make a reply of {cost.result_bytes / 2**20:.0f} MiB, and at most "
                f"{self._max_reply_bytes / 2**20:.0f} MiB can be sent; {advice}.",
            )

    async def run(self, job: Job, images: Array | None) -> Any:
        """Run an admitted job. For `Place`."""
        payload, now = payload_of(job), time.monotonic()
        self._check_workers(payload.task.model)
        payload.images, payload.enqueued = images, now
        self._scheduler.enqueue(job, now)
        self._dispatch()
        try:
            return await asyncio.wait_for(payload.result, None if job.deadline == math.inf else job.deadline - now)
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded from error

    def _check_workers(self, model: str) -> None:
        if self._backend.is_lost(model):
            raise Unavailable(_NO_WORKER, _RETRY_WITHOUT_WORKERS)

    def _workers_changed(self) -> None:
        # Nobody can say when there will be a worker again.
        for job in self._scheduler.give_up(lambda job: self._backend.is_lost(payload_of(job).task.model)):
            fail(job, Unavailable(_NO_WORKER, _RETRY_WITHOUT_WORKERS))
        self._wake_waiting_requests()
        self._dispatch()
        self.on_health(not self._backend.is_lost())

    def _dispatch(self) -> None:
        """Send batches to all workers with room: any to an idle worker, some (`next_batch`) to a busy worker."""
        for worker in sorted(self._backend.workers, key=lambda worker: worker.in_flight):
            while worker.has_room and (batch := self._next_batch(worker)):
                self._batches[worker].append(batch)
                if len(self._batches[worker]) == 1:
                    self._note_start(worker)
                task = detached(self._serve(worker, worker.claim(), batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _next_batch(self, worker: Worker) -> Batch | None:
        def images_at_once(key: Hashable) -> int:
            assert isinstance(key, _Key)
            if not key.model:
                return 1
            limit = self._backend.batch_limit(worker, key.model)
            return limit.images if limit else 0

        now = time.monotonic()
        busy_for = self._free_at.get(worker, math.inf) - now if worker.in_flight else None
        makes_way = all(batch.makes_way for batch in self._batches[worker])
        batch, expired = self._scheduler.next_batch(now, images_at_once, busy_for=busy_for, makes_way=makes_way)
        for job in expired:
            fail(job, DeadlineExceeded())
        if batch:
            for job in batch.jobs:
                self._metrics.queue_wait.labels(lane=job.lane.value).observe(now - payload_of(job).enqueued)
        if batch or expired:
            self._wake_waiting_requests()
        return batch

    def _note_start(self, worker: Worker) -> None:
        """Note when a worker that begins a batch should be free, and dispatch again shortly before."""
        seconds = self._scheduler.seconds(self._batches[worker][0])
        self._begun[worker] = time.monotonic()
        self._free_at[worker] = self._begun[worker] + seconds
        if SEND_EARLY_SECONDS < seconds < math.inf:
            # Half the window, since the event loop may call a millisecond early, when nothing may be sent yet.
            asyncio.get_running_loop().call_later(seconds - SEND_EARLY_SECONDS / 2, self._dispatch)

    def _wake_waiting_requests(self) -> None:
        """Let the first request in each line try again."""
        self._places_freed.set()
        self._places_freed.clear()

    async def _serve(self, worker: Worker, claim: Claim, batch: Batch) -> None:
        try:
            await self._run_batch(worker, claim, batch)
        except Exception:  # a bug of ours fails this batch, but not later ones
            logger.exception("a batch failed")
            for job in batch.jobs:
                fail(job, WorkFailed("the server made a mistake; its log says more"))
        finally:
            self._scheduler.ended(batch)
            batches = self._batches[worker]
            batches.remove(batch)
            if batches:
                self._note_start(worker)
            self._dispatch()

    async def _run_batch(self, worker: Worker, claim: Claim, batch: Batch) -> None:
        payloads = [payload_of(job) for job in batch.jobs]
        works = [Work(payload.task, payload.images) for payload in payloads]
        time_limit = self._scheduler.time_limit(batch, *self._time_limits)
        try:
            reply = await claim.run(works, alone=self._scheduler.is_alone(batch), time_limit=time_limit)
        except NeverBegun:
            self._scheduler.retry([batch])
            return
        except WorkerDied as death:
            self._retry(batch, batch.after_crash(), WorkFailed(f"every worker that takes this request dies: {death}"))
            return
        except MemoryError as error:
            self._retry(batch, batch.halves(), Unavailable(f"the server is short of memory: {error}"))
            return
        if isinstance(reply, RunFailed):
            model = payloads[0].task.model
            if reply.out_of_memory and batch.size > 1 and model:
                self._backend.lower_batch_limit(worker, model, batch.size // 2)
                self.catalogue.show_limits()
            failure = Unavailable if reply.out_of_memory else WorkFailed
            reason = f"the request failed on {worker.device_name}: {reply.reason}"
            self._retry(batch, batch.halves(), failure(reason))
            return
        note_stages(batch, self._begun[worker], reply, time.monotonic())
        self._scheduler.ended(batch, reply.seconds - reply.seconds_once)
        task = payloads[0].task
        images = batch.size if task.forward else 0
        self._metrics.observe_batch(worker.device_name, task.kind, task.model, images, reply.seconds)
        for job, outcome in zip(batch.jobs, reply.outcomes, strict=True):
            deliver(job, outcome)

    def _oldest_wait(self, lane: Lane) -> float:
        """Return the seconds that the first of a lane's waiting jobs has waited; 0 where none waits."""
        now = time.monotonic()
        return max((now - payload_of(job).enqueued for job in self._scheduler.waiting_jobs(lane)), default=0.0)

    def _retry(self, batch: Batch, batches: Sequence[Batch], error: WorkFailed | Unavailable) -> None:
        if batches:
            self._scheduler.retry(batches)
            return
        logger.error("gave up on a request: %s", error)
        for job in batch.jobs:
            fail(job, error)
