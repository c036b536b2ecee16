"""Bases as callers see them: by name, with the errors that they read."""

from __future__ import annotations

import asyncio

from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb

from striate_service.errors import AlreadyExists, InvalidArgument, NotFound, WorkFailed, WrongWeights
from striate_service.models.description import ModelDescription
from striate_service.servicers import validation
from striate_service.stores.bases import NAME, BasisStore, DamagedBasis, StoredBasis


class Library:
    """Bases by name, with the errors that callers read."""

    def __init__(self, store: BasisStore) -> None:
        self._store = store

    async def find(self, name: str, field: str) -> StoredBasis:
        """Return a basis.

        Raises:
            InvalidArgument: that is no name of one.
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
        return await asyncio.to_thread(self._store.list, model_version)

    async def delete(self, name: str, field: str) -> None:
        """Remove a basis, also a damaged one.

        Raises:
            InvalidArgument, NotFound: as `find` does.
        """
        check_name(name, field)
        if not await asyncio.to_thread(self._store.delete, name):
            await self.find(name, field)  # says that there is none, and what there is


def check_name(name: str, field: str) -> None:
    """Raise InvalidArgument unless `name` can be a basis's."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            field,
            f"is {name[:70]!r}; it should be 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit.",
        )


def model_of(basis: StoredBasis, models: tuple[ModelDescription, ...], name: str) -> ModelDescription:
    """Return the model to use a basis with: the one that is named, or else one whose weights it belongs to.

    Raises:
        WrongWeights: it belongs to others.
    """
    named = validation.find_model(models, name) if name else None
    model = named or next((model for model in models if model.version == basis.model_version), None)
    if model is None or model.version != basis.model_version:
        there = f"{named.name} has version {named.version}" if named else "this server serves no model of that version"
        raise WrongWeights(
            basis.name,
            f"belongs to version {basis.model_version} of {basis.model} (layer {basis.layer}); {there}. "
            "Other weights have other neurons: save a basis of their own.",
        )
    return model


def basis_message(basis: StoredBasis) -> messages.Basis:
    message = messages.Basis(
        name=basis.name,
        model=pb.ModelRef(name=basis.model, version=basis.model_version),
        layer=basis.layer,
        components=len(basis.directions),
        image_count=basis.images,
        relative_error=basis.relative_error,
        fit=pb.Fit.Name(basis.fit),
        rectify=basis.rectify,
    )
    if basis.created:
        message.create_time.FromDatetime(basis.created)
    return message
