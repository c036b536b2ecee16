"""What is noted of a request while it is answered: on whose account, of which model, and where its time goes.

The rim opens a record (`servicers/observation.py`). Whatever works for the request finds it in a context variable, and
nothing has to be passed along.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")
Stage = Literal["decode", "queue", "transport", "compute", "encode"]
"""Of a request's way: images become pixels; its jobs wait for a worker; they go to it and the results come back; the
worker computes; the answer becomes a message."""


class Trace(Protocol):
    """What makes spans of a request and of its stages."""

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""
        ...

    def stage(self, stage: Stage, began: float, ended: float, process: int) -> None:
        """Take down a stage; see `RequestRecord.spent`."""
        ...

    def end(self, record: RequestRecord, code: int, error: str) -> None:
        """Take down how the request has ended: with which status of gRPC, and what its caller was told."""
        ...


@dataclass
class RequestRecord:
    id: str
    """The caller's own, or a made one."""
    method: str
    """The method's name, "Factorize"."""
    caller: str
    """Whom the token stands for, else who the caller says they are, else the peer's address."""
    trace_id: str = ""
    """The trace that the request is part of, 32 hexadecimal digits; empty: there is none that is kept."""
    trace: Trace | None = None
    """None: this server makes no spans of the request."""
    model: str = ""
    """A loaded model's name, or "unknown" where the caller has named another; empty: the request is of none."""
    images: int = 0
    """That were decoded."""
    seconds: dict[Stage, float] = field(default_factory=dict)
    """By stage. Of requests whose parts are worked on at the same time they add up to more than the time it took."""

    def spent(self, stage: Stage, began: float, ended: float, process: int = 0) -> None:
        """Note a stage, or a part of it.

        Args:
            began, ended: on time.monotonic().
            process: the worker's process; 0: the server's own.
        """
        self.seconds[stage] = self.seconds.get(stage, 0.0) + max(0.0, ended - began)
        if self.trace:
            self.trace.stage(stage, began, ended, process)


_current: ContextVar[RequestRecord | None] = ContextVar("request that is worked on", default=None)


def begin(record: RequestRecord) -> None:
    """Note that what follows in this context is work for a request."""
    _current.set(record)


def current() -> RequestRecord | None:
    """Return the record of the request that is worked on; None: it is for none, or for one that is not counted."""
    return _current.get()


@contextmanager
def spending(stage: Stage) -> Iterator[None]:
    """Count the time that the context takes as time in a stage of the present request."""
    started = time.monotonic()
    try:
        yield
    finally:
        if record := current():
            record.spent(stage, started, time.monotonic())


def detached(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that works for no request, or for several, whoever has caused it."""
    return Context().run(asyncio.create_task, coroutine)
