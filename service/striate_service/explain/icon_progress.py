"""Rendering the icons of a layer before anybody needs them, with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np

from striate_service.explain.icons import NO_ICON, Icon, icons_of
from striate_service.explain.names import Label, Namer
from striate_service.explain.rendering import IconRenderer
from striate_service.models.description import LayerDescription, ModelDescription
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
    def __init__(self, renderer: IconRenderer, namer: Namer) -> None:
        self._renderer = renderer
        self._namer = namer

    async def render(self, question: RenderQuestion) -> AsyncGenerator[RenderProgress, None]:
        """Yield progress until all icons are finished.

        A caller who goes away takes back what has not begun, unless it asked to `detach`.
        """
        model, layer, channels = question.model, question.layer.path, question.channels
        renderings = await self._renderer.request(model, layer, question.objectives, question.recipe, urgent=False)
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
