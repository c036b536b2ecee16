"""Around every request: whether its caller may, its bytes become a message, its memory is counted, its errors end it.
Each of these happens here and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc

from striate_service.errors import ReplyTooLarge, RequestError, TokenQuotaExceeded
from striate_service.monitoring.metrics import Metrics
from striate_service.monitoring.requests import current, spending
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.servicers.access import Access, Caller
from striate_service.servicers.calls_under_way import CallsUnderWay
from striate_service.servicers.context import Context, caller_name
from striate_service.servicers.observation import Observation
from striate_service.servicers.receiving import Messages, following, only, receiver
from striate_service.servicers.unsent_replies import UnsentReplies

if TYPE_CHECKING:  # it needs an extra
    from striate_service.monitoring.tracing import Tracing

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Interceptor(grpc.aio.ServerInterceptor):
    """Admits, reads, counts and times requests, and ends those that raise.

    Args:
        unsent: counts replies.
        max_calls: under way at a time.
        patience: seconds that a caller may take over each message.
        access: who may call; None: everybody.
        model_names: returns the names of the loaded models, the default one first.
        tracing: makes spans of requests; None: nobody wants them.
    """

    def __init__(
        self,
        metrics: Metrics,
        memory: RequestMemory,
        unsent: UnsentReplies,
        max_message_bytes: int,
        max_calls: int,
        patience: float,
        access: Access | None,
        model_names: Callable[[], Sequence[str]],
        tracing: Tracing | None,
    ) -> None:
        self._patience = patience
        self._unsent = unsent
        self._calls = CallsUnderWay(max_calls)
        self._metrics = metrics
        self._memory = memory
        self._max_message_bytes = max_message_bytes
        self._access = access
        self._model_names = model_names
        self._tracing = tracing
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
            with self._observing(path, context) as observation:
                await observation.abort(error)
            yield  # never reached: it makes this a stream

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _observed(self, path: str, handler: Handler, caller: Caller | None) -> Handler:
        """Return a handler that answers as the given one. Health checks and reflection are not counted."""
        receive = receiver(handler.request_deserializer, self._max_message_bytes)
        # To gRPC all requests are streams: the message of any other it would read itself, and wait for it for ever.
        if asyncio.iscoroutinefunction(handler.unary_stream):  # of the health service: it writes its replies itself
            answer = self._writing(path, handler)
            return grpc.stream_stream_rpc_method_handler(answer, receive, handler.response_serializer)
        if handler.response_streaming:  # `_serialized` serializes replies
            return grpc.stream_stream_rpc_method_handler(self._streaming(path, handler, caller), receive)
        return grpc.stream_unary_rpc_method_handler(self._unary(path, handler, caller), receive)

    def _writing(self, path: str, handler: Handler) -> Callable[[Messages, Context], Awaitable[None]]:
        answer = cast(Any, handler.unary_stream)

        async def call(messages: Messages, context: Context) -> None:
            with self._observing(path, context) as observation:
                try:
                    request = (await only(messages, self._patience)).read()
                except RequestError as error:
                    await observation.abort(error)
            await answer(request, context)

        return call

    def _unary(
        self, path: str, handler: Handler, caller: Caller | None
    ) -> Callable[[Messages, Context], Awaitable[Any]]:
        answer = cast(Any, handler.stream_unary if handler.request_streaming else handler.unary_unary)

        async def call(messages: Messages, context: Context) -> Any:
            with self._observing(path, context) as observation:
                try:
                    async with self._read(messages, handler, caller, observation) as request:
                        answered = await answer(_metered(path, request, caller), context)
                        reply = self._serialized(answered, handler, observation)
                        self._unsent.hold_until_the_end(len(reply), context.peer())
                        return reply
                except Exception as error:
                    await observation.abort(error)

        return call

    def _streaming(
        self, path: str, handler: Handler, caller: Caller | None
    ) -> Callable[[Messages, Context], AsyncIterator[Any]]:
        answer = cast(Any, handler.stream_stream if handler.request_streaming else handler.unary_stream)

        async def call(messages: Messages, context: Context) -> AsyncIterator[Any]:
            with self._observing(path, context) as observation:
                try:
                    async with self._read(messages, handler, caller, observation) as request:
                        async for response in answer(_metered(path, request, caller), context):
                            reply = self._serialized(response, handler, observation)
                            with self._unsent.hold(len(reply), context.peer()):
                                yield reply
                except Exception as error:
                    await observation.abort(error)

        return call

    def _observing(self, path: str, context: Context) -> Observation:
        trusting = self._access is None
        return Observation(self._metrics, self._tracing, path, context, self._model_names, trusting)

    def _serialized(self, response: Any, handler: Handler, observation: Observation) -> bytes:
        """Return a reply as it is sent. gRPC would refuse a large one only later, in words that help nobody.

        Raises:
            ReplyTooLarge: it is larger than a reply may be, though its parts' estimates were not.
        """
        with spending("encode"):
            data = handler.response_serializer(response) if handler.response_serializer else response
        if len(data) > self._max_message_bytes:
            raise ReplyTooLarge(
                "request",
                f"would make a reply of {len(data) / 2**20:.0f} MiB, and at most "
                f"{self._max_message_bytes / 2**20:.0f} MiB can be sent; ask for less at a time.",
            )
        observation.sent(len(data))
        return bytes(data)

    @asynccontextmanager
    async def _read(
        self, messages: Messages, handler: Handler, caller: Caller | None, observation: Observation
    ) -> AsyncIterator[Any]:
        """Give the request, whose bytes are counted until the call ends, or a stream of messages."""
        if handler.request_streaming:
            with _on_account_of(caller):
                yield self._stream(messages, observation)
        else:
            received = await only(messages, self._patience)
            observation.received(received.size)
            request = received.read()
            observation.asks(request)
            with self._memory.hold(received.size), _on_account_of(caller):
                yield request

    async def _stream(self, messages: Messages, observation: Observation) -> AsyncGenerator[Any, None]:
        """Yield a stream's messages; take none in while the messages that are worked on leave no room."""
        while True:
            await self._memory.room_for_streams()
            received = await following(messages, self._patience)
            if received is None:
                return
            observation.received(received.size)
            yield received.read()


@contextmanager
def _on_account_of(caller: Caller | None) -> Iterator[None]:
    """Schedule a request for whom its token stands for, and count it among those under way."""
    if caller is None:
        yield
        return
    caller_name.set(caller.name)
    if record := current():
        record.caller = caller.name
    with caller.running():
        yield


def _metered(path: str, request: Any, caller: Caller | None) -> Any:
    """Return a request, or a stream of them, whose fields and images the caller's token allows.

    A stream is slowed down where a single request is refused.
    """
    if caller is None:
        return request
    if hasattr(request, "__aiter__"):
        return _metered_stream(request, caller)
    caller.check_fields(path.rpartition("/")[2], request)
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
