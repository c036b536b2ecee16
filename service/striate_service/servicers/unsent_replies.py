"""Replies that their callers have not taken yet: their memory is bounded, and who does not read is cut off.

gRPC keeps what a caller does not read until the connection ends, and offers no way to end one. So where the limit is
passed, the connection of the reply that has waited longest is shut down, below gRPC.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias
from urllib.parse import unquote

logger = logging.getLogger(__name__)

Address: TypeAlias = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]
"""And a port."""


class UnsentReplies:
    """Counts replies, over all callers, from when they are made until they are sent."""

    def __init__(self, limit: int) -> None:
        """Begin with none.

        Args:
            limit: bytes of all together. One that is alone may be larger.
        """
        self._limit = limit
        self._unsent: dict[object, tuple[int, str]] = {}
        """Sizes and peers, the oldest first."""
        self._held = 0

    def hold_until_the_end(self, size: int, peer: str) -> None:
        """Count a reply until the present task's call has ended: gRPC sends it after the handler has returned.

        Args:
            peer: as gRPC names it, "ipv4:127.0.0.1:50051".
        """
        call = asyncio.current_task()
        assert call, "gRPC runs each call in a task"
        key = self._add(size, peer)
        call.add_done_callback(lambda _: self._remove(key))

    @contextmanager
    def hold(self, size: int, peer: str) -> Iterator[None]:
        """Count one of a stream's replies while it is sent."""
        key = self._add(size, peer)
        try:
            yield
        finally:
            self._remove(key)

    def _add(self, size: int, peer: str) -> object:
        while self._unsent and self._held + size > self._limit:
            self._cut_off(next(iter(self._unsent.values()))[1])
        key = object()
        self._unsent[key] = (size, peer)
        self._held += size
        return key

    def _remove(self, key: object) -> None:
        size, _ = self._unsent.pop(key, (0, ""))  # 0: it was cut off
        self._held -= size

    def _cut_off(self, peer: str) -> None:
        """Shut a connection down. What it holds counts no more: gRPC frees it when it notices, at once."""
        own = [key for key, (_, whose) in self._unsent.items() if whose == peer]
        logger.warning(
            "unread replies fill %.0f MiB, as much as they may: the connection of %s, which has not read the oldest, "
            "is closed, and its calls (%d) end",
            self._held / 2**20,
            peer,
            len(own),
        )
        for key in own:
            self._remove(key)
        shut_down(peer)


def shut_down(peer: str) -> None:
    """Shut down this process's connections with a peer, as gRPC names it; gRPC then ends their calls."""
    try:
        wanted = _address(*unquote(peer).split(":", 1)[1].rsplit(":", 1))
    except (IndexError, TypeError, ValueError):
        return  # no address of the internet: a Unix socket's
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            copy = os.dup(int(name))  # whose number nothing else takes while it is looked at
            try:
                _shut_down_if(copy, wanted)
            finally:
                os.close(copy)


def _shut_down_if(descriptor: int, wanted: Address) -> None:
    """Shut a socket down if it is connected to an address.

    Raises:
        OSError: it is no socket, or not connected.
    """
    found = socket.socket(fileno=descriptor)
    try:
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        if internet and _address(*found.getpeername()[:2]) == wanted:
            found.shutdown(socket.SHUT_RDWR)
    finally:
        found.detach()


def _address(host: str, port: str | int) -> Address:
    """Return an address and a port; an IPv4 address that a socket of IPv6 shows as one of its own, as what it is."""
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address, int(port)
