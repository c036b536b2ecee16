"""What an icon shows, and how it is made: all that a server of the same weights needs to render it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from striate_service.stores.icons import IconAddress
from striate_service.techniques.objective import Direction, Named, Objective, picture_texts, singles
from striate_service.techniques.recipe import Recipe


@dataclass(frozen=True)
class IconSubject:
    """An objective's picture, or its facets."""

    model: str
    """Its name on this server."""
    version: str = field(repr=False)
    """The SHA-256 of its weights."""
    layer: str
    objective: Objective
    recipe: Recipe

    @cached_property
    def addresses(self) -> tuple[IconAddress, ...]:
        """Where the store has them, one a picture. Hashes a direction: for threads, where there may be many."""
        recipe = self.recipe.text
        return tuple(IconAddress(self.version, self.layer, text, recipe) for text in picture_texts(self.objective))

    @property
    def is_direction(self) -> bool:
        """Whether it shows what neurons see together, as a group's icon does."""
        return isinstance(self.objective, Direction)

    @cached_property
    def group(self) -> tuple[str, str, Recipe, frozenset[str]]:
        """The model, layer and recipe; icons of one group can be optimized in one batch.

        And the names of the objectives that users have added: a function that fails fails no other icons.
        """
        terms = (term for single in singles([self.objective]) for _, term in single.terms)
        names = frozenset(term.name for term in terms if isinstance(term, Named))
        return self.model, self.layer, self.recipe, names
