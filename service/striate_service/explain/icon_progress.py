"""Rendering the icons of a layer before anybody needs them, with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np

from striate_service.errors import TooManyIcons
from striate_service.explain.icons import NO_ICON, Icon, icons_of
from striate_service.explain.names import Label, Namer
from striate_service.explain.rendering import IconRenderer, Rendering
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.techniques.objective import Facets, Objective, Single
from striate_service.techniques.recipe import Recipe

_PROGRESS_INTERVAL = 0.5  # seconds between two reports
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
class FinishedNeuron:
    channel: int
    label: Label
    icons: Sequence[Icon]
    """Its facets, at least one."""


@dataclass(frozen=True)
class RenderProgress:
    completed: int
    """Icons that are finished."""
    total: int
    share: float
    """Of the optimization steps of all icons that have been made, 0 to 1."""
    remaining_seconds: float | None
    """None: it cannot be told yet."""
    finished: Sequence[FinishedNeuron]
    """Since the report before."""


class IconProgress:
    def __init__(self, renderer: IconRenderer, namer: Namer, metrics: Metrics, max_detached: int) -> None:
        """Take what renders.

        Args:
            max_detached: icons that may be unfinished though nobody needs to wait for them.
        """
        self._renderer = renderer
        self._namer = namer
        self._metrics = metrics
        self._max_detached = max_detached
        self._detached: dict[asyncio.Future[tuple[bytes, ...]], int] = {}
        """How many icons each unfinished rendering has."""

    async def render(self, question: RenderQuestion) -> AsyncGenerator[RenderProgress, None]:
        """Yield progress until all icons are finished.

        A caller who goes away takes back what has not begun, unless it asked to `detach`.

        Raises:
            TooManyIcons: it asked to, and too many are queued in this way.
        """
        model, layer, channels = question.model, question.layer.path, question.channels
        renderings = await self._renderer.request(model, layer, question.objectives, question.recipe, urgent=False)
        if question.detach:
            self._detach(renderings)
        labels = await self._namer.neurons(model, layer, dict.fromkeys(channels, _NO_EFFECTS), [])
        started, first_progress = time.monotonic(), sum(rendering.progress for rendering in renderings)
        unsent = dict(zip(channels, renderings, strict=True))
        try:
            while unsent:
                pending = [rendering.icons for rendering in unsent.values() if not rendering.icons.done()]
                if len(pending) == len(unsent):
                    await asyncio.wait(pending, timeout=_PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
                finished = {channel: each for channel, each in unsent.items() if each.icons.done()}
                unsent = {channel: each for channel, each in unsent.items() if channel not in finished}
                progress = sum(rendering.progress for rendering in renderings)
                speed = (progress - first_progress) / max(time.monotonic() - started, 1e-3)
                yield RenderProgress(
                    completed=(len(renderings) - len(unsent)) * question.facets,
                    total=len(renderings) * question.facets,
                    share=progress / len(renderings),
                    remaining_seconds=(len(renderings) - progress) / speed if speed else None,
                    finished=[
                        FinishedNeuron(channel, labels[channel], [NO_ICON] if question.omit else icons_of(each))
                        for channel, each in finished.items()
                    ],
                )
        finally:
            if not question.detach:
                self._renderer.release(list(unsent.values()))

    def _detach(self, renderings: Sequence[Rendering]) -> None:
        """Let renderings go on when the caller has gone; take them all back if they are too many."""
        new = {
            each.icons: len(each.addresses)
            for each in renderings
            if not each.icons.done() and each.icons not in self._detached
        }
        if sum(self._detached.values()) + sum(new.values()) > self._max_detached:
            self._renderer.release(renderings)
            raise TooManyIcons(self._max_detached)
        self._detached |= new
        for icons in new:
            icons.add_done_callback(self._end)
        self._metrics.icons_detached.set(sum(self._detached.values()))

    def _end(self, icons: asyncio.Future[tuple[bytes, ...]]) -> None:
        del self._detached[icons]
        self._metrics.icons_detached.set(sum(self._detached.values()))
