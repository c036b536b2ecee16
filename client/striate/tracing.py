"""Spans of a client's calls (OpenTelemetry), where the program that makes them traces.

A call is a child of the span that is current where it is made. Its trace goes to the server as the metadata
`traceparent` (W3C Trace Context), and the server continues it. Names and attributes:
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc

if TYPE_CHECKING:
    from opentelemetry.trace import Span

C = TypeVar("C", grpc.Channel, grpc.aio.Channel)

_KINDS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})
_HEADER = "traceparent"


def traced(channel: C, target: str) -> C:
    """Return a channel whose calls are spans. A program that has not loaded opentelemetry pays a look-up for each."""
    return cast(C, _TracedChannel(channel, target))


class _TracedChannel:
    def __init__(self, channel: grpc.Channel | grpc.aio.Channel, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._channel = channel
        self._server = {"server.address": host, "server.port": int(port)} if port.isdigit() else {}

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._channel, name)
        return partial(self._method, attribute) if name in _KINDS else attribute

    def _method(self, kind: Callable[..., Any], path: str, *serializers: Any, **options: Any) -> Callable[..., Any]:
        """Return what a stub calls a method by."""
        method = kind(path, *serializers, **options)
        service, _, name = path.removeprefix("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, **self._server}

        def call(request: Any, *, metadata: Sequence[tuple[str, str]] = (), **terms: Any) -> Any:
            # A caller who sends a trace's header makes the spans, too.
            if "opentelemetry.trace" not in sys.modules or any(key == _HEADER for key, _ in metadata):
                return method(request, metadata=metadata, **terms)
            return _traced_call(partial(method, request, **terms), metadata, f"{service}/{name}", attributes)

        return call


def _traced_call(
    method: Callable[..., Any], metadata: Sequence[tuple[str, str]], name: str, attributes: dict[str, Any]
) -> Any:
    """Make a call in a span of its own, which ends with it. Without a tracer provider there is none."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    span = trace.get_tracer("striate").start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
    headers: dict[str, str] = {}
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        TraceContextTextMapPropagator().inject(headers)
        try:
            call = method(metadata=(*metadata, *headers.items()))
        except grpc.RpcError as error:
            _end(span, cast(grpc.Call, error).code())
            raise
        except BaseException:  # the caller has given up, or the call cannot be made
            span.end()
            raise
    if isinstance(call, grpc.Future | grpc.aio.Call):
        call.add_done_callback(partial(_ended, span))
    else:  # the answer of a call that blocks
        _end(span, grpc.StatusCode.OK)
    return call


def _ended(span: Span, call: Any) -> None:
    code = call.code()
    if inspect.iscoroutine(code):  # of grpc.aio: it does not wait, since the call has ended
        try:
            code.send(None)
        except StopIteration as returned:
            code = returned.value
    _end(span, code)


def _end(span: Span, code: grpc.StatusCode) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if code is not grpc.StatusCode.OK:
        span.set_status(StatusCode.ERROR, code.name)
    span.end()
