"""Which recipe icons are made by: what a request says, else its model's, else the server's."""

from __future__ import annotations

from collections.abc import Mapping

from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.models.description import ModelDescription
from striate_service.techniques.recipe import RECIPES, Recipe


class RecipeChoice:
    def __init__(self, usual: str, by_model: Mapping[str, str]) -> None:
        self._usual = usual
        self._by_model = by_model

    @classmethod
    def of(cls, settings: Settings) -> RecipeChoice:
        return cls(settings.recipe, {model.name: model.recipe for model in settings.models if model.recipe})

    def choose(self, asked: str, model: ModelDescription) -> Recipe:
        """Return the recipe of a request's field `recipe`."""
        name = asked or self._by_model.get(model.name, self._usual)
        if name not in RECIPES:
            raise InvalidArgument(
                "recipe", f"is {name!r}; it should be {' or '.join(map(repr, RECIPES))}, or empty for the server's own."
            )
        return RECIPES[name]
