"""Activations of many images on disk, and their factorization in bounded memory.

A separate process factorizes them, since that takes minutes and workers should answer interactive requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from striate_service.backends.local.compiled_code import COMPILED, cache_variables
from striate_service.backends.local.messages import receive
from striate_service.backends.protocol import SpoolBasis, SpoolFailed, SpoolFull, SpoolProgress
from striate_service.children import environment


class DiskBudget:
    """Bytes that all spools together may take."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take bytes, and return whether they were there."""
        with self._lock:
            fits = self._taken + size <= self.limit
            self._taken += size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        with self._lock:
            self._taken -= size


class FileSpool:
    """A nameless file of float16 rows [C]: nothing of it remains, however the server ends."""

    def __init__(self, folder: Path, channels: int, budget: DiskBudget) -> None:
        """Create an empty spool.

        Args:
            folder: STRIATE_HOME, whose disk holds the file.

        Raises:
            OSError: the disk does not take it.
        """
        self._compiled = folder / COMPILED
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._channels = channels
        self._budget = budget
        self._bytes = 0
        self.rows = 0

    def __enter__(self) -> FileSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._budget.give_back(self._bytes)
        with contextlib.suppress(OSError):  # what is left in its buffer is of no use any more
            self._file.close()

    def add(self, activations: NDArray[np.float16]) -> None:
        """Append activations [N, C, H, W]. Blocking.

        Raises:
            SpoolFull: with those of all spools they exceed the limit.
            OSError: the disk does not take them.
        """
        rows = np.ascontiguousarray(np.moveaxis(activations, 1, -1)).reshape(-1, self._channels)
        if not self._budget.take(rows.nbytes):
            raise SpoolFull(alone=self._bytes + rows.nbytes > self._budget.limit)
        self._bytes += rows.nbytes
        self._file.write(rows.tobytes())
        self._file.flush()  # now, while it can be told
        self.rows += len(rows)

    async def factorize(
        self, components: int, method: Literal["nmf", "semi-nmf"], rectify: bool
    ) -> AsyncGenerator[SpoolProgress | SpoolBasis | SpoolFailed, None]:
        """Factorize all rows in a separate process; yield progress and, last, the basis or the failure."""
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), self._file.fileno())
        arguments = (*descriptors, self._channels, components, method, int(rectify))
        process = subprocess.Popen(  # noqa: ASYNC220 - this blocks for milliseconds
            [sys.executable, "-m", "striate_service.backends.local.spool_factorizer", *map(str, arguments)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            # One thread: the other cores serve interactive requests.
            env=environment(OMP_NUM_THREADS="1") | cache_variables(self._compiled),
        )
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            while True:
                try:
                    message = await receive(reader)
                except (asyncio.IncompleteReadError, OSError):
                    yield SpoolFailed(f"the factorization ended early, with exit status {process.wait()}")
                    return
                yield message
                if not isinstance(message, SpoolProgress):
                    return
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            writer.close()
