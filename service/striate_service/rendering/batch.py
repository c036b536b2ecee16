"""Icons on their way, and those that are optimized together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from striate_service.stores.icons import IconAddress
from striate_service.stores.leases import Lease
from striate_service.techniques.recipe import Objective
from striate_service.workers.shared_memory import Arrays

_COMMON = ("step",)  # of a batch's state; everything else has a row an icon


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
    lease: Lease | None = None
    """This server's right to render it, while it does."""
    icon: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """A WebP file; an exception if rendering failed."""

    @property
    def group(self) -> tuple[str, str]:
        """The model and layer; icons of one group can be optimized in one batch."""
        return self.model, self.address.layer

    def finish(self, data: bytes) -> Rendering:
        self.progress = 1.0
        self.icon.set_result(data)
        return self


@dataclass(eq=False)
class Batch:
    """Icons that are optimized together."""

    renderings: Sequence[Rendering]
    state: Arrays
    """The optimization so far, as `workers.tasks.RenderTask` has it; empty before the first slice."""

    @property
    def urgent(self) -> bool:
        return any(rendering.urgent for rendering in self.renderings)


def batches(renderings: Sequence[Rendering], saved: Sequence[Arrays | None]) -> list[Batch]:
    """Gather icons that are equally far: those that begin, and those that go on from what was saved of them."""

    def step(pair: tuple[Rendering, Arrays | None]) -> int:
        return int(pair[1]["step"]) if pair[1] else 0

    found = []
    for _, group in groupby(sorted(zip(renderings, saved, strict=True), key=step), key=step):
        pairs = list(group)
        states = [state for _, state in pairs if state]
        found.append(Batch([rendering for rendering, _ in pairs], _joined(states) if states else {}))
    return found


def parts(batch: Batch) -> list[Arrays]:
    """Return each icon's own part of the state, as `batches` joins them again."""
    return [
        {name: array if name in _COMMON else array[row] for name, array in batch.state.items()}
        for row in range(len(batch.renderings))
    ]


def _joined(states: Sequence[Arrays]) -> Arrays:
    return {
        name: states[0][name] if name in _COMMON else np.stack([state[name] for state in states]) for name in states[0]
    }
