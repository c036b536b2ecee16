"""Around every request: whether its caller may, its bytes become a message, its memory is counted, its errors become
statuses with google.rpc details. Each of these happens here and nowhere else; so do the metrics of requests."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from sqlalchemy.exc import DatabaseError

from striate_service.errors import (
    AlreadyExists,
    CannotStore,
    Damaged,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LaterVersion,
    NotAllowed,
    NotFound,
    NothingSent,
    Overloaded,
    QueueFull,
    QuotaExceeded,
    RequestError,
    TokenQuotaExceeded,
    TooManyBytes,
    TooManyCalls,
    TooManyIcons,
    Unauthenticated,
    Unavailable,
    WorkFailed,
    WrongWeights,
)
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.servicers.access import Access, Caller
from striate_service.servicers.calls_under_way import CallsUnderWay
from striate_service.servicers.context import Context, caller_name
from striate_service.servicers.receiving import Messages, following, only, receiver
from striate_service.servicers.unsent_replies import UnsentReplies

logger = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_CODES: dict[type[RequestError], int] = {
    InvalidArgument: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    AlreadyExists: code_pb2.ALREADY_EXISTS,
    WrongWeights: code_pb2.FAILED_PRECONDITION,
    FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    Damaged: code_pb2.FAILED_PRECONDITION,
    LaterVersion: code_pb2.FAILED_PRECONDITION,
    CannotStore: code_pb2.FAILED_PRECONDITION,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    NotAllowed: code_pb2.PERMISSION_DENIED,
    QueueFull: code_pb2.RESOURCE_EXHAUSTED,
    TooManyCalls: code_pb2.RESOURCE_EXHAUSTED,
    TooManyBytes: code_pb2.RESOURCE_EXHAUSTED,
    TooManyIcons: code_pb2.RESOURCE_EXHAUSTED,
    QuotaExceeded: code_pb2.RESOURCE_EXHAUSTED,
    TokenQuotaExceeded: code_pb2.RESOURCE_EXHAUSTED,
    Overloaded: code_pb2.RESOURCE_EXHAUSTED,
    NothingSent: code_pb2.DEADLINE_EXCEEDED,
    DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    Unavailable: code_pb2.UNAVAILABLE,
    WorkFailed: code_pb2.INTERNAL,
}
_STATUS_CODES = {status.value[0]: status for status in grpc.StatusCode}
_PATH = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+([^\s/:'\"]*)")
"""A file's path, and its name: what lies where on the server's machine is nobody else's concern."""
_MOST_MESSAGE_BYTES, _MOST_DETAIL_BYTES = 2048, 512
"""Of a status message, and of each of the at most four texts in its details. Trailers of more than 8 to 16 KiB, as they
are sent (both grow by up to 3), arrive as RESOURCE_EXHAUSTED, and nobody reads the reason."""


def status_of(error: Exception) -> status_pb2.Status:
    """Return an error's status and details; what this code did not foresee is INTERNAL, and told to the log only."""
    if isinstance(error, DatabaseError):
        logger.error("the database does not answer: %s", error.orig)
        error = Unavailable("the database does not answer")
    if not isinstance(error, RequestError):
        logger.error("unexpected error", exc_info=error)
        return status_pb2.Status(code=code_pb2.INTERNAL, message="the server made a mistake; its log says more")
    if isinstance(error, WorkFailed | Unavailable):  # an operating system's own words may name files
        error.reason = _PATH.sub(r"\1", error.reason)
    details = [_packed(detail) for detail in _details(error)]
    return status_pb2.Status(code=_CODES[type(error)], message=_cut(str(error), _MOST_MESSAGE_BYTES), details=details)


