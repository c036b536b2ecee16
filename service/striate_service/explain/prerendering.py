"""The icons of the layers that the operator has chosen, rendered while nothing else is to be done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from striate_service.config import ModelSettings
from striate_service.errors import TooManyIcons
from striate_service.explain.icons import RecipeChoice
from striate_service.explain.rendering import IconRenderer, IconSubject, Owner, Urgency
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.techniques.objective import Channel

logger = logging.getLogger(__name__)

_AT_A_TIME = 64  # icons that are queued, which leaves the queue to callers


@dataclass(frozen=True)
class ChosenLayer:
    model: ModelDescription
    layer: LayerDescription
    """[C, H, W]"""


def chosen_layers(settings: Sequence[ModelSettings], models: Sequence[ModelDescription]) -> list[ChosenLayer]:
    """Return the layers that models' settings name, in their order.

    Raises:
        ValueError: a model has no such layer, or it is no map.
    """
    by_name = {model.name: model for model in models}
    found = []
    for each in settings:
        for name in each.prerender:
            model = by_name[each.name]
            layer = model.layer_by_name.get(name)
            if layer is None or not layer.is_map:
                problem = "has no layer" if layer is None else "has no map in"
                raise ValueError(f"prerender: {model.name} {problem} {name!r}; `striate models --layers` lists them")
            found.append(ChosenLayer(model, layer))
    return found


class Prerendering:
    def __init__(self, renderer: IconRenderer, recipes: RecipeChoice) -> None:
        self._renderer = renderer
        self._recipes = recipes

    async def render(self, layers: Sequence[ChosenLayer]) -> None:
        """Render all channels' icons, after those of everybody who asks for some meanwhile."""
        for chosen in layers:
            try:
                rendered = await self._render_layer(chosen)
            except OSError as error:
                logger.warning("the store of icons does not answer: %s", error)
                rendered = False
            if rendered:
                logger.info("the icons of %s %s are rendered", chosen.model.name, chosen.layer.path)
            else:
                logger.warning("the icons of %s %s cannot be rendered ahead", chosen.model.name, chosen.layer.path)

    async def _render_layer(self, chosen: ChosenLayer) -> bool:
        """Return whether all icons of a layer are in the store now."""
        model, layer = chosen.model, chosen.layer
        recipe = self._recipes.choose("", model)
        subjects = [
            IconSubject(model.name, model.version, layer.path, Channel(channel), recipe)
            for channel in range(layer.channels)
        ]
        for first in range(0, len(subjects), _AT_A_TIME):
            if not await self._render(subjects[first : first + _AT_A_TIME]):
                return False
        return True

    async def _render(self, subjects: Sequence[IconSubject]) -> bool:
        while True:
            try:
                async with self._renderer.wanted(subjects, Owner(Urgency.IDLE)) as renderings:
                    icons = [rendering.icons for rendering in renderings]
                    await asyncio.wait(icons)
                    return not any(each.cancelled() or each.exception() for each in icons)
            except TooManyIcons as error:
                await asyncio.sleep(error.retry_after)
