"""What the engine keeps with a job, of which the scheduler knows nothing: its task, and the request that awaits it."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from typing import Any

from striate_service.backends.protocol import RunResult
from striate_service.errors import InvalidArgument, WorkFailed
from striate_service.monitoring.requests import RequestRecord
from striate_service.scheduling.job import Batch, Job
from striate_service.techniques.outcomes import Failure, Refusal
from striate_service.techniques.tasks.base import Array, Task

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Payload:
    """A job's task and, once they are decoded after its admission, images."""

    task: Task[Any]
    request: RequestRecord | None
    """None: icons, which are rendered for several requests or for none."""
    enqueued: float = math.inf
    """When it began to wait for a worker, on time.monotonic()."""
    images: Array | None = None
    result: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def payload_of(job: Job) -> Payload:
    assert isinstance(job.payload, Payload)
    return job.payload


def deliver(job: Job, outcome: Any | Refusal | Failure) -> None:
    if isinstance(outcome, Refusal):
        fail(job, InvalidArgument(outcome.field, outcome.problem))
    elif isinstance(outcome, Failure):
        logger.error("a request failed: %s", outcome.reason)
        fail(job, WorkFailed(outcome.reason))
    elif not payload_of(job).result.done():
        payload_of(job).result.set_result(outcome)


def fail(job: Job, error: Exception) -> None:
    if not payload_of(job).result.done():
        payload_of(job).result.set_exception(error)


def note_stages(batch: Batch, free: float, reply: RunResult, ended: float) -> None:
    """Tell requests where the time of a batch went that has succeeded. Earlier tries of it count as waiting.

    Args:
        free: when its worker was free for it, as far as the server had heard, on time.monotonic().
        ended: when its results were here.
    """
    free, computed = min(free, reply.began), reply.began + reply.seconds
    for payload in map(payload_of, batch.jobs):
        if payload.request:
            payload.request.spent("queue", payload.enqueued, free)
            payload.request.spent("transport", free, reply.began)
            payload.request.spent("compute", reply.began, computed, reply.process)
            payload.request.spent("transport", computed, ended)