def _details(error: RequestError) -> list[Message]:
    match error:
        case InvalidArgument():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=_cut(error.field), description=_cut(error.problem)
            )
            return [error_details_pb2.BadRequest(field_violations=[violation])]
        case NotFound() | AlreadyExists():
            return [
                error_details_pb2.ResourceInfo(
                    resource_type=error.kind, resource_name=_cut(error.name), description=_cut(error.advice)
                )
            ]
        case WrongWeights():
            unmet = error_details_pb2.PreconditionFailure.Violation(
                type="MODEL_VERSION", subject=error.basis, description=_cut(error.problem)
            )
            return [error_details_pb2.PreconditionFailure(violations=[unmet])]
        case FailedPrecondition():
            unmet = error_details_pb2.PreconditionFailure.Violation(
                type="STATE", subject=_cut(error.subject), description=_cut(error.problem)
            )
            return [error_details_pb2.PreconditionFailure(violations=[unmet])]
        case QuotaExceeded() | TokenQuotaExceeded():
            violation_ = error_details_pb2.QuotaFailure.Violation(
                subject=_cut(error.caller), description=_cut(str(error))
            )
            return [error_details_pb2.QuotaFailure(violations=[violation_]), _retry(error.retry_after)]
        case QueueFull() | TooManyCalls() | TooManyBytes() | TooManyIcons() | Overloaded() | Unavailable():
            return [_retry(error.retry_after)]
    return []


def _cut(text: str, most_bytes: int = _MOST_DETAIL_BYTES) -> str:
    """Return a text in at most so many bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(max(seconds, 0.01) * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


class Interceptor(grpc.aio.ServerInterceptor):
    """Admits, reads, counts and times requests, and ends those that raise.

    Args:
        unsent: counts replies.
        max_calls: under way at a time.
        patience: seconds that a caller may take over each message.
        access: who may call; None: everybody.
    """

    def __init__(
        self,
        metrics: Metrics,
        memory: RequestMemory,
        unsent: UnsentReplies,
        max_reply_bytes: int,
        max_calls: int,
        patience: float,
        access: Access | None = None,
    ) -> None:
        self._patience = patience
        self._unsent = unsent
        self._calls = CallsUnderWay(max_calls)
        self._metrics = metrics
        self._memory = memory
        self._max_reply_bytes = max_reply_bytes
        self._access = access
        self._handlers: dict[str, Handler] = {}
        """Those that have been called, by path; they stay the same."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        path = handler_call_details.method
        if path not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[path] = handler if self._access else self._observed(path, handler, None)
        handler = self._handlers[path]
        try:
            metadata = handler_call_details.invocation_metadata or ()
            caller = self._access.admit(path, metadata, time.monotonic()) if self._access else None
            self._calls.begin(path)
        except RequestError as error:
            return self._refusing(path, error)
        return self._observed(path, handler, caller) if self._access else handler

    def _refusing(self, path: str, error: RequestError) -> Handler:
        """Return a handler that ends a call with an error. As one of streams, it does so before a request is read."""

        async def refuse(requests: Any, context: Context) -> AsyncIterator[Any]:
            with _Observation(self._metrics, _counted(path)) as observation:
                await observation.abort(context, error)
            yield  # never reached: it makes this a stream

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _observed(self, path: str, handler: Handler, caller: Caller | None) -> Handler:
        """Return a handler that answers as the given one. Health checks and reflection are not counted."""
        receive = receiver(handler.request_deserializer)
        # To gRPC all requests are streams: the message of any other it would read itself, and wait for it for ever.
        if asyncio.iscoroutinefunction(handler.unary_stream):  # of the health service: it writes its replies itself
            return grpc.stream_stream_rpc_method_handler(self._writing(handler), receive, handler.response_serializer)
        method = _counted(path)
        if handler.response_streaming:  # `_serialized` serializes replies
            return grpc.stream_stream_rpc_method_handler(self._streaming(method, handler, caller), receive)
        return grpc.stream_unary_rpc_method_handler(self._unary(method, handler, caller), receive)

    def _writing(self, handler: Handler) -> Callable[[Messages, Context], Awaitable[None]]:
        answer = cast(Any, handler.unary_stream)

        async def call(messages: Messages, context: Context) -> None:
            with _Observation(self._metrics, "") as observation:
                try:
                    request = (await only(messages, self._patience)).read()
                except RequestError as error:
                    await observation.abort(context, error)
            await answer(request, context)

        return call

    def _unary(
        self, method: str, handler: Handler, caller: Caller | None
    ) -> Callable[[Messages, Context], Awaitable[Any]]:
        answer = cast(Any, handler.stream_unary if handler.request_streaming else handler.unary_unary)

        async def call(messages: Messages, context: Context) -> Any:
            with _Observation(self._metrics, method) as observation:
                try:
                    async with self._read(messages, handler, caller) as request:
                        reply = self._serialized(await answer(_metered(method, request, caller), context), handler)
                        self._unsent.hold_until_the_end(len(reply), context.peer())
                        return reply
                except Exception as error:
                    await observation.abort(context, error)

        return call

    def _streaming(
        self, method: str, handler: Handler, caller: Caller | None
    ) -> Callable[[Messages, Context], AsyncIterator[Any]]:
        answer = cast(Any, handler.stream_stream if handler.request_streaming else handler.unary_stream)

        async def call(messages: Messages, context: Context) -> AsyncIterator[Any]:
            with _Observation(self._metrics, method) as observation:
                try:
                    async with self._read(messages, handler, caller) as request:
                        async for response in answer(_metered(method, request, caller), context):
                            reply = self._serialized(response, handler)
                            with self._unsent.hold(len(reply), context.peer()):
                                yield reply
                except Exception as error:
                    await observation.abort(context, error)

        return call

    def _serialized(self, response: Any, handler: Handler) -> bytes:
        """Return a reply as it is sent. gRPC would refuse a large one only later, in words that help nobody.

        Raises:
            InvalidArgument: it is larger than a reply may be, though its parts' estimates were not.
        """
        data = handler.response_serializer(response) if handler.response_serializer else response
        if len(data) > self._max_reply_bytes:
            raise InvalidArgument(
                "request",
                f"would make a reply of {len(data) / 2**20:.0f} MiB, and at most "
                f"{self._max_reply_bytes / 2**20:.0f} MiB can be sent; ask for less at a time.",
            )
        return bytes(data)

    @asynccontextmanager
    async def _read(self, messages: Messages, handler: Handler, caller: Caller | None) -> AsyncIterator[Any]:
        """Give the request, whose bytes are counted until the call ends, or a stream of messages."""
        if handler.request_streaming:
            with _on_account_of(caller):
                yield self._stream(messages)
        else:
            received = await only(messages, self._patience)
            with self._memory.hold(received.size), _on_account_of(caller):
                yield received.read()

    async def _stream(self, messages: Messages) -> AsyncGenerator[Any, None]:
        """Yield a stream's messages; take none in while the messages that are worked on leave no room."""
        while True:
            await self._memory.room_for_streams()
            received = await following(messages, self._patience)
            if received is None:
                return
            yield received.read()


