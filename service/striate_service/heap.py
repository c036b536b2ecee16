"""The C library's heap, which keeps what is freed unless it is told to return it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes

_INTERVAL = 10.0  # seconds: pictures of 100 MB leave nothing behind for longer, and 10 ms in 10 s are hardly noticed


def return_freed() -> None:
    """Return freed memory to the kernel, with glibc; elsewhere do nothing."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


async def keep_low() -> None:
    """Return freed memory now and then, until cancelled.

    Threads that decode have heaps of their own, which shrink at their ends only: after thousands of pictures of all
    sizes a server held 100 to 150 MiB that nothing used.
    """
    while True:
        await asyncio.sleep(_INTERVAL)
        await asyncio.to_thread(return_freed)
