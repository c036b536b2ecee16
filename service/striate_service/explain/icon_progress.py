"""Icons as they are finished, with progress: those that replies lack, or those of a layer, before they are needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from striate_service.explain.icons import NO_ICON, Icon, IconStatus, icons_of
from striate_service.explain.labels import Label
from striate_service.explain.names import Namer
from striate_service.explain.rendering import DetachedIcons, IconRenderer, IconSubject, Owner, Rendering, Urgency
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.techniques.objective import Facets, Objective, Single
from striate_service.techniques.recipe import Recipe

_PROGRESS_INTERVAL = 0.5  # seconds between two reports
_MOST_IN_REPORT = 64  # finished icons, of 15 to 45 KB each: a layer's do not fit in one message
_NO_EFFECTS = np.zeros(0, np.float32)


@dataclass(frozen=True)
class RenderQuestion:
    model: ModelDescription
    layer: LayerDescription
    """[C, H, W]"""
    channels: Sequence[int]
    """No two the same."""
    shown: Sequence[Single]
    """What the pictures of each channel show."""
    facets: int
    """How many pictures of each."""
    recipe: Recipe
    omit: bool
    """Send progress, and no pictures."""
    detach: bool
    """Go on when the caller has gone."""

    @property
    def objectives(self) -> list[Objective]:
        """One a channel."""
        return [Facets(each, self.facets) for each in self.shown] if self.facets > 1 else [*self.shown]


@dataclass(frozen=True)
class CancelQuestion:
    """Which icons to take back, of those that a caller has left to be rendered."""

    version: str = ""
    """The model's; empty: all models'."""
    layer: str = ""
    """Its path; empty: all layers."""


@dataclass(frozen=True)
class FinishedNeuron:
    channel: int
    label: Label
    icons: Sequence[Icon]
    """Its facets, at least one."""


@dataclass(frozen=True)
class Progress:
    completed: int
    """Icons that are finished, facets counted one by one."""
    total: int
    share: float
    """Of the optimization steps of all icons that have been made, 0 to 1."""
    remaining_seconds: float | None
    """None: it cannot be told yet."""


@dataclass(frozen=True)
class RenderProgress(Progress):
    finished: Sequence[FinishedNeuron]
    """Since the report before."""


@dataclass(frozen=True)
class WatchProgress(Progress):
    finished: Sequence[tuple[int, Icon]]
    """Since the report before: icons by the place of their subjects."""
    previews: Sequence[tuple[int, Icon]]
    """Likewise quick first pictures of icons that are still queued."""


class IconProgress:
    def __init__(self, renderer: IconRenderer, namer: Namer, detached: DetachedIcons) -> None:
        self._renderer = renderer
        self._namer = namer
        self._detached = detached

    async def watch(
        self, subjects: Sequence[IconSubject], caller: str, *, previews: bool
    ) -> AsyncGenerator[WatchProgress, None]:
        """Yield progress until all icons are finished. A caller who goes away takes back what has not begun.

        Args:
            subjects: of one picture each; the first are rendered first.
            previews: send quick pictures of all first.

        Raises:
            TooManyIcons: there is no room for those that are missing.
        """
        async with (
            self._renderer.wanted(subjects, Owner(Urgency.AWAITED, caller, previews)) as renderings,
            aclosing(_reports(renderings)) as reports,
        ):
            unshown = set(range(len(renderings))) if previews else set()
            async for progress, finished in reports:
                icons = [(place, icons_of(renderings[place])[0]) for place in finished]
                unshown -= {place for place, _ in icons}
                shown = [place for place in sorted(unshown) if renderings[place].preview][:_MOST_IN_REPORT]
                unshown -= {*shown}
                first = [(place, Icon(IconStatus.QUEUED, renderings[place].preview)) for place in shown]
                yield WatchProgress(**vars(progress), finished=icons, previews=first)

    async def render(self, question: RenderQuestion, caller: str) -> AsyncGenerator[RenderProgress, None]:
        """Yield progress until all icons are finished.

        A caller who goes away takes back what has not begun, unless it asked to `detach`.

        Raises:
            TooManyIcons: too many are queued; or it asked to detach, and too many are queued in this way.
        """
        model, layer, channels = question.model, question.layer.path, question.channels
        subjects = [
            IconSubject(model.name, model.version, layer, objective, question.recipe)
            for objective in question.objectives
        ]
        async with self._renderer.wanted(subjects, Owner(Urgency.AHEAD, caller)) as renderings:
            if question.detach:
                self._detached.leave(renderings, caller)
            labels = await self._namer.neurons(model, layer, dict.fromkeys(channels, _NO_EFFECTS), [])
            async with aclosing(_reports(renderings)) as reports:
                async for progress, finished in reports:
                    neurons = [
                        FinishedNeuron(
                            channels[place],
                            labels[channels[place]],
                            [NO_ICON] if question.omit else icons_of(renderings[place]),
                        )
                        for place in finished
                    ]
                    yield RenderProgress(**vars(progress), finished=neurons)

    def cancel(self, question: CancelQuestion, caller: str) -> int:
        """Take back what a caller's calls with `detach` have left, and return how many icons that were."""
        return self._detached.cancel(caller, question.version, question.layer)


async def _reports(renderings: Sequence[Rendering]) -> AsyncGenerator[tuple[Progress, list[int]], None]:
    """Yield how far all are, and the places of those that have been finished since the report before."""
    started, first_progress = time.monotonic(), sum(rendering.progress for rendering in renderings)
    total, completed = sum(len(rendering.addresses) for rendering in renderings), 0
    unsent = list(range(len(renderings)))
    while unsent:
        pending = [renderings[place].icons for place in unsent if not renderings[place].icons.done()]
        if len(pending) == len(unsent):
            await asyncio.wait(pending, timeout=_PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        finished = [place for place in unsent if renderings[place].icons.done()][:_MOST_IN_REPORT]
        unsent = sorted(set(unsent) - set(finished))
        completed += sum(len(renderings[place].addresses) for place in finished)
        progress = sum(rendering.progress for rendering in renderings)
        speed = (progress - first_progress) / max(time.monotonic() - started, 1e-3)
        remaining = (len(renderings) - progress) / speed if speed else None
        yield Progress(completed, total, progress / len(renderings), remaining), finished
