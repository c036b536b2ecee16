"""Sobol indices of neuron groups: how much a class depends on each, interactions with the others included."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate_service.backends.local.shared_memory import Arrays
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.techniques import sobol
from striate_service.techniques.tasks import MaskedGroupsTask


class GroupImportance:
    """Asks the workers for a few forwards at a time, so that other callers' requests go between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sobol_indices(
        self,
        model: ModelDescription,
        layer: str,
        classes: Sequence[int],
        pixels: NDArray[np.generic],
        groups: Arrays,
        points: int,
        terms: Terms,
    ) -> NDArray[np.float32]:
        """Return total-effect indices, [N, K, M].

        Args:
            pixels: [N, ...], as the groups were found in them.
            groups: spatial [N, H, W, K] and directions [K, C].
            points: as `techniques.sobol.masks` takes them.

        Raises:
            RequestError: it cannot be done in time, or fails.
        """
        components = len(groups["directions"])
        masks = await asyncio.to_thread(sobol.masks, points, components)
        task = MaskedGroupsTask(model.name, layer, tuple(classes))
        turn = asyncio.Semaphore(self._engine.worker_count)
        batch_size = self._engine.batch_limit(model)
        patient = replace(terms, patient=True)  # the groups are found already: a full queue is no reason to lose them

        async def logits(image: int, start: int) -> NDArray[np.float32]:
            inputs = {
                "images": pixels[image : image + 1],
                "spatial": groups["spatial"][image],
                "directions": groups["directions"],
                "masks": masks[start : start + batch_size],
            }
            async with turn:
                return (await self._engine.submit(task, inputs, patient))["logits"]

        starts = range(0, len(masks), batch_size)
        slices = await _all(logits(image, start) for image in range(len(pixels)) for start in starts)
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
