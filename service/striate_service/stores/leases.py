"""Leases: which of the servers that share a store renders an icon, so that none is rendered twice.

A lease is a file, `leases/NAME.NUMBER`, that says until when it holds. Its owner renews it; where the owner was killed
it lapses, and another server takes the next number. Of several that try, one succeeds in creating that file. Lapsed
ones stay until the last is given back: so whoever lists the folder while one is held finds it, or one before it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from striate_service.stores.folder import Folder

_FOLDER = "leases"


@dataclass(frozen=True)
class Lease:
    """The right to make something."""

    name: str
    number: int

    @property
    def path(self) -> str:
        return f"{_FOLDER}/{self.name}.{self.number}"


@dataclass(frozen=True)
class Held:
    """What another server has a lease on."""

    progress: float
    """How far it is, 0 to 1, as it said when it last renewed its lease."""


class Leases:
    def __init__(self, folder: Folder, seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Use leases in a folder.

        Args:
            seconds: how long a lease holds unless it is renewed. Servers' clocks should differ by much less.
        """
        self.seconds = seconds
        self._folder = folder
        self._clock = clock

    def take(self, name: str) -> Lease | Held:
        """Take a lease, or say who has it."""
        newest = self._newest(name)
        if newest and (held := self._held(newest)):
            return held
        lease = Lease(name, newest.number + 1 if newest else 0)
        return lease if self._folder.create(lease.path, self._content(0.0)) else Held(0.0)

    def renew(self, lease: Lease, progress: float) -> None:
        """Hold a lease from now on for the usual time, and say how far its work is."""
        self._folder.write(lease.path, self._content(progress))

    def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back: what they are for is in the store, or will not be made."""
        for lease in leases:
            for number in range(lease.number + 1):
                self._folder.delete(Lease(lease.name, number).path)

    def _content(self, progress: float) -> bytes:
        return json.dumps({"until": self._clock() + self.seconds, "progress": progress}).encode()

    def _newest(self, name: str) -> Lease | None:
        version, _, digest = name.rpartition("/")
        numbers = [
            int(entry.path.rpartition(".")[2])
            for entry in self._folder.list(f"{_FOLDER}/{version}")
            if entry.path.rpartition("/")[2].rpartition(".")[0] == digest
        ]
        return Lease(name, max(numbers)) if numbers else None

    def _held(self, lease: Lease) -> Held | None:
        """Return what a lease says, None where it has lapsed."""
        try:
            content = json.loads(self._folder.read(lease.path) or b"")
            until, progress = float(content["until"]), float(content["progress"])
        except (ValueError, KeyError, TypeError):  # given back meanwhile, or damaged
            return None
        return Held(progress) if until > self._clock() else None
