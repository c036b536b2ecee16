"""Watching traffic: images go to a monitor from a thread of their own, so that who serves them never waits."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType

import grpc

from striate.calls.monitors import observed_message
from striate.errors import DeadlineExceeded, ResourceExhausted, StriateError, Unavailable, from_rpc_error
from striate.images import Image, ObservedImage
from striate.transport import Connection, open_sync_channel
from striate.uploads import too_large
from striate.v1 import monitoring_pb2 as messages
from striate.v1.monitoring_pb2_grpc import MonitoringServiceStub

_BATCH = 16  # images of a message
_BATCH_SHARE = 4  # a message may fill this part of the largest one
_UNDER_WAY = 8  # messages that wait for their acknowledgement
_LOOK = 0.1  # seconds between looks at whether the watch is closed
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds between tries to reach the server
_CLOSING = 30.0  # seconds that closing waits for acknowledgements


@dataclass
class _Batch:
    images: list[messages.ObservedImage]


class Watch:
    """Lets a monitor see images of traffic. Use it as a context manager, or `close` it; threads may share it.

    `add` takes microseconds: it puts an image into a buffer, from which a thread sends it. What a server has not
    acknowledged is sent again when the connection comes back, under the same id, and counts once.

    Attributes:
        stored: images that the server has acknowledged: it keeps them.
        dropped: images that were not sent, since the buffer was full or the watch had failed.
        skipped: images that could not be read, or are too large for one message.
        error: what ended the watch, such as a monitor that is gone; None while it works.
    """

    def __init__(
        self,
        connection: Connection,
        credentials: grpc.ChannelCredentials | None,
        monitor: str,
        sample_rate: float,
        buffer: int,
    ) -> None:
        if not 0 <= sample_rate <= 1:
            raise ValueError(f"sample_rate is {sample_rate}; it should be 0 to 1")
        if buffer < 1:
            raise ValueError(f"buffer is {buffer}; it should be at least 1")
        self.stored = 0
        self.dropped = 0
        self.skipped = 0
        self.error: StriateError | None = None
        self._connection = connection
        self._credentials = credentials
        self._monitor = monitor
        self._sample_rate = sample_rate
        self._waiting: queue.Queue[ObservedImage] = queue.Queue(buffer)
        self._unacknowledged: deque[_Batch] = deque()
        self._sent = 0
        """How many of them the present stream has sent."""
        self._stream = 0
        """The number of the present stream: an earlier one's requests may still be asked for."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"striate watch {monitor}", daemon=True)
        self._thread.start()

    def add(
        self,
        image: Image,
        *,
        id: str = "",
        slice: str = "",
        time: datetime | None = None,
    ) -> bool:
        """Have an image sent, and return at once whether it will be. It should not be changed any more.

        Args:
            image: as all calls take it; a path is read later.
            id: the caller's own name of it, by which outcomes are added.
            slice: what traffic is told apart by, such as a camera.
            time: when it was taken; now by default.
        """
        if self._sample_rate < 1 and random.random() >= self._sample_rate:
            return False
        given = ObservedImage(image, id or uuid.uuid4().hex, slice, time or datetime.now(timezone.utc))
        if self.error is None and not self._closing.is_set():
            try:
                self._waiting.put_nowait(given)
                return True
            except queue.Full:
                pass
        with self._changed:
            self.dropped += 1
        return False

    def close(self, timeout: float = _CLOSING) -> None:
        """Send what is still in the buffer, and wait until the server has acknowledged it.

        Raises:
            StriateError: what ended the watch. What was not stored is counted in `dropped`.
        """
        self._closing.set()
        self._thread.join(timeout)
        with self._changed:
            self._stream += 1  # a stream that is still open ends
            self._changed.notify_all()
            left = sum(len(batch.images) for batch in self._unacknowledged) + self._waiting.qsize()
            self._unacknowledged.clear()
        self.dropped += left
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StriateError:
            if error is None:
                raise

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _run(self) -> None:
        """Send until closed; after an error that passes, again from what has no acknowledgement."""
        pause = _FIRST_PAUSE
        with open_sync_channel(self._connection, self._credentials) as channel:
            stub = MonitoringServiceStub(channel)
            while not (self._closing.is_set() and self._is_done()):
                before = self.stored
                try:
                    self._send(stub)
                except grpc.RpcError as error:
                    problem = from_rpc_error(error, self._connection.target)
                    if not isinstance(problem, Unavailable | ResourceExhausted | DeadlineExceeded):
                        self.error = problem
                        return
                    pause = _FIRST_PAUSE if self.stored > before else min(2 * pause, _LONGEST_PAUSE)
                    time.sleep(_FIRST_PAUSE if self._closing.is_set() else pause)

    def _is_done(self) -> bool:
        with self._changed:
            return not self._unacknowledged and self._waiting.empty()

    def _send(self, stub: MonitoringServiceStub) -> None:
        with self._changed:
            self._stream += 1
            self._sent = 0
            stream = self._stream
        options = self._connection.unlimited_call_options(None)
        for response in stub.Observe(self._requests(stream), **options):
            with self._changed:
                batch = self._unacknowledged.popleft()
                self._sent -= 1
                self.skipped += len(response.skipped)
                self.stored += len(batch.images) - len(response.skipped)
                self._changed.notify_all()

    def _requests(self, stream: int) -> Iterator[messages.ObserveRequest]:
        """Yield the requests of a stream: first what no server has acknowledged, then what comes."""
        yield messages.ObserveRequest(start=messages.ObserveStart(monitor=self._monitor))
        while True:
            with self._changed:
                while self._stream == stream and self._sent >= _UNDER_WAY:
                    self._changed.wait(_LOOK)
                if self._stream != stream:
                    return
                batch = self._unacknowledged[self._sent] if self._sent < len(self._unacknowledged) else None
                if batch:
                    self._sent += 1
            if batch:
                yield messages.ObserveRequest(images=messages.ObserveImages(images=batch.images))
                continue
            new = self._next_batch()
            if new is None:
                if self._closing.is_set():
                    return
                continue
            with self._changed:
                self._unacknowledged.append(new)

    def _next_batch(self) -> _Batch | None:
        """Return the images that wait, as many as a message may hold; None: there is none at present."""
        try:
            first = self._waiting.get(timeout=_LOOK)
        except queue.Empty:
            return None
        images: list[messages.ObservedImage] = []
        size = 0
        most = self._connection.max_message_bytes // _BATCH_SHARE
        given: ObservedImage | None = first
        while given is not None:
            try:
                message = observed_message(given)
                length = message.ByteSize()
                is_sent = not too_large(length, self._connection.max_message_bytes)
            except (OSError, ValueError, TypeError):  # a file that is gone, or no image
                is_sent = False
            if is_sent:
                images.append(message)
                size += length
            else:
                with self._changed:
                    self.skipped += 1
            given = None
            if len(images) < _BATCH and size < most:
                with contextlib.suppress(queue.Empty):
                    given = self._waiting.get_nowait()
        return _Batch(images) if images else None
