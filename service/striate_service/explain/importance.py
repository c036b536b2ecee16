"""Sobol indices of neuron groups: how much a target depends on each, interactions with the others included."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.techniques import sobol
from striate_service.techniques.tasks.groups import GroupsResult, MaskedGroupsTask


class GroupImportance:
    """Asks the workers for a few forwards at a time, so that other callers' requests go between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sobol_indices(
        self,
        model: ModelDescription,
        layer: str,
        groups: GroupsResult,
        pixels: NDArray[np.generic],
        points: int,
        terms: Terms,
    ) -> NDArray[np.float32]:
        """Return total-effect indices on the targets that the groups' effects are on, [N, K, M].

        Args:
            groups: K, in N images.
            pixels: [N, ...], the images, as `ImageTask` takes them.
            points: as `techniques.sobol.masks` takes them.

        Raises:
            RequestError: it cannot be done in time, or fails.
        """
        components = len(groups.directions)
        masks = await asyncio.to_thread(sobol.masks, points, components)
        turn = asyncio.Semaphore(self._engine.worker_count)
        batch_size = self._engine.batch_limit(model.name)
        patient = replace(terms, patient=True)  # the groups are found already: a full queue is no reason to lose them

        async def values(image: int, start: int) -> NDArray[np.float32]:
            task = MaskedGroupsTask(
                model.name,
                layer,
                groups.targets,
                image=pixels[image : image + 1],
                spatial=groups.spatial[image],
                directions=groups.directions,
                masks=masks[start : start + batch_size],
            )
            async with turn:
                return (await self._engine.submit(task, patient)).values

        starts = range(0, len(masks), batch_size)
        slices = await _all(values(image, start) for image in range(len(pixels)) for start in starts)
        outputs = np.concatenate(slices).reshape(len(pixels), len(masks), -1)
        return np.stack([sobol.total_indices(each, components) for each in outputs])


async def _all(work: Iterable[Coroutine[Any, Any, NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Return all results in order; the first failure ends what has not begun."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
