"""Icons on their way, and those that are optimized together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import numpy as np

from striate_service.stores.icons import IconAddress
from striate_service.stores.leases import Lease
from striate_service.techniques.objective import Named, Objective, singles
from striate_service.techniques.recipe import Recipe
from striate_service.techniques.tasks.base import Array

State = Mapping[str, Array]
"""How far an optimization is, as `RenderTask` has it."""

_COMMON = ("step",)  # of a batch's state; everything else has a row a picture


@dataclass(eq=False)
class Rendering:
    """The picture of an objective, or its facets: in the store, on their way there, or lost."""

    model: str
    objective: Objective
    recipe: Recipe
    addresses: tuple[IconAddress, ...]
    """One a picture."""
    urgent: bool = False
    """Whether a caller waits for it: it then goes before those that nobody waits for."""
    progress: float = 0.0
    """The share of its steps that have been made, 0 to 1."""
    wanted_by: int = 1
    """Callers that would miss it if it were not rendered."""
    lease: Lease | None = None
    """This server's right to render it, while it does."""
    icons: asyncio.Future[tuple[bytes, ...]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """WebP files, one a picture; an exception if rendering failed."""

    @property
    def name(self) -> str:
        """What its lease and its beginnings are kept under; facets are optimized together or not at all."""
        return self.addresses[0].name

    @property
    def group(self) -> tuple[str, str, Recipe, frozenset[str]]:
        """The model, layer and recipe; icons of one group can be optimized in one batch.

        And the names of the objectives that users have added: a function that fails fails no other icons.
        """
        terms = (term for single in singles([self.objective]) for _, term in single.terms)
        names = frozenset(term.name for term in terms if isinstance(term, Named))
        return self.model, self.addresses[0].layer, self.recipe, names

    def finish(self, files: Sequence[bytes]) -> Rendering:
        self.progress = 1.0
        self.icons.set_result(tuple(files))
        return self


@dataclass(eq=False)
class Batch:
    """Icons that are optimized together."""

    renderings: Sequence[Rendering]
    state: State
    """Of all of them; empty before the first slice."""

    @property
    def urgent(self) -> bool:
        return any(rendering.urgent for rendering in self.renderings)


def batches(renderings: Sequence[Rendering], saved: Sequence[State | None]) -> list[Batch]:
    """Gather icons that are equally far: those that begin, and those that go on from what was saved of them."""

    def step(pair: tuple[Rendering, State | None]) -> int:
        return int(pair[1]["step"]) if pair[1] else 0

    found = []
    for _, group in groupby(sorted(zip(renderings, saved, strict=True), key=step), key=step):
        pairs = list(group)
        states = [state for _, state in pairs if state]
        found.append(Batch([rendering for rendering, _ in pairs], _joined(states) if states else {}))
    return found


def split_state(batch: Batch) -> list[State]:
    """Return each rendering's own state, as `batches` joins them again."""
    return [
        {name: array if name in _COMMON else array[rows] for name, array in batch.state.items()}
        for rows in picture_rows(batch)
    ]


def picture_rows(batch: Batch) -> list[slice]:
    """Return which pictures of a batch are each rendering's."""
    ends = list(accumulate(len(rendering.addresses) for rendering in batch.renderings))
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]


def _joined(states: Sequence[State]) -> State:
    return {
        name: states[0][name] if name in _COMMON else np.concatenate([state[name] for state in states])
        for name in states[0]
    }
