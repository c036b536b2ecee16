"""The loops that render the queue of icons."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from striate_service.errors import RequestError
from striate_service.explain.rendering.batch import Batch, Rendering
from striate_service.explain.rendering.claims import Claims
from striate_service.explain.rendering.owners import Owner
from striate_service.explain.rendering.queue import IconQueue
from striate_service.explain.rendering.subject import IconSubject
from striate_service.monitoring.metrics import Metrics
from striate_service.monitoring.requests import detached
from striate_service.scheduling.engine import Engine, Terms
from striate_service.scheduling.job import Lane
from striate_service.stores.icons import IconStore
from striate_service.stores.leases import Lease
from striate_service.techniques.tasks.icons import RenderTask

logger = logging.getLogger(__name__)

_LOOKS_ELSEWHERE = 1.0  # seconds between two looks at what another server renders: less than an icon takes
_RENEWALS = 3  # of a lease while it holds, so that two may fail


class IconRenderer:
    """Finds icons, and renders what it does not find: as many batches at a time as there are workers."""

    def __init__(
        self,
        engine: Engine,
        store: IconStore,
        claims: Claims,
        queue: IconQueue,
        metrics: Metrics,
        *,
        slice_seconds: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._claims = claims
        self._queue = queue
        self._metrics = metrics
        self._slice_seconds = slice_seconds
        self._loops: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._keep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew the leases that this server takes."""
        await asyncio.to_thread(self._claims.tidy)
        self._keep = asyncio.create_task(self._keep_leases())

    async def stored(self, subjects: Sequence[IconSubject]) -> list[tuple[bytes, ...] | None]:
        """Return each subject's icons as WebP files; None where the store does not have them all."""
        found = await asyncio.to_thread(lambda: [self._store.get_all(subject.addresses) for subject in subjects])
        hits = sum(files is not None for files in found)
        self._metrics.icon_lookups.labels(result="hit").inc(hits)
        self._metrics.icon_lookups.labels(result="miss").inc(len(found) - hits)
        return found

    @asynccontextmanager
    async def wanted(self, subjects: Sequence[IconSubject], owner: Owner) -> AsyncIterator[list[Rendering]]:
        """Give each subject's icons, finished or on their way. What has not begun when the context ends is dropped,
        unless somebody else wants it.

        Args:
            subjects: the dearest first.

        Raises:
            TooManyIcons: on entry, if there is no room for what is missing.
        """
        stored = await self.stored(subjects)
        missing = [subject for subject, files in zip(subjects, stored, strict=True) if files is None]
        coming = iter(self._queue.want(missing, owner))
        renderings = [
            next(coming) if files is None else Rendering(subject).finish(files)
            for subject, files in zip(subjects, stored, strict=True)
        ]
        try:
            self._work()
            yield renderings
        finally:
            self.release(renderings, owner)

    def own(self, renderings: Sequence[Rendering], owner: Owner) -> None:
        """Say that somebody wants these too, the dearest first."""
        self._queue.own(renderings, owner)

    def release(self, renderings: Sequence[Rendering], owner: Owner) -> None:
        """Say that somebody has gone: what nobody else wants and has not begun is forgotten.

        What has begun goes on when somebody wants it again from where it was last saved: half a slice before, at most.
        """
        dropped = self._queue.release(renderings, owner)
        self._metrics.icons_dropped.inc(sum(len(rendering.addresses) for rendering in dropped))
        self._count()

    async def stop(self) -> None:
        """Leave what is not finished to whoever wants it next."""
        tasks = [task for task in (*self._loops, self._watch, self._keep) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._claims.give_back, self._queue.under_way)

    def _work(self) -> None:
        for _ in range(min(self._queue.batches_waiting, self._engine.worker_count) - len(self._loops)):
            self._loops.add(detached(self._render_queue()))
        self._count()

    async def _render_queue(self) -> None:
        """Give one slice after another to whatever goes first then."""
        try:
            while work := await self._next():
                renderings = work.renderings if isinstance(work, Batch) else work
                try:
                    if isinstance(work, Batch):
                        await self._render_slice(work)
                    else:
                        self._queue.begun += await self._begin(work)
                except (RequestError, OSError) as error:
                    await self._fail(renderings, error)
        finally:  # at once, and not when the task is done: what comes in between would find no loop, and start none
            task = asyncio.current_task()
            assert task
            self._loops.discard(task)

    async def _next(self) -> Batch | list[Rendering]:
        """Return what to render now, after giving back what nobody wants any more; it is saved as far as it is."""
        while unwanted := self._queue.take_unwanted():
            self._metrics.icons_dropped.inc(sum(len(rendering.addresses) for rendering in unwanted))
            self._count()
            await asyncio.to_thread(self._claims.give_back, unwanted)
        return self._queue.take_next()

    async def _begin(self, renderings: Sequence[Rendering]) -> list[Batch]:
        """Take leases, and return what this server is to render, as far as it was when it was last interrupted."""
        new = [rendering for rendering in renderings if not rendering.lease]
        taken = await asyncio.to_thread(lambda: [self._claims.take(rendering) for rendering in new])
        for rendering, found in zip(new, taken, strict=True):
            if isinstance(found, tuple):
                self._finished(rendering, found)
            elif isinstance(found, Lease):
                rendering.lease = found
            else:
                self._queue.wait_elsewhere(rendering, found.progress)
        if self._queue.elsewhere and (self._watch is None or self._watch.done()):
            self._watch = detached(self._watch_elsewhere())
        return await asyncio.to_thread(lambda: self._claims.begin(each for each in renderings if each.lease))

    async def _render_slice(self, batch: Batch) -> None:
        model, layer, recipe, _ = batch.renderings[0].subject.group
        objectives = tuple(rendering.subject.objective for rendering in batch.renderings)
        last = batch.next_pictures
        for rendering in batch.renderings:
            rendering.begun = rendering.begun or time.monotonic()
        task = RenderTask(model, layer, objectives, recipe, batch.state, last, self._slice_seconds)
        result = await self._engine.submit(task, Terms(Lane.RENDERING))
        batch.state = result.state
        for rendering in batch.renderings:
            rendering.progress = int(batch.state["step"]) / recipe.steps
        if result.pictures is None:
            if time.monotonic() >= batch.saved + self._slice_seconds / 2:  # not each time that it makes way
                await asyncio.to_thread(self._claims.save, batch)
            self._queue.begun.append(batch)
            return
        if last < recipe.steps:
            previews = await asyncio.to_thread(self._claims.show, batch, result.pictures)
            for rendering, preview in zip(batch.renderings, previews, strict=True):
                rendering.preview = preview
            self._queue.previewed(batch.renderings)
            self._work()
            return
        finished = await asyncio.to_thread(self._claims.finish, batch, result.pictures)
        for rendering, files in zip(batch.renderings, finished, strict=True):
            self._finished(rendering, files)
            assert rendering.begun is not None
            self._metrics.icon_seconds.labels(model=model).observe(time.monotonic() - rendering.begun)
        self._metrics.icon_sources.labels(source="rendered").inc(len(result.pictures))
        self._metrics.icons_rendered.labels(model=model).inc(len(result.pictures))

    def _finished(self, rendering: Rendering, files: Sequence[bytes]) -> None:
        self._queue.ended(rendering)
        rendering.finish(files)
        self._count()

    async def _fail(self, renderings: Sequence[Rendering], error: RequestError | OSError) -> None:
        logger.error("icons of %s %s could not be rendered: %s", *renderings[0].subject.group[:2], error)
        for rendering in renderings:
            if not rendering.icons.done():
                self._queue.ended(rendering)
                rendering.icons.set_exception(error)
                rendering.icons.exception()  # seen: nobody may be waiting for it
        self._count()
        await asyncio.to_thread(self._claims.give_back, renderings)

    async def _watch_elsewhere(self) -> None:
        """See what becomes of icons that other servers render, and take over what they abandon."""
        while self._queue.elsewhere:
            await asyncio.sleep(_LOOKS_ELSEWHERE)
            self._queue.look_again()
            self._work()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._claims.seconds / _RENEWALS)
            try:
                await asyncio.to_thread(self._claims.renew, self._queue.under_way)
            except OSError as error:
                logger.warning("leases on icons could not be renewed, so another server may render them too: %s", error)

    def _count(self) -> None:
        self._metrics.icons_pending.set(self._queue.pictures)
