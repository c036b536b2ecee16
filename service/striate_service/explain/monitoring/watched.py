"""What a monitor watches, and where each number of an image stands among those that are kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from striate_service.errors import FailedPrecondition, NotFound
from striate_service.explain.bases import Library, basis_method, model_with
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.stores.bases import StoredBasis
from striate_service.stores.monitors import StoredMonitor
from striate_service.techniques import drift
from striate_service.techniques.tasks.observing import ObserveResult, ObserveTask, WatchedGroups


@dataclass(frozen=True, eq=False)
class Watched:
    """A monitor's model, layers and bases. The numbers of an image, in order: of each layer every channel's peak, every
    channel's mean and the sparsity; of each basis every group's use and the novelty; the confidence."""

    model: ModelDescription
    layers: Sequence[LayerDescription]
    bases: Sequence[StoredBasis]

    @property
    def task(self) -> ObserveTask:
        return ObserveTask(
            self.model.name,
            (),
            min(1, len(self.model.classes)),
            tuple(layer.path for layer in self.layers),
            tuple(
                WatchedGroups(basis.layer, basis.directions, basis_method(basis), basis.rectify) for basis in self.bases
            ),
        )

    @cached_property
    def peaks(self) -> dict[str, slice]:
        """By layer."""
        return {path: slice(start, start + channels) for path, start, channels in self._layers}

    @cached_property
    def means(self) -> dict[str, slice]:
        return {path: slice(start + channels, start + 2 * channels) for path, start, channels in self._layers}

    @cached_property
    def sparsity(self) -> dict[str, int]:
        return {path: start + 2 * channels for path, start, channels in self._layers}

    @cached_property
    def uses(self) -> dict[str, slice]:
        """By basis."""
        return {name: slice(start, start + groups) for name, start, groups in self._bases}

    @cached_property
    def novelty(self) -> dict[str, int]:
        return {name: start + groups for name, start, groups in self._bases}

    @property
    def confidence(self) -> int | None:
        """None: the model has no classes."""
        return self.numbers - 1 if self.model.classes else None

    @cached_property
    def numbers(self) -> int:
        """How many there are of an image."""
        of_layers = sum(2 * layer.channels + 1 for layer in self.layers)
        return of_layers + sum(len(basis.directions) + 1 for basis in self.bases) + bool(self.model.classes)

    def codes(self, result: ObserveResult) -> NDArray[np.uint8]:
        """Return the numbers of N images, as they are kept: [N, F]."""
        parts = [
            part
            for path in self.peaks
            for part in (result.layers[path].peaks, result.layers[path].means, result.layers[path].sparsity[:, None])
        ]
        parts += [part for groups in result.groups for part in (groups.use, groups.novelty[:, None])]
        if result.predictions is not None:
            parts.append(result.predictions.probabilities[:, :1])
        return drift.encode(np.concatenate(parts, axis=1))

    @cached_property
    def _layers(self) -> list[tuple[str, int, int]]:
        found, start = [], 0
        for layer in self.layers:
            found.append((layer.path, start, layer.channels))
            start += 2 * layer.channels + 1
        return found

    @cached_property
    def _bases(self) -> list[tuple[str, int, int]]:
        found, start = [], sum(2 * layer.channels + 1 for layer in self.layers)
        for basis in self.bases:
            found.append((basis.name, start, len(basis.directions)))
            start += len(basis.directions) + 1
        return found


async def watched(monitor: StoredMonitor, models: Sequence[ModelDescription], library: Library) -> Watched:
    """Return what a monitor watches.

    Raises:
        FailedPrecondition: no model of its version is served, or a basis is gone.
    """
    model = model_with(monitor.model_version, models)
    if model is None:
        raise FailedPrecondition(
            f"the monitor {monitor.name!r}",
            f"belongs to version {monitor.model_version} of {monitor.model}, and this server serves none of it; "
            "load that model, or make a monitor of the present one.",
        )
    try:
        bases = [await library.find(name) for name in monitor.bases]
    except NotFound as error:
        raise FailedPrecondition(
            f"the monitor {monitor.name!r}", f"watches a basis that is gone ({error}); make it anew."
        ) from error
    return Watched(model, [model.layer_by_name[path] for path in monitor.layers], bases)
