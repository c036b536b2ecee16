"""The server's end of one worker: a process, a connection and two blocks of shared memory."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any

from striate_service.workers.messages import Reply, Request, Start, Started, StartFailed
from striate_service.workers.shared_memory import SharedBlock

# glibc gives a large freed block back to the kernel and asks for it again at the next layer, which halves torch's
# throughput at large batches. Measured on squeezenet1_0, batch 32: 35 images/s before, 60 to 70 after.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}


class WorkerDied(Exception):
    """The process ended, or had to be ended, before it answered."""


class WorkerProcess:
    """A worker that is alive until `kill`. One request at a time."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: Connection[Any, Any],
        inputs: SharedBlock,
        outputs: SharedBlock,
    ) -> None:
        self._process = process
        self._connection = connection
        self.inputs = inputs
        self.outputs = outputs

    @classmethod
    async def start(cls, message: Start, timeout: float) -> tuple[WorkerProcess, Started | StartFailed]:
        """Start a process and wait until it has loaded its models, or says why it cannot.

        Raises:
            WorkerDied: it ended, or has not loaded them within `timeout` seconds.
        """
        ours, theirs = socket.socketpair()
        inputs, outputs = SharedBlock.create(), SharedBlock.create()
        descriptors = (theirs.fileno(), inputs.descriptor, outputs.descriptor)
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes milliseconds, and asyncio would own its pipes
            [sys.executable, "-m", "striate_service.workers.worker", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env=os.environ | _KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": str(message.threads)},
        )
        theirs.close()
        worker = cls(process, Connection(ours.detach()), inputs, outputs)
        try:
            return worker, await worker._exchange(message, timeout)
        except BaseException:
            worker.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, request: Request, timeout: float) -> Reply:
        """Send a request and wait for the reply.

        Raises:
            WorkerDied: it ended, or has not answered within `timeout` seconds and is now ended.
        """
        try:
            reply: Reply = await self._exchange(request, timeout)
        except WorkerDied:
            self.kill()
            raise
        return reply

    def kill(self) -> None:
        """End the process, whatever it does, and give up all that was shared with it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if not self._connection.closed:
            self._connection.close()
            self.inputs.close()
            self.outputs.close()

    async def _exchange(self, message: Start | Request, timeout: float) -> Any:
        loop, descriptor = asyncio.get_running_loop(), self._connection.fileno()
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            self._connection.send(message)
            await asyncio.wait_for(readable.wait(), timeout)
            return self._connection.recv()
        except asyncio.TimeoutError as error:
            raise WorkerDied(f"worker {self.pid} did not answer within {timeout:.0f} s") from error
        except (EOFError, OSError) as error:
            raise WorkerDied(f"worker {self.pid} ended: {self._how_it_ended()}") from error
        finally:
            loop.remove_reader(descriptor)

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"signal {-code}" if code < 0 else f"exit status {code}"
