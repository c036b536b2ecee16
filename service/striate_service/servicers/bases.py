"""Bases: BasisService, and the library from which Factorize takes them."""

from __future__ import annotations

import asyncio

from striate.tensors import tensor_from_array
from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb
from striate.v1.bases_pb2_grpc import BasisServiceServicer

from striate_service.engine import Engine
from striate_service.errors import AlreadyExists, InvalidArgument, NotFound, WorkFailed, WrongWeights
from striate_service.models.description import ModelDescription
from striate_service.servicers import validation
from striate_service.servicers.groups import group_messages
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.naming import Namer
from striate_service.servicers.validation import Context
from striate_service.stores.bases import NAME, BasisStore, DamagedBasis, StoredBasis
from striate_service.techniques.recipe import Direction, Objective

_DEFAULT_PAGE, _MAX_PAGE = 100, 1000


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


class BasisServicer(BasisServiceServicer):
    def __init__(self, engine: Engine, library: Library, icons: IconFinder, namer: Namer) -> None:
        self._engine = engine
        self._library = library
        self._icons = icons
        self._namer = namer

    async def ListBases(  # noqa: N802 - gRPC's name
        self, request: messages.ListBasesRequest, context: Context
    ) -> messages.ListBasesResponse:
        version = validation.find_model(self._engine.models, request.model).version if request.model else ""
        size = validation.in_range(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        bases = [basis for basis in await self._library.list(version) if basis.name > request.page_token]
        return messages.ListBasesResponse(
            bases=[basis_message(basis) for basis in bases[:size]],
            next_page_token=bases[size - 1].name if len(bases) > size else "",
        )

    async def GetBasis(  # noqa: N802
        self, request: messages.GetBasisRequest, context: Context
    ) -> messages.GetBasisResponse:
        terms = validation.terms(context)
        basis = await self._library.find(request.name, "name")
        model = next((model for model in self._engine.models if model.version == basis.model_version), None)
        icons = [pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED)] * len(basis.directions)
        labels = [pb.Label()] * len(basis.directions)
        if model is not None:
            no_effects = basis.directions[:, :0]
            labels = await self._namer.groups(model, basis.layer, basis.directions, no_effects, [])
            objectives: list[Objective] = [Direction(tuple(direction.tolist())) for direction in basis.directions]
            icons = await self._icons.icons(
                model,
                basis.layer,
                objectives,
                omit=request.omit_icons,
                wait=request.wait_for_icons,
                deadline=terms.deadline,
            )
        return messages.GetBasisResponse(
            basis=basis_message(basis),
            groups=group_messages(basis.directions, basis.importance, basis.colors, icons, labels),
            directions=tensor_from_array(basis.directions),
        )

    async def DeleteBasis(  # noqa: N802
        self, request: messages.DeleteBasisRequest, context: Context
    ) -> messages.DeleteBasisResponse:
        await self._library.delete(request.name, "name")
        return messages.DeleteBasisResponse()


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