def _counted(path: str) -> str:
    """Return the method's name in the metrics; empty: it is not counted."""
    return path.rpartition("/")[2] if path.startswith("/striate.") else ""


@contextmanager
def _on_account_of(caller: Caller | None) -> Iterator[None]:
    """Schedule a request for whom its token stands for, and count it among those under way."""
    if caller is None:
        yield
        return
    caller_name.set(caller.name)
    with caller.running():
        yield


def _metered(method: str, request: Any, caller: Caller | None) -> Any:
    """Return a request, or a stream of them, whose fields and images the caller's token allows.

    A stream is slowed down where a single request is refused.
    """
    if caller is None:
        return request
    if hasattr(request, "__aiter__"):
        return _metered_stream(request, caller)
    caller.check_fields(method, request)
    caller.take_images(request, time.monotonic())
    return request


async def _metered_stream(requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Any]:
    async for request in requests:
        await _patiently(caller.take_request)
        await _patiently(partial(caller.take_images, request))
        yield request


async def _patiently(take: Callable[[float], None]) -> None:
    """Take from a quota as soon as it allows that."""
    while True:
        try:
            return take(time.monotonic())
        except TokenQuotaExceeded as error:
            await asyncio.sleep(error.retry_after)


class _Observation:
    """One request's line in the metrics; none where `method` is empty."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._metrics = metrics
        self._method = method
        self._ended = False

    def __enter__(self) -> _Observation:
        self._started = time.perf_counter()
        if self._method:
            self._metrics.requests_in_progress.labels(method=self._method).inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._ended:
            self._end("OK" if kind is None else "CANCELLED")

    async def abort(self, context: Context, error: Exception) -> None:
        """End the request with the error's status."""
        status = status_of(error)
        code = _STATUS_CODES[status.code]
        self._end(code.name)  # before the caller hears of it: who then reads the metrics finds it counted
        trailer = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(code, status.message, trailer)

    def _end(self, code: str) -> None:
        self._ended = True
        if not self._method:
            return
        self._metrics.requests_in_progress.labels(method=self._method).dec()
        self._metrics.requests.labels(method=self._method, code=code).inc()
        self._metrics.request_seconds.labels(method=self._method).observe(time.perf_counter() - self._started)
