"""The server's end of one worker: a process, a socket, and shared memory for the batches in flight."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from striate_service.backends.local.compiled_code import cache_variables
from striate_service.backends.local.messages import Reply, Request, Start, Started, StartFailed, receive, to_bytes
from striate_service.backends.local.shared_memory import Slot
from striate_service.backends.protocol import NeverBegun, WorkerDied

IN_FLIGHT = 2  # batches that a worker has at a time: one that it computes, and the next, so that it never waits for it

# glibc gives a large freed block back to the kernel and asks for it again at the next layer, which halves torch's
# throughput at large batches. Measured on squeezenet1_0, batch 32: 35 images/s before, 60 to 70 after.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}


class WorkerProcess:
    """A worker that is alive until `kill`. It answers requests in their order."""

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
        """Memory for a batch each. A batch takes one out, and puts it back when its results are read."""
        self._slots = tuple(slots)
        self.on_death: Callable[[], None] = lambda: None
        """Called when it has ended by itself, or was ended since it did not answer."""
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, message: Start, timeout: float) -> tuple[WorkerProcess, Started | StartFailed]:
        """Start a process and wait until it has loaded its models, or says why it cannot.

        Raises:
            WorkerDied: it ended, or has not loaded them within `timeout` seconds.
        """
        ours, theirs = socket.socketpair()
        slots = [Slot.create(number) for number in range(IN_FLIGHT)]
        descriptors = (theirs.fileno(), *(descriptor for slot in slots for descriptor in slot.descriptors))
        kept = {} if message.options.compiled is None else cache_variables(message.options.compiled)
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes milliseconds, and asyncio would own its pipes
            [sys.executable, "-m", "striate_service.backends.local.worker", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env=os.environ | _KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": str(message.threads)} | kept,
        )
        theirs.close()
        worker = cls(process, *await asyncio.open_unix_connection(sock=ours), slots)
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
            timeout: seconds from when its turn comes. Where it passes, the process is ended.

        Raises:
            NeverBegun: it ended before it came to this request.
            WorkerDied: it ended over this request.
        """
        reply: Reply = await self._ask(request, timeout)
        return reply

    def kill(self) -> None:
        """End the process, whatever it does, and give up all that was shared with it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._fail("was ended")
        self._writer.close()
        self._reading.cancel()
        for slot in self._slots:
            slot.close()
        self._slots = ()

    async def _ask(self, message: Start | Request, timeout: float) -> Any:
        if self._writer.is_closing():  # it ended while no request was under way, so no request has been told
            raise NeverBegun(f"worker {self.pid} has ended")
        before = self._unanswered[-1] if self._unanswered else None
        reply = asyncio.get_running_loop().create_future()
        self._unanswered.append(reply)
        try:
            self._writer.write(to_bytes(message))  # if it has ended, `_read` learns so, after its last replies
            if before:
                await asyncio.wait([before])
            return await asyncio.wait_for(reply, timeout)
        except asyncio.TimeoutError as error:
            how = f"did not answer within {timeout:.0f} s"
            self._die(how)
            raise WorkerDied(f"worker {self.pid} {how}") from error
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
            self._die(f"ended: {self._how_it_ended()}")

    def _die(self, how: str) -> None:
        self._fail(how)
        self.kill()
        self.on_death()

    def _fail(self, how: str) -> None:
        """Tell those who wait for replies. The first of them waits for what the process died over."""
        death: type[WorkerDied] = WorkerDied
        while self._unanswered:
            reply = self._unanswered.popleft()
            if not reply.done():
                reply.set_exception(death(f"worker {self.pid} {how}"))
            death = NeverBegun

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        return f"signal {-code}" if code < 0 else f"exit status {code}"
