"""Icons on demand: from the store, or rendered in short slices while no caller needs the workers, each only once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from striate_service.engine import Engine
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

    objective: Objective
    address: IconAddress
    progress: float = 0.0
    """The share of its steps that have been made, 0 to 1."""
    wanted_by: int = 1
    """Callers that would miss it if it were not rendered."""
    icon: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """A WebP file; an exception if rendering failed."""


@dataclass(frozen=True)
class _Group:
    """Icons that can be optimized in one batch."""

    model: str
    layer: str


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
        self._backlog: dict[_Group, list[Rendering]] = {}
        self._loops: set[asyncio.Task[None]] = set()

    async def request(self, model: ModelDescription, layer: str, objectives: Sequence[Objective]) -> list[Rendering]:
        """Return each objective's icon, finished or not; what the store does not have is queued."""
        addresses = [IconAddress(model.version, layer, objective.text, self._recipe.text) for objective in objectives]
        stored = await asyncio.to_thread(lambda: [self._store.get(address) for address in addresses])
        renderings = []
        for objective, address, data in zip(objectives, addresses, stored, strict=True):
            self._metrics.icon_lookups.labels(result="hit" if data else "miss").inc()
            if data is not None:
                renderings.append(_finished(Rendering(objective, address), data))
            elif rendering := self._under_way.get(address):
                rendering.wanted_by += 1
                renderings.append(rendering)
            else:
                rendering = self._under_way[address] = Rendering(objective, address)
                self._backlog.setdefault(_Group(model.name, layer), []).append(rendering)
                renderings.append(rendering)
        self._work()
        return renderings

    def release(self, renderings: Sequence[Rendering]) -> None:
        """Say that a caller no longer wants these: what nobody else wants and has not begun is forgotten."""
        for rendering in renderings:
            rendering.wanted_by -= 1
        for group, backlog in list(self._backlog.items()):
            for rendering in [rendering for rendering in backlog if rendering.wanted_by <= 0]:
                backlog.remove(rendering)
                self._under_way.pop(rendering.address)
                rendering.icon.cancel()
            if not backlog:
                del self._backlog[group]
        self._count()

    async def stop(self) -> None:
        """Drop what is not finished."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def _work(self) -> None:
        batches = sum(-(-len(backlog) // self._batch_size) for backlog in self._backlog.values())
        for _ in range(min(batches, self._engine.worker_count) - len(self._loops)):
            loop = asyncio.create_task(self._render_backlog())
            self._loops.add(loop)
            loop.add_done_callback(self._loops.discard)
        self._count()

    async def _render_backlog(self) -> None:
        while self._backlog:
            group, backlog = next(iter(self._backlog.items()))
            batch, rest = backlog[: self._batch_size], backlog[self._batch_size :]
            del self._backlog[group]
            if rest:  # behind other layers, which have waited longer
                self._backlog[group] = rest
            try:
                await self._render(group, batch)
            except RequestError as error:
                logger.error("icons of %s %s could not be rendered: %s", group.model, group.layer, error)
                for rendering in batch:
                    rendering.icon.set_exception(error)
                    rendering.icon.exception()  # seen: nobody may be waiting for it
            finally:
                for rendering in batch:
                    self._under_way.pop(rendering.address, None)
                self._count()

    async def _render(self, group: _Group, batch: Sequence[Rendering]) -> None:
        objectives = tuple(rendering.objective for rendering in batch)
        task = RenderTask(group.model, group.layer, objectives, self._recipe, self._slice_seconds)
        state: Arrays = {}
        while "pictures" not in state:
            state = await self._engine.submit(task, state, lane=Lane.RENDERING)
            for rendering in batch:
                rendering.progress = int(state["step"]) / self._recipe.steps
        pictures = state["pictures"].astype("uint8", copy=False)
        for rendering, picture in zip(batch, pictures, strict=True):
            _finished(rendering, await asyncio.to_thread(self._store.put, rendering.address, picture))
        self._metrics.icons_rendered.labels(model=group.model).inc(len(batch))

    def _count(self) -> None:
        self._metrics.icons_pending.set(len(self._under_way))


def _finished(rendering: Rendering, data: bytes) -> Rendering:
    rendering.progress = 1.0
    rendering.icon.set_result(data)
    return rendering
