"""Spans of requests (OpenTelemetry): the server's, under the caller's, and below it one for each of its stages.

The server makes the workers' spans too, of the times that they measured, so that only it sends spans. It imports this
module, and with it the extra [otel], if the setting `tracing` is on. Names and attributes:
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from striate_service.monitoring.requests import RequestRecord, Stage

_STAGES = 256  # of one request that become spans: a stream of a million images would be a trace that nobody can show
_LAST_SPANS_WITHIN = 5.0  # seconds that a collector may take when the server stops
_OF_THE_SERVER = frozenset({2, 4, 12, 13, 14, 15})
"""Codes that are errors of the server, by the conventions: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
UNAVAILABLE, DATA_LOSS. The others are their callers', whose own spans have the error."""


class Tracing:
    """Makes spans and sends them by OTLP, in a thread. What is sent where, and how much: the variables OTEL_*.

    Spans that there is no room for, since the collector is slow or away, are dropped.
    """

    def __init__(self) -> None:
        own = Resource.create({"service.name": "striate", "service.version": version("striate")})
        self._exporter = OTLPSpanExporter()
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("striate_service")

    def begin(self, path: str, request_id: str, metadata: Mapping[str, Any]) -> RequestTrace | None:
        """Begin a request's span, as its caller's `traceparent` says; None: it is not to be kept.

        Args:
            path: of the method, "/striate.v1.ModelService/ListModels".
        """
        service, _, method = path.removeprefix("/").partition("/")
        span = self._tracer.start_span(
            f"{service}/{method}",
            TraceContextTextMapPropagator().extract(metadata, Context()),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "striate.request_id": request_id},
        )
        return RequestTrace(self._tracer, span) if span.is_recording() else None

    def close(self) -> None:
        """Send the last spans. Blocking, for a few seconds at most."""
        giving_up = threading.Timer(_LAST_SPANS_WITHIN, self._exporter.shutdown)
        giving_up.start()
        self._provider.shutdown()
        giving_up.cancel()


class RequestTrace:
    """Implements `requests.Trace`."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._within = set_span_in_context(span, Context())
        self._epoch = time.time_ns() - time.monotonic_ns()
        self._stages = 0

    @property
    def id(self) -> str:
        return format_trace_id(self._span.get_span_context().trace_id)

    def stage(self, stage: Stage, began: float, ended: float, process: int) -> None:
        self._stages += 1
        if self._stages <= _STAGES:
            attributes = {"process.pid": process} if process else None
            span = self._tracer.start_span(stage, self._within, attributes=attributes, start_time=self._time(began))
            span.end(self._time(ended))

    def end(self, record: RequestRecord, code: int, error: str) -> None:
        self._span.set_attributes({"rpc.grpc.status_code": code, "striate.images": record.images})
        if record.model:
            self._span.set_attribute("striate.model", record.model)
        if code in _OF_THE_SERVER:
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end()

    def _time(self, seconds: float) -> int:
        """Return a time of time.monotonic() in nanoseconds since 1970."""
        return self._epoch + int(seconds * 1e9)
