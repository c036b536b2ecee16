"""BasisService: listing, showing, building and deleting bases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from striate.tensors import tensor_from_array
from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb
from striate.v1.bases_pb2_grpc import BasisServiceServicer

from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.explain.bases import BasisDisplay, Library
from striate_service.explain.building import (
    BasisBuilding,
    BasisPlan,
    BuildProgress,
    Factorizing,
    ReadingImages,
    Saved,
)
from striate_service.explain.streams import StreamedImage
from striate_service.models.description import ModelDescription, Preprocessing
from striate_service.scheduling.engine import Engine
from striate_service.servicers import encoding, reading
from striate_service.servicers.context import Context, read_stream_terms, read_terms
from striate_service.servicers.methods import method_message, read_method
from striate_service.servicers.streams import image_messages, read_source, read_start, skipped_messages
from striate_service.stores.bases import StoredBasis


class BasisServicer(BasisServiceServicer):
    def __init__(
        self, engine: Engine, library: Library, display: BasisDisplay, building: BasisBuilding, settings: Settings
    ) -> None:
        self._engine = engine
        self._library = library
        self._display = display
        self._building = building
        self._max_images = settings.max_images_per_request

    async def ListBases(  # noqa: N802 - gRPC's name
        self, request: messages.ListBasesRequest, context: Context
    ) -> messages.ListBasesResponse:
        version = reading.find_model(self._engine.models, request.model).version if request.model else ""
        bases, following = reading.page_by_name(request, await self._library.list(version))
        return messages.ListBasesResponse(bases=map(_basis_message, bases), next_page_token=following)

    async def GetBasis(  # noqa: N802
        self, request: messages.GetBasisRequest, context: Context
    ) -> messages.GetBasisResponse:
        terms = read_terms(context)
        found = await self._display.show(
            reading.basis_name(request.name, "name"),
            omit_icons=request.omit_icons,
            wait_for_icons=request.wait_for_icons,
            terms=terms,
        )
        basis = found.basis
        return messages.GetBasisResponse(
            basis=_basis_message(basis),
            groups=encoding.groups(found.groups),
            directions=tensor_from_array(basis.directions),
        )

    async def BuildBasis(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.BuildBasisRequest], context: Context
    ) -> AsyncIterator[messages.BuildBasisResponse]:
        terms = read_stream_terms(context)
        requests = aiter(request_iterator)
        plan = _read_plan(await anext(requests, None), self._engine.models)
        images = self._read_images(requests, plan.model.preprocessing)
        async with aclosing(self._building.build(plan, images, terms)) as updates:
            async for progress in updates:
                yield _progress_message(progress)

    async def DeleteBasis(  # noqa: N802
        self, request: messages.DeleteBasisRequest, context: Context
    ) -> messages.DeleteBasisResponse:
        await self._library.delete(reading.basis_name(request.name, "name"))
        return messages.DeleteBasisResponse()

    async def _read_images(
        self, requests: AsyncIterator[messages.BuildBasisRequest], preprocessing: Preprocessing
    ) -> AsyncGenerator[Sequence[StreamedImage], None]:
        async for images in image_messages(requests, self._max_images):
            yield [StreamedImage(read_source(image, preprocessing)) for image in images]


def _read_plan(first: messages.BuildBasisRequest | None, models: Sequence[ModelDescription]) -> BasisPlan:
    start = read_start(first, "says what to build")
    name = reading.basis_name(start.name, "start.name")
    model = reading.find_model(models, start.model)
    layer = reading.find_map(model, start.layer, "start.layer")
    fit = reading.read_fit(start.fit, "start.fit")
    folder = reading.path(start.folder, "start.folder")
    most = min(layer.channels, reading.MAX_COMPONENTS)
    components = reading.in_range(
        start.components if start.HasField("components") else min(reading.USUAL_COMPONENTS, most),
        "start.components",
        1,
        most,
        f"{layer.path} has {layer.channels} channels",
    )
    method = read_method(start.method, start.rectify, "start.")
    if method not in ("auto", "nmf", "semi-nmf"):
        raise InvalidArgument("start.method", "should be AUTO, NMF or SEMI_NMF: the others need all images at once.")
    return BasisPlan(name, model, layer, components, fit, method, start.rectify, folder)


def _progress_message(progress: BuildProgress) -> messages.BuildBasisResponse:
    message = messages.BuildBasisResponse(image_count=progress.image_count, total_images=progress.total_images)
    match progress.phase:
        case ReadingImages(skipped):
            message.phase = messages.BUILD_PHASE_READING
            message.skipped.extend(skipped_messages(skipped))
        case Factorizing(share):
            message.phase = messages.BUILD_PHASE_FACTORIZING
            message.progress = share
        case Saved(basis):
            message.phase = messages.BUILD_PHASE_SAVED
            message.progress = 1.0
            message.basis.CopyFrom(_basis_message(basis))
    return message


def _basis_message(basis: StoredBasis) -> messages.Basis:
    message = messages.Basis(
        name=basis.name,
        model=pb.ModelRef(name=basis.model, version=basis.model_version),
        layer=basis.layer,
        components=len(basis.directions),
        image_count=basis.images,
        relative_error=basis.relative_error,
        fit=encoding.fit(basis.fit),
        rectify=basis.rectify,
        method=method_message(basis.method),
    )
    if basis.created:
        message.create_time.FromDatetime(basis.created)
    return message
