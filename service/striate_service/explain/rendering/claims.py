"""What this server may render, of all the servers that share a store; and what it has begun.

These calls read and write files: a server makes them in threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from striate_service.explain.rendering.batch import Batch, Rendering, batches, picture_rows, split_state
from striate_service.stores.icons import IconStore, quick_webp
from striate_service.stores.leases import Held, Lease, Leases
from striate_service.stores.unfinished import Unfinished
from striate_service.techniques.tasks.base import Array


class Claims:
    def __init__(self, store: IconStore, leases: Leases, unfinished: Unfinished) -> None:
        self._store = store
        self._leases = leases
        self._unfinished = unfinished

    @property
    def seconds(self) -> float:
        """How long a lease holds unless it is renewed."""
        return self._leases.seconds

    def tidy(self) -> None:
        """Forget what was begun long ago and never asked for again."""
        self._unfinished.forget_old()

    def take(self, rendering: Rendering) -> tuple[bytes, ...] | Lease | Held:
        """Return the icons if they are there by now, else the right to render them, or who has that."""
        taken = self._leases.take(rendering.name)
        # Whoever had the lease stores the icons before giving the lease back, so look after taking it.
        if isinstance(taken, Lease) and (files := self._store.get_all(rendering.addresses)):
            self._leases.release([taken])
            return files
        return taken

    def begin(self, renderings: Iterable[Rendering]) -> list[Batch]:
        """Return batches of icons with leases, as far as they were when they were last interrupted."""
        own = list(renderings)
        return batches(own, [self._unfinished.load(rendering.name) for rendering in own])

    def save(self, batch: Batch) -> None:
        """Keep what a slice has done."""
        for rendering, state in zip(batch.renderings, split_state(batch), strict=True):
            self._unfinished.save(rendering.name, state)
        batch.saved = time.monotonic()

    def show(self, batch: Batch, pictures: Array) -> list[bytes]:
        """Keep what a batch has done, and return each rendering's quick picture as a WebP file: its first facet's.

        Args:
            pictures: as `RenderResult` has them.
        """
        self.save(batch)
        return [quick_webp(pictures[rows.start]) for rows in picture_rows(batch)]

    def finish(self, batch: Batch, pictures: Array) -> list[list[bytes]]:
        """Store the pictures of a finished batch and return each rendering's as WebP files.

        Args:
            pictures: as `RenderResult` has them.
        """
        files = []
        for rendering, rows in zip(batch.renderings, picture_rows(batch), strict=True):
            own = zip(rendering.addresses, pictures[rows], strict=True)
            files.append([self._store.put(address, picture) for address, picture in own])
            self._unfinished.delete(rendering.name)
        self.give_back(batch.renderings)
        return files

    def renew(self, renderings: Iterable[Rendering]) -> None:
        for rendering in renderings:
            if rendering.lease:
                self._leases.renew(rendering.lease, rendering.progress)

    def give_back(self, renderings: Iterable[Rendering]) -> None:
        self._leases.release(rendering.lease for rendering in renderings if rendering.lease)
        for rendering in renderings:
            rendering.lease = None
