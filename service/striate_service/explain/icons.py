"""Icons for a reply: found in the store or, as far as the caller wants to wait for them, rendered."""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from striate_service.config import Settings
from striate_service.errors import InvalidArgument, TooManyIcons, shown
from striate_service.explain.rendering import IconRenderer, IconSubject, Owner, Rendering, Urgency
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.techniques.objective import Objective
from striate_service.techniques.recipe import RECIPES, Recipe

# Waiting for icons ends this long before the caller's deadline, so that the reply still arrives: a fixed part for the
# reply itself, and a share for a caller with little time.
_REPLY_SECONDS, _REPLY_SHARE = 1.0, 0.1


class IconStatus(enum.Enum):
    READY = enum.auto()
    QUEUED = enum.auto()
    """It is not in the store."""
    NOT_REQUESTED = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True)
class Icon:
    """A picture of what excites a neuron or a direction."""

    status: IconStatus
    data: bytes = b""
    """A WebP file; empty unless the icon is ready, or this is a quick first picture of it."""
    subject: IconSubject | None = None
    """By which to ask for it; None unless it is queued and that was not said before."""


NO_ICON = Icon(IconStatus.NOT_REQUESTED)


@dataclass(frozen=True)
class IconOptions:
    """What a request says of the icons in its reply."""

    recipe: Recipe
    omit: bool
    """Show none, and render none."""
    wait: bool
    """For those that are not in the store, until the deadline is near. Otherwise they are not rendered: the reply says
    by which keys to ask for them."""


class RecipeChoice:
    """Which recipe makes icons: the one that a request names, else its model's, else the server's."""

    def __init__(self, usual: str, by_model: Mapping[str, str]) -> None:
        self._usual = usual
        self._by_model = by_model

    @classmethod
    def of(cls, settings: Settings) -> RecipeChoice:
        return cls(settings.recipe, {model.name: model.recipe for model in settings.models if model.recipe})

    def choose(self, name: str, model: ModelDescription) -> Recipe:
        """Return the recipe that a request's field `recipe` means; it may be empty."""
        name = name or self._by_model.get(model.name, self._usual)
        if name not in RECIPES:
            raise InvalidArgument(
                "recipe",
                f"is {shown(name)}; it should be {' or '.join(map(repr, RECIPES))}, or empty for the server's own.",
            )
        return RECIPES[name]


class IconFinder:
    def __init__(self, renderer: IconRenderer) -> None:
        self._renderer = renderer

    async def icons(
        self,
        model: ModelDescription,
        layer: str,
        objectives: Sequence[Objective],
        options: IconOptions,
        terms: Terms,
    ) -> list[Icon]:
        """Return one icon an objective. What is not ready, or not in time, is marked.

        Args:
            objectives: the first are rendered first.
            terms: of the call whose reply has the icons.
        """
        if options.omit:
            return [NO_ICON] * len(objectives)
        subjects = [
            IconSubject(model.name, model.version, layer, objective, options.recipe) for objective in objectives
        ]
        if options.wait:
            with suppress(TooManyIcons):  # the answer is worth more than its pictures, which have keys
                return await self._awaited(subjects, terms)
        stored = await self._renderer.stored(subjects)
        return [
            Icon(IconStatus.QUEUED, subject=subject) if files is None else Icon(IconStatus.READY, files[0])
            for subject, files in zip(subjects, stored, strict=True)
        ]

    async def _awaited(self, subjects: Sequence[IconSubject], terms: Terms) -> list[Icon]:
        async with self._renderer.wanted(subjects, Owner(Urgency.AWAITED, terms.caller)) as renderings:
            remaining = terms.deadline - time.monotonic()
            timeout = None if remaining == math.inf else remaining - max(_REPLY_SECONDS, _REPLY_SHARE * remaining)
            if renderings:
                await asyncio.wait([each.icons for each in renderings], timeout=timeout and max(0.0, timeout))
            return [icons_of(rendering)[0] for rendering in renderings]


def icons_of(rendering: Rendering) -> list[Icon]:
    """Return the icon, or its facets, as they stand."""
    if not rendering.icons.done():
        return [Icon(IconStatus.QUEUED, subject=rendering.subject)] * len(rendering.addresses)
    if rendering.icons.cancelled() or rendering.icons.exception():
        return [Icon(IconStatus.FAILED)] * len(rendering.addresses)
    return [Icon(IconStatus.READY, data) for data in rendering.icons.result()]
