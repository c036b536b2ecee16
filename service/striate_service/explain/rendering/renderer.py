"""The queue of icons, and the loops that render it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import accumulate

from striate_service.errors import RequestError
from striate_service.explain.rendering.batch import Batch, Rendering
from striate_service.explain.rendering.claims import Claims
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.engine import Engine, Terms
from striate_service.scheduling.job import Lane
from striate_service.stores.icons import IconAddress, IconStore
from striate_service.stores.leases import Lease
from striate_service.techniques.objective import Objective, picture_texts
from striate_service.techniques.recipe import Recipe
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
        metrics: Metrics,
        *,
        batch_size: int,
        slice_seconds: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._claims = claims
        self._metrics = metrics
        self._batch_size = batch_size
        self._slice_seconds = slice_seconds
        self._under_way: dict[tuple[IconAddress, ...], Rendering] = {}
        self._backlog: list[Rendering] = []
        self._elsewhere: list[Rendering] = []
        """What another server renders."""
        self._begun: list[Batch] = []
        """Batches between two slices. The one that a loop works on is in neither list."""
        self._loops: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._keep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew the leases that this server takes."""
        await asyncio.to_thread(self._claims.tidy)
        self._keep = asyncio.create_task(self._keep_leases())

    async def request(
        self, model: ModelDescription, layer: str, objectives: Sequence[Objective], recipe: Recipe, *, urgent: bool
    ) -> list[Rendering]:
        """Return each objective's icons, finished or not; what the store does not have is queued."""
        recipe_text = recipe.text
        addresses = [
            tuple(IconAddress(model.version, layer, text, recipe_text) for text in picture_texts(objective))
            for objective in objectives
        ]
        stored = await asyncio.to_thread(lambda: [self._store.get_all(each) for each in addresses])
        hits = sum(files is not None for files in stored)
        self._metrics.icon_lookups.labels(result="hit").inc(hits)
        self._metrics.icon_lookups.labels(result="miss").inc(len(stored) - hits)
        renderings = []
        for objective, own, files in zip(objectives, addresses, stored, strict=True):
            if files is not None:
                renderings.append(Rendering(model.name, objective, recipe, own).finish(files))
            elif rendering := self._under_way.get(own):
                rendering.wanted_by += 1
                rendering.urgent |= urgent
                renderings.append(rendering)
            else:
                rendering = self._under_way[own] = Rendering(model.name, objective, recipe, own, urgent)
                self._backlog.append(rendering)
                renderings.append(rendering)
        self._work()
        return renderings

    def release(self, renderings: Sequence[Rendering]) -> None:
        """Say that a caller no longer wants these: what nobody else wants and has not begun is forgotten."""
        for rendering in renderings:
            rendering.wanted_by -= 1
        for waiting in (self._backlog, self._elsewhere):
            for rendering in [rendering for rendering in waiting if rendering.wanted_by <= 0]:
                waiting.remove(rendering)
                self._under_way.pop(rendering.addresses)
                rendering.icons.cancel()
        self._count()

    async def stop(self) -> None:
        """Leave what is not finished to whoever wants it next."""
        tasks = [task for task in (*self._loops, self._watch, self._keep) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._give_back(list(self._under_way.values()))

    def _work(self) -> None:
        batches = -(-sum(len(rendering.addresses) for rendering in self._backlog) // self._batch_size)
        for _ in range(min(batches, self._engine.worker_count) - len(self._loops)):
            loop = asyncio.create_task(self._render_backlog())
            self._loops.add(loop)
            loop.add_done_callback(self._loops.discard)
        self._count()

    async def _render_backlog(self) -> None:
        """Give one slice after another to whichever batch is most urgent then."""
        while self._begun or self._backlog:
            batch = self._most_urgent_begun()
            chosen = [] if batch else self._choose()
            try:
                if batch:
                    await self._render_slice(batch)
                else:
                    self._begun += await self._begin(chosen)
            except (RequestError, OSError) as error:
                await self._fail(batch.renderings if batch else chosen, error)

    def _most_urgent_begun(self) -> Batch | None:
        """Return what somebody waits for before what nobody waits for, and what has begun before what has not."""
        begun = min(self._begun, key=lambda batch: not batch.urgent, default=None)
        if begun is None or (not begun.urgent and any(rendering.urgent for rendering in self._backlog)):
            return None
        self._begun.remove(begun)
        return begun

    def _choose(self) -> list[Rendering]:
        """Take a batch's worth of one group from the backlog."""
        waiting = sorted(self._backlog, key=lambda rendering: not rendering.urgent)
        candidates = [rendering for rendering in waiting if rendering.group == waiting[0].group]
        pictures = accumulate(len(rendering.addresses) for rendering in candidates)
        fitting = sum(1 for count in pictures if count <= self._batch_size)
        chosen = candidates[: max(1, fitting)]  # facets of one objective are never parted, however many there are
        taken = set(map(id, chosen))
        self._backlog = [rendering for rendering in self._backlog if id(rendering) not in taken]
        return chosen

    async def _begin(self, renderings: Sequence[Rendering]) -> list[Batch]:
        """Take leases, and return what this server is to render, as far as it was when it was last interrupted."""
        taken = await asyncio.to_thread(lambda: [self._claims.take(rendering) for rendering in renderings])
        for rendering, found in zip(renderings, taken, strict=True):
            if isinstance(found, tuple):
                self._finished(rendering, found)
            elif isinstance(found, Lease):
                rendering.lease = found
            else:
                rendering.progress = found.progress
                self._elsewhere.append(rendering)
        if self._elsewhere and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(self._watch_elsewhere())
        return await asyncio.to_thread(lambda: self._claims.begin(each for each in renderings if each.lease))

    async def _render_slice(self, batch: Batch) -> None:
        model, layer, recipe, _ = batch.renderings[0].group
        objectives = tuple(rendering.objective for rendering in batch.renderings)
        task = RenderTask(model, layer, objectives, recipe, batch.state, self._slice_seconds)
        result = await self._engine.submit(task, Terms(Lane.RENDERING))
        batch.state = result.state
        for rendering in batch.renderings:
            rendering.progress = int(batch.state["step"]) / recipe.steps
        if result.pictures is None:
            await asyncio.to_thread(self._claims.save, batch)
            self._begun.append(batch)
            return
        finished = await asyncio.to_thread(self._claims.finish, batch, result.pictures)
        for rendering, files in zip(batch.renderings, finished, strict=True):
            self._finished(rendering, files)
        self._metrics.icons_rendered.labels(model=model).inc(len(result.pictures))

    def _finished(self, rendering: Rendering, files: Sequence[bytes]) -> None:
        self._under_way.pop(rendering.addresses, None)
        rendering.finish(files)
        self._count()

    async def _fail(self, renderings: Sequence[Rendering], error: RequestError | OSError) -> None:
        logger.error("icons of %s %s could not be rendered: %s", *renderings[0].group[:2], error)
        for rendering in renderings:
            if not rendering.icons.done():
                self._under_way.pop(rendering.addresses, None)
                rendering.icons.set_exception(error)
                rendering.icons.exception()  # seen: nobody may be waiting for it
        self._count()
        await self._give_back(renderings)

    async def _watch_elsewhere(self) -> None:
        """See what becomes of icons that other servers render, and take over what they abandon."""
        while self._elsewhere:
            await asyncio.sleep(_LOOKS_ELSEWHERE)
            waiting, self._elsewhere = self._elsewhere, []
            self._backlog += waiting  # whoever takes them from there finds them stored, free, or still held
            self._work()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._claims.seconds / _RENEWALS)
            try:
                await asyncio.to_thread(self._claims.renew, list(self._under_way.values()))
            except OSError as error:
                logger.warning("leases on icons could not be renewed, so another server may render them too: %s", error)

    async def _give_back(self, renderings: Sequence[Rendering]) -> None:
        try:
            await asyncio.to_thread(self._claims.give_back, renderings)
        except OSError as error:
            logger.warning("leases on icons could not be given back; they lapse by themselves: %s", error)

    def _count(self) -> None:
        self._metrics.icons_pending.set(len(self._under_way))
