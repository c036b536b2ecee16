"""Icons on their way, and those that are optimized together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import numpy as np

from striate_service.explain.rendering.owners import Owner, Urgency
from striate_service.explain.rendering.subject import IconSubject
from striate_service.stores.icons import IconAddress
from striate_service.stores.leases import Lease
from striate_service.techniques.recipe import PREVIEW_STEPS
from striate_service.techniques.tasks.base import Array

State = Mapping[str, Array]
"""How far an optimization is, as `RenderTask` has it."""
Level = tuple[Urgency, bool, bool]
"""What goes before what, even if that has begun: by urgency, then what has no quick picture yet, then directions before
neurons."""

_COMMON = ("step",)  # of a batch's state; everything else has a row a picture


@dataclass(eq=False)
class Rendering:
    """The picture of an objective, or its facets: in the store, on their way there, or lost."""

    subject: IconSubject
    number: int = 0
    """By when it was asked for first."""
    owners: dict[Owner, int] = field(default_factory=dict)
    """Who would miss it if it were not rendered, and as which of their wishes: 0 is the dearest."""
    begun: float | None = None
    """When this server began to render it, on time.monotonic(); None: it has not."""
    progress: float = 0.0
    """The share of its steps that have been made, 0 to 1."""
    preview: bytes = b""
    """A WebP file of the quick first picture; empty before that, and where nobody has asked for one."""
    lease: Lease | None = None
    """This server's right to render it, while it does."""
    icons: asyncio.Future[tuple[bytes, ...]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """WebP files, one a picture; an exception if rendering failed."""

    @property
    def addresses(self) -> tuple[IconAddress, ...]:
        """One a picture."""
        return self.subject.addresses

    @property
    def name(self) -> str:
        """What its lease and its beginnings are kept under; facets are optimized together or not at all."""
        return self.addresses[0].name

    @property
    def wants_preview(self) -> bool:
        """Whether somebody waits for a quick first picture of it."""
        return not self.preview and any(owner.previews for owner in self.owners)

    @property
    def level(self) -> Level:
        urgency = min((owner.urgency for owner in self.owners), default=Urgency.IDLE)
        return urgency, bool(self.preview), not self.subject.is_direction

    @property
    def kind(self) -> tuple[object, bool, bool]:
        """What can be optimized in one batch, from the same step to the same step."""
        return self.subject.group, bool(self.preview), self.wants_preview

    @property
    def turn(self) -> tuple[Level, int, int]:
        """The least goes first. Callers whose icons are equally urgent get one of their wishes each, in turn."""
        urgency, *_ = self.level
        wish = min((place for owner, place in self.owners.items() if owner.urgency is urgency), default=0)
        return self.level, wish, self.number

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
    saved: float = field(default_factory=time.monotonic)
    """When it was last written to disk, or made, on time.monotonic()."""

    @property
    def turn(self) -> tuple[Level, int, int]:
        return min(rendering.turn for rendering in self.renderings)

    @property
    def next_pictures(self) -> int:
        """After which step its pictures are shown next."""
        steps, step = self.renderings[0].subject.recipe.steps, int(self.state["step"]) if self.state else 0
        quick = any(rendering.wants_preview for rendering in self.renderings)
        return min(max(PREVIEW_STEPS, step + 1), steps) if quick else steps

    def wanted(self) -> list[Batch]:
        """Return what is left of it without the icons that nobody wants any more: itself, a smaller batch, or none."""
        kept = [rendering for rendering in self.renderings if rendering.owners]
        if len(kept) == len(self.renderings):
            return [self]
        states = split_state(self)
        return batches(
            kept, [state for rendering, state in zip(self.renderings, states, strict=True) if rendering.owners]
        )


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
