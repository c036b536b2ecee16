"""Bases: neuron groups that are kept under a name, with the errors that callers read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from striate_service.errors import AlreadyExists, Damaged, LaterVersion, NotFound, WrongWeights, storing
from striate_service.explain.groups import Group, describe_groups, group_objectives
from striate_service.explain.icons import NO_ICON, IconFinder, IconOptions, RecipeChoice
from striate_service.explain.labels import NO_LABEL
from striate_service.explain.names import Namer
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.stores.bases import BasisStore, DamagedBasis, LaterBasis, StoredBasis
from striate_service.techniques.methods import METHODS, Method

logger = logging.getLogger(__name__)


class Library:
    """Bases by name; each has been checked to match `stores.bases.NAME`."""

    def __init__(self, store: BasisStore) -> None:
        self._store = store

    async def find(self, name: str) -> StoredBasis:
        """Return a basis.

        Raises:
            NotFound: there is none.
            Damaged, LaterVersion: its file cannot be read.
        """
        try:
            basis = await asyncio.to_thread(self._store.get, name)
        except LaterBasis as error:
            raise LaterVersion(f"the basis {name!r}") from error
        except DamagedBasis as error:
            logger.error("%s", error)
            raise Damaged(f"the basis {name!r}", "delete it, and build it again") from error
        if basis is None:
            known = [each.name for each in await self.list()]
            listing = f"there are {', '.join(known[:10])}" if known else "none has been saved yet"
            raise NotFound.among("basis", name, known, listing)
        return basis

    async def save(self, basis: StoredBasis) -> StoredBasis:
        """Keep a basis, and return it as it is stored.

        Raises:
            AlreadyExists: other groups have that name.
            CannotStore: the disk does not take it.
        """
        with storing(f"the basis {basis.name!r}"):
            try:
                return await asyncio.to_thread(self._store.save, basis)
            except FileExistsError as error:
                raise AlreadyExists("basis", basis.name, "delete it first, or save under another name") from error

    async def list(self, model_version: str = "") -> list[StoredBasis]:
        """Return all bases, or those of one version of a model, by name."""
        return await asyncio.to_thread(self._store.list, model_version)

    async def delete(self, name: str) -> None:
        """Remove a basis, also a damaged one.

        Raises:
            NotFound: there is none.
        """
        with storing(f"the deletion of the basis {name!r}"):
            deleted = await asyncio.to_thread(self._store.delete, name)
        if not deleted:
            await self.find(name)  # raises NotFound, which lists the names that there are


@dataclass(frozen=True)
class ShownBasis:
    """A basis of K groups, with what a person sees of them."""

    basis: StoredBasis
    groups: Sequence[Group]
    """[K]"""


class BasisDisplay:
    """Adds icons and names to the groups of a basis."""

    def __init__(
        self, engine: Engine, library: Library, icons: IconFinder, recipes: RecipeChoice, namer: Namer
    ) -> None:
        self._engine = engine
        self._library = library
        self._icons = icons
        self._recipes = recipes
        self._namer = namer

    async def show(self, name: str, *, omit_icons: bool, wait_for_icons: bool, terms: Terms) -> ShownBasis:
        """Return a basis with icons and names, as far as a model with its weights is served.

        Args:
            wait_for_icons: for those that are not stored yet, until the deadline is near.
            terms: of the call.

        Raises:
            NotFound: there is no basis of that name.
        """
        basis = await self._library.find(name)
        directions = basis.directions
        icons, labels = [NO_ICON] * len(directions), [NO_LABEL] * len(directions)
        if model := model_with(basis.model_version, self._engine.models):
            no_effects = directions[:, :0]
            labels = await self._namer.groups(model, basis.layer, directions, no_effects, [])
            options = IconOptions(self._recipes.choose("", model), omit=omit_icons, wait=wait_for_icons)
            icons = await self._icons.icons(model, basis.layer, group_objectives(directions), options, terms)
        return ShownBasis(basis, describe_groups(directions, basis.importance, basis.colors, icons, labels))


def model_of(
    basis: StoredBasis, models: Sequence[ModelDescription], named: ModelDescription | None
) -> ModelDescription:
    """Return the model to use a basis with: the one that the request names, or else one with the basis's weights.

    Raises:
        WrongWeights: the basis belongs to other weights.
    """
    model = named or model_with(basis.model_version, models)
    if model is None or model.version != basis.model_version:
        there = f"{named.name} has version {named.version}" if named else "this server serves no model of that version"
        raise WrongWeights(
            basis.name,
            f"belongs to version {basis.model_version} of {basis.model} (layer {basis.layer}); {there}. "
            "Other weights have other neurons: save a basis of their own.",
        )
    return model


def model_with(version: str, models: Sequence[ModelDescription]) -> ModelDescription | None:
    """Return a model with these weights; None where none is served."""
    return next((model for model in models if model.version == version), None)


def basis_method(basis: StoredBasis) -> Method:
    """Return the method by which a basis was found.

    Raises:
        LaterVersion: this version of the server does not know it.
    """
    for method in METHODS:
        if method == basis.method:
            return method
    raise LaterVersion(f"the basis {basis.name!r}")
