"""A worker process as the server sees it: the process, a socket, and shared memory for batches in flight."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from striate_service.backends.local.compiled_code import cache_variables
from striate_service.backends.local.messages import Reply, Request, Start, Started, StartFailed, receive, to_bytes
from striate_service.backends.local.shared_memory import Slot
from striate_service.backends.protocol import NeverBegun, WorkerDied
from striate_service.children import environment

IN_FLIGHT = 2  # batches of a worker at a time: the running one and the next, so that the worker never idles

# By default glibc returns large freed blocks to the kernel and requests them again at the next layer, which halves
# torch's throughput at large batches. Measured on squeezenet1_0, batch 32: 35 images/s before, 60 to 70 after.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}

# Seconds. If this process stood still (a suspended machine), the time is over before the reply is read, which is there.
_READS_WITHIN = 1.0
_ENDS_WITHIN = 0.1  # seconds, of a process that has closed its socket: the event loop waits


class WorkerProcess:
    """A running worker process, until `kill`. It answers requests in order."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        slots: list[Slot],
    ) -> None:
        self._process = process
        self._writer = writer
        self._unanswered: deque[asyncio.Future[Any]] = deque()
        self.free_slots = slots
        """One slot holds one batch, which takes it from this list until its results have been read."""
        self._slots = tuple(slots)
        self._end: threading.Thread | None = None
        """Waits for the process, once it was killed."""
        self.on_death: Callable[[], None] = lambda: None
        """Called when the process died, or was killed because it did not answer."""
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, message: Start, timeout: float) -> tuple[WorkerProcess, Started | StartFailed]:
        """Start a process, and wait until it has loaded its models or reports why it cannot.

        Raises:
            WorkerDied: it died, or did not load them within `timeout` seconds.
        """
        kept = {} if message.options.compiled is None else cache_variables(message.options.compiled)
        with contextlib.ExitStack() as undo:  # without descriptors or memory left, any step may fail
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                slots: list[Slot] = []
                for number in range(IN_FLIGHT):
                    slots.append(Slot.create(number))
                    undo.callback(slots[-1].close)
                descriptors = (theirs.fileno(), *(descriptor for slot in slots for descriptor in slot.descriptors))
                process = subprocess.Popen(  # noqa: ASYNC220 - it takes milliseconds, and asyncio would own its pipes
                    [sys.executable, "-m", "striate_service.backends.local.worker", *map(str, descriptors)],
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    env=environment(OMP_NUM_THREADS=str(message.threads)) | _KEEP_FREED_MEMORY | kept,
                )
            undo.callback(_end, process)
            streams = await asyncio.open_unix_connection(sock=ours)
            undo.pop_all()
        worker = cls(process, *streams, slots)
        try:
            return worker, await worker._ask(message, timeout)
        except BaseException:
            worker.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, request: Request, timeout: float) -> Reply:
        """Send a request and wait for the reply.

        Args:
            timeout: seconds, from when earlier requests are answered. After it the process is killed.

        Raises:
            NeverBegun: the process died before it began this request.
            WorkerDied: it died during this request, or was killed after `timeout`.
        """
        reply: Reply = await self._ask(request, timeout)
        return reply

    def kill(self) -> None:
        """Kill the process, and release everything that was shared with it. It may take a moment to end: see `wait`."""
        if self._end is None:
            self._end = _end(self._process)
        self._fail("was ended")
        self._writer.close()
        self._reading.cancel()
        for slot in self._slots:
            slot.close()
        self._slots = ()

    async def wait(self, timeout: float) -> None:
        """Wait, after `kill`, until the process has ended: at most `timeout` seconds, since a device may hold it."""
        if self._end:
            await asyncio.to_thread(self._end.join, timeout)

    async def _ask(self, message: Start | Request, timeout: float) -> Any:
        if self._writer.is_closing():  # it died between two requests
            raise NeverBegun(f"worker {self.pid} has ended")
        before = self._unanswered[-1] if self._unanswered else None
        reply = asyncio.get_running_loop().create_future()
        self._unanswered.append(reply)
        try:
            self._writer.write(to_bytes(message))  # if the process has died, `_read` notices after its last replies
            if before:
                await asyncio.wait([before])
            for patience in (timeout, _READS_WITHIN):
                await asyncio.wait([reply], timeout=patience)
                if reply.done():
                    return reply.result()
            reply.cancel()
            reason = f"did not answer within {timeout:.0f} s"
            self._die(reason)
            raise WorkerDied(f"worker {self.pid} {reason}")
        finally:
            reply.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                message = await receive(reader)
                reply = self._unanswered.popleft()
                if not reply.done():
                    reply.set_result(message)
        except (asyncio.IncompleteReadError, OSError):
            self._die(f"ended: {self._exit_reason()}")

    def _die(self, reason: str) -> None:
        self._fail(reason)
        self.kill()
        self.on_death()

    def _fail(self, reason: str) -> None:
        """Fail all unanswered requests. The process died during the first; the others had not begun."""
        death: type[WorkerDied] = WorkerDied
        while self._unanswered:
            reply = self._unanswered.popleft()
            if not reply.done():
                reply.set_exception(death(f"worker {self.pid} {reason}"))
            death = NeverBegun

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(timeout=_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def _end(process: subprocess.Popen[bytes]) -> threading.Thread:
    """Kill a process, and wait for it in a thread: one that a broken device holds may never end."""
    process.kill()
    waiting = threading.Thread(target=process.wait, daemon=True)
    waiting.start()
    return waiting
