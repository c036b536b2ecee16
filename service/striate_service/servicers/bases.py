"""BasisService: listing, building and deleting bases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from striate.tensors import tensor_from_array
from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb
from striate.v1.bases_pb2_grpc import BasisServiceServicer

from striate_service.scheduling.engine import Engine
from striate_service.scheduling.job import Lane
from striate_service.servicers import validation
from striate_service.servicers.building import BasisBuilding
from striate_service.servicers.groups import group_messages
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.library import Library, basis_message
from striate_service.servicers.naming import Namer
from striate_service.servicers.validation import Context
from striate_service.techniques.objective import Direction, Objective

_DEFAULT_PAGE, _MAX_PAGE = 100, 1000


class BasisServicer(BasisServiceServicer):
    def __init__(
        self, engine: Engine, library: Library, building: BasisBuilding, icons: IconFinder, namer: Namer
    ) -> None:
        self._engine = engine
        self._library = library
        self._building = building
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
                self._icons.recipe("", model),
                omit=request.omit_icons,
                wait=request.wait_for_icons,
                deadline=terms.deadline,
            )
        return messages.GetBasisResponse(
            basis=basis_message(basis),
            groups=group_messages(basis.directions, basis.importance, basis.colors, icons, labels),
            directions=tensor_from_array(basis.directions),
        )

    async def BuildBasis(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.BuildBasisRequest], context: Context
    ) -> AsyncIterator[messages.BuildBasisResponse]:
        terms = replace(validation.terms(context, Lane.BATCH), patient=True)
        async with aclosing(self._building.build(aiter(request_iterator), terms)) as responses:
            async for response in responses:
                yield response

    async def DeleteBasis(  # noqa: N802
        self, request: messages.DeleteBasisRequest, context: Context
    ) -> messages.DeleteBasisResponse:
        await self._library.delete(request.name, "name")
        return messages.DeleteBasisResponse()
