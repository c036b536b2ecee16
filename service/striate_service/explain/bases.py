"""Bases: neuron groups that are kept under a name, with the errors that callers read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from striate_service.errors import AlreadyExists, InvalidArgument, NotFound, WorkFailed, WrongWeights
from striate_service.models.description import ModelDescription
from striate_service.stores.bases import NAME, BasisStore, DamagedBasis, StoredBasis


class Library:
    """Bases by name."""

    def __init__(self, store: BasisStore) -> None:
        self._store = store

    async def find(self, name: str, field: str) -> StoredBasis:
        """Return a basis.

        Args:
            field: the request's field that names it.

        Raises:
            InvalidArgument: no basis can have that name.
            NotFound: there is none.
        """
        check_name(name, field)
        try:
            basis = await asyncio.to_thread(self._store.get, name)
        except DamagedBasis as error:
            raise WorkFailed(str(error)) from error
        if basis is None:
            known = [each.name for each in await self.list()]
            listing = f"there are {', '.join(known[:10])}" if known else "none has been saved yet"
            raise NotFound.among("basis", name, known, listing)
        return basis

    async def save(self, basis: StoredBasis) -> StoredBasis:
        """Keep a basis under a name that has been checked, and return it as it is stored.

        Raises:
            AlreadyExists: other groups have that name.
        """
        try:
            return await asyncio.to_thread(self._store.save, basis)
        except FileExistsError as error:
            raise AlreadyExists("basis", basis.name, "delete it first, or save under another name") from error

    async def list(self, model_version: str = "") -> list[StoredBasis]:
        """Return all bases, or those of one version of a model, by name."""
        return await asyncio.to_thread(self._store.list, model_version)

    async def delete(self, name: str, field: str) -> None:
        """Remove a basis, also a damaged one.

        Raises:
            InvalidArgument, NotFound: as `find` does.
        """
        check_name(name, field)
        if not await asyncio.to_thread(self._store.delete, name):
            await self.find(name, field)  # raises NotFound, which lists the names that there are


def check_name(name: str, field: str) -> None:
    """Raise InvalidArgument unless `name` can be a basis's."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            field,
            f"is {name[:70]!r}; it should be 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit.",
        )


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
