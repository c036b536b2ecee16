"""A request as operators see it: its id and its record, and how it ended in metrics."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from striate_service.errors import (
    Overloaded,
    QueueFull,
    QuotaExceeded,
    ReplyTooLarge,
    RequestTooLarge,
    TokenQuotaExceeded,
    TooManyBytes,
    TooManyCalls,
    TooManyIcons,
)
from striate_service.monitoring import requests
from striate_service.monitoring.logs import log_request
from striate_service.monitoring.metrics import Metrics
from striate_service.monitoring.requests import RequestRecord
from striate_service.servicers.context import Context
from striate_service.servicers.statuses import code_of, status_of

if TYPE_CHECKING:  # it needs an extra
    from striate_service.monitoring.tracing import Tracing

REQUEST_ID = "x-request-id"
"""In a call's metadata: the caller's own id, which is taken. In each reply's trailing metadata: the id."""
_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")
"""The header `traceparent` of W3C Trace Context: version, trace, span, flags."""
_PUSHBACK = "grpc-retry-pushback-ms"
"""In trailing metadata: github.com/grpc/proposal/blob/master/A6-client-retries.md."""
_SAMPLED = 1  # of its flags: the trace is kept, so that who finds its id can look it up
_LONGEST_CALLER = 200  # characters
_UNKNOWN_MODEL = "unknown"
# gRPC sends a deadline in at most three digits, rounded up by up to 1 %: the caller may give up that much earlier.
_ROUNDED_SHARE, _ROUNDED_SECONDS = 0.01, 0.01
_REASONS: dict[type[Exception], str] = {
    QueueFull: "queue",
    QuotaExceeded: "quota",
    TokenQuotaExceeded: "quota",
    Overloaded: "overload",
    TooManyBytes: "bytes",
    TooManyCalls: "calls",
    TooManyIcons: "icons",
    RequestTooLarge: "oversized",
    ReplyTooLarge: "oversized",
}


class Observation:
    """A context manager around one request.

    Args:
        tracing: makes spans of requests; None: nobody wants them.
        path: of the method. Only the service's own are counted and have an id: no health checks, no reflection.
        model_names: returns the names of the loaded models, the default one first.
        trusting: whether to believe who the caller says they are, where no token tells.
    """

    def __init__(
        self,
        metrics: Metrics,
        tracing: Tracing | None,
        path: str,
        context: Context,
        model_names: Callable[[], Sequence[str]],
        trusting: bool,
    ) -> None:
        method = path.rpartition("/")[2] if path.startswith("/striate.") else ""
        self._metrics = metrics
        self._context = context
        self._model_names = model_names
        metadata = dict(context.invocation_metadata() or ()) if method else {}
        said = _plain(str(metadata.get("striate-caller", ""))) if trusting else ""
        self.record = RequestRecord(
            id=_request_id(str(metadata.get(REQUEST_ID, ""))),
            method=method,
            caller=said or context.peer().rpartition(":")[0],
            trace_id=_sampled_trace(str(metadata.get("traceparent", ""))),
        )
        if tracing and method and (trace := tracing.begin(path, self.record.id, metadata)):
            self.record.trace, self.record.trace_id = trace, trace.id
        self._ended = False

    def __enter__(self) -> Observation:
        self._started = time.perf_counter()
        if self.record.method:
            requests.begin(self.record)
            self._metrics.requests_in_progress.labels(method=self.record.method).inc()
            self._context.set_trailing_metadata(((REQUEST_ID, self.record.id),))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._ended:
            self._end(grpc.StatusCode.OK if kind is None else self._given_up())

    def asks(self, request: Any) -> None:
        """Note which model a request names. Those who name none, and streams, are of the first that works for them."""
        name = getattr(request, "model", None)
        if isinstance(name, str):
            known = self._model_names()
            self.record.model = known[0] if not name else name if name in known else _UNKNOWN_MODEL

    def received(self, size: int) -> None:
        """Count the bytes of a message."""
        if self.record.method:
            self._metrics.received_bytes.labels(method=self.record.method).inc(size)

    def sent(self, size: int) -> None:
        """Count the bytes of a reply."""
        if self.record.method:
            self._metrics.sent_bytes.labels(method=self.record.method).inc(size)

    async def abort(self, error: Exception) -> None:
        """End the request with the error's status."""
        status = status_of(error)
        code = code_of(status)
        if self.record.method and (reason := _REASONS.get(type(error))):
            self._metrics.refusals.labels(method=self.record.method, reason=reason).inc()
        self._end(code, status.message)  # before the caller hears of it: who then reads the metrics finds it counted
        trailer = (("grpc-status-details-bin", status.SerializeToString()), *self._id_trailer, *_pushback(error))
        await self._context.abort(code, status.message, trailer)

    @property
    def _id_trailer(self) -> tuple[tuple[str, str], ...]:
        return ((REQUEST_ID, self.record.id),) if self.record.method else ()

    def _given_up(self) -> grpc.StatusCode:
        """Return the code of a call that its caller has ended: gRPC does not tell whether that was at its deadline."""
        remaining = self._context.time_remaining()
        if remaining is None:
            return grpc.StatusCode.CANCELLED
        allowed = remaining + time.perf_counter() - self._started
        missed = remaining <= _ROUNDED_SHARE * allowed + _ROUNDED_SECONDS
        return grpc.StatusCode.DEADLINE_EXCEEDED if missed else grpc.StatusCode.CANCELLED

    def _end(self, code: grpc.StatusCode, error: str = "") -> None:
        self._ended = True
        if not self.record.method:
            return
        seconds = time.perf_counter() - self._started
        self._metrics.requests_in_progress.labels(method=self.record.method).dec()
        self._metrics.observe_request(self.record, code.name, seconds)
        log_request(self.record, code.name, seconds, error)
        if self.record.trace:
            self.record.trace.end(self.record, code.value[0], error)


def _pushback(error: Exception) -> tuple[tuple[str, str], ...]:
    """Return when to come again as gRPC itself obeys it, where it repeats a call; RetryInfo tells people."""
    seconds = getattr(error, "retry_after", None)
    return ((_PUSHBACK, str(max(1, round(seconds * 1000)))),) if isinstance(seconds, int | float) else ()


def _plain(name: str) -> str:
    """Return what a caller calls itself as it can stand in a line of the log."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST_CALLER])


def _request_id(given: str) -> str:
    """Return the caller's own id for a request where it is short and plain, else a new one."""
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _sampled_trace(traceparent: str) -> str:
    """Return the id of the caller's trace; empty where there is none that is kept."""
    found = _TRACE.fullmatch(traceparent)
    return found[1] if found and int(found[2], 16) & _SAMPLED else ""
