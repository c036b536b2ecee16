"""Icons on demand: from the store, or rendered in short slices while no caller needs the workers, each only once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from striate_service.engine import Engine, Terms
from striate_service.errors import RequestError
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.scheduling.job import Lane
from striate_service.stores.icons import IconAddress, IconStore
from striate_service.techniques.recipe import Objective, Recipe
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import RenderTask

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Rendering:
    """An icon that is in the store, on its way there, or lost."""

    model: str
    objective: Objective
    address: IconAddress
    urgent: bool = False
    """Whether a caller waits for it: it then goes before those that nobody waits for."""
    progress: float = 0.0
    """The share of its steps that have been made, 0 to 1."""
    wanted_by: int = 1
    """Callers that would miss it if it were not rendered."""
    icon: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """A WebP file; an exception if rendering failed."""

    @property
    def group(self) -> tuple[str, str]:
        """The model and layer; icons of one group can be optimized in one batch."""
        return self.model, self.address.layer


@dataclass(eq=False)
class _Batch:
    """Icons that are optimized together."""

    renderings: Sequence[Rendering]
    state: Arrays = field(default_factory=dict)
    """The optimization so far, as `workers.tasks.RenderTask` has it."""

    @property
    def urgent(self) -> bool:
        return any(rendering.urgent for rendering in self.renderings)


class IconRenderer:
    """Finds icons, and renders what it does not find: as many batches at a time as there are workers."""

    def __init__(
        self,
        engine: Engine,
        store: IconStore,
        metrics: Metrics,
        recipe: Recipe,
        *,
        batch_size: int,
        slice_seconds: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._metrics = metrics
        self._recipe = recipe
        self._batch_size = batch_size
        self._slice_seconds = slice_seconds
        self._under_way: dict[IconAddress, Rendering] = {}
        self._backlog: list[Rendering] = []
        self._begun: list[_Batch] = []
        """Batches between two slices. The one that a loop works on is in neither list."""
        self._loops: set[asyncio.Task[None]] = set()

    async def request(
        self, model: ModelDescription, layer: str, objectives: Sequence[Objective], *, urgent: bool
    ) -> list[Rendering]:
        """Return each objective's icon, finished or not; what the store does not have is queued."""
        addresses = [IconAddress(model.version, layer, objective.text, self._recipe.text) for objective in objectives]
        stored = await asyncio.to_thread(lambda: [self._store.get(address) for address in addresses])
        renderings = []
        for objective, address, data in zip(objectives, addresses, stored, strict=True):
            self._metrics.icon_lookups.labels(result="hit" if data else "miss").inc()
            if data is not None:
                renderings.append(_finished(Rendering(model.name, objective, address), data))
            elif rendering := self._under_way.get(address):
                rendering.wanted_by += 1
                rendering.urgent |= urgent
                renderings.append(rendering)
            else:
                rendering = self._under_way[address] = Rendering(model.name, objective, address, urgent)
                self._backlog.append(rendering)
                renderings.append(rendering)
        self._work()
        return renderings

    def release(self, renderings: Sequence[Rendering]) -> None:
        """Say that a caller no longer wants these: what nobody else wants and has not begun is forgotten."""
        for rendering in renderings:
            rendering.wanted_by -= 1
        for rendering in [rendering for rendering in self._backlog if rendering.wanted_by <= 0]:
            self._backlog.remove(rendering)
            self._under_way.pop(rendering.address)
            rendering.icon.cancel()
        self._count()

    async def stop(self) -> None:
        """Drop what is not finished."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def _work(self) -> None:
        batches = -(-len(self._backlog) // self._batch_size)
        for _ in range(min(batches, self._engine.worker_count) - len(self._loops)):
            loop = asyncio.create_task(self._render_backlog())
            self._loops.add(loop)
            loop.add_done_callback(self._loops.discard)
        self._count()

    async def _render_backlog(self) -> None:
        """Give one slice after another to whichever batch is most urgent then."""
        while batch := self._next_batch():
            try:
                await self._render_slice(batch)
            except (RequestError, OSError) as error:
                logger.error("icons of %s %s could not be rendered: %s", *batch.renderings[0].group, error)
                for rendering in batch.renderings:
                    if self._under_way.pop(rendering.address, None):
                        rendering.icon.set_exception(error)
                        rendering.icon.exception()  # seen: nobody may be waiting for it
                self._count()

    def _next_batch(self) -> _Batch | None:
        """Return what somebody waits for before what nobody waits for, and what has been begun before what has not."""
        begun = min(self._begun, key=lambda batch: not batch.urgent, default=None)
        if begun and (begun.urgent or not any(rendering.urgent for rendering in self._backlog)):
            self._begun.remove(begun)
            return begun
        if not self._backlog:
            return None
        waiting = sorted(self._backlog, key=lambda rendering: not rendering.urgent)
        chosen = [rendering for rendering in waiting if rendering.group == waiting[0].group][: self._batch_size]
        taken = set(map(id, chosen))
        self._backlog = [rendering for rendering in self._backlog if id(rendering) not in taken]
        return _Batch(chosen)

    async def _render_slice(self, batch: _Batch) -> None:
        model, layer = batch.renderings[0].group
        objectives = tuple(rendering.objective for rendering in batch.renderings)
        task = RenderTask(model, layer, objectives, self._recipe, self._slice_seconds)
        batch.state = await self._engine.submit(task, batch.state, Terms(Lane.RENDERING))
        for rendering in batch.renderings:
            rendering.progress = int(batch.state["step"]) / self._recipe.steps
        if "pictures" not in batch.state:
            self._begun.append(batch)
            return
        for rendering, picture in zip(batch.renderings, batch.state["pictures"], strict=True):
            data = await asyncio.to_thread(self._store.put, rendering.address, picture)
            self._under_way.pop(rendering.address)
            _finished(rendering, data)
        self._metrics.icons_rendered.labels(model=model).inc(len(objectives))
        self._count()

    def _count(self) -> None:
        self._metrics.icons_pending.set(len(self._under_way))


def _finished(rendering: Rendering, data: bytes) -> Rendering:
    rendering.progress = 1.0
    rendering.icon.set_result(data)
    return rendering
