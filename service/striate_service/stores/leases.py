"""Leases: which of the servers that share a store renders an icon, so that no icon is rendered twice.

A lease is a file, `leases/NAME.NUMBER`, with its expiry time. Its owner renews it. If the owner is killed, the lease
expires, and another server takes the next number: of several that try, one succeeds in creating that file. Expired
leases stay until the last one is released, so a server that lists the folder while a lease is held finds it or an
earlier number, and cannot start again from 0.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from striate_service.stores.folder import Folder

logger = logging.getLogger(__name__)

_FOLDER = "leases"
_FORMAT = 1  # of files; those before it had no number


@dataclass(frozen=True)
class Lease:
    """The right to render an icon."""

    name: str
    number: int

    @property
    def path(self) -> str:
        return f"{_FOLDER}/{self.name}.{self.number}"


@dataclass(frozen=True)
class Held:
    """The state of a lease that another server holds."""

    progress: float
    """How far the rendering was, 0 to 1, when the lease was last renewed."""


class Leases:
    def __init__(self, folder: Folder, seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Use leases in a folder.

        Args:
            seconds: how long a lease lasts unless it is renewed. Servers' clocks should differ by much less.
        """
        self.seconds = seconds
        self._folder = folder
        self._clock = clock

    def take(self, name: str) -> Lease | Held:
        """Take a lease, or return the state of another server's."""
        newest = self._newest(name)
        if newest and (held := self._held(newest)):
            return held
        lease = Lease(name, newest.number + 1 if newest else 0)
        try:
            return lease if self._folder.create(lease.path, self._content(0.0)) else Held(0.0)
        except OSError as error:  # a full or read-only disk: better rendered by two servers than by none
            logger.warning("%s is rendered without a lease: %s", name, error)
            return lease

    def renew(self, lease: Lease, progress: float) -> None:
        """Extend a lease from now on, and record its progress."""
        self._folder.write(lease.path, self._content(progress))

    def release(self, leases: Iterable[Lease]) -> None:
        """Release leases: their icons are in the store, or will not be rendered. Those that cannot be deleted lapse."""
        try:
            for lease in leases:
                for number in range(lease.number + 1):
                    self._folder.delete(Lease(lease.name, number).path)
        except OSError as error:  # a read-only disk, a bucket that does not answer
            logger.warning("leases on icons could not be given back; they lapse by themselves: %s", error)

    def _content(self, progress: float) -> bytes:
        return json.dumps({"format": _FORMAT, "until": self._clock() + self.seconds, "progress": progress}).encode()

    def _newest(self, name: str) -> Lease | None:
        version, _, digest = name.rpartition("/")
        numbers = [
            int(entry.path.rpartition(".")[2])
            for entry in self._folder.list(f"{_FOLDER}/{version}")
            if entry.path.rpartition("/")[2].rpartition(".")[0] == digest
        ]
        return Lease(name, max(numbers)) if numbers else None

    def _held(self, lease: Lease) -> Held | None:
        """Return the state of a lease; None where it has expired."""
        try:
            content = json.loads(self._folder.read(lease.path) or b"")
            if content.get("format", 0) > _FORMAT:  # of a later version: better rendered by two servers than by none
                return None
            until, progress = float(content["until"]), float(content["progress"])
        except (ValueError, KeyError, TypeError, AttributeError):  # just released, or damaged
            return None
        return Held(progress) if until > self._clock() else None
