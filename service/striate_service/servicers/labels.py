"""LabelService: names of neurons."""

from __future__ import annotations

import asyncio

from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2 as messages
from striate.v1.labels_pb2_grpc import LabelServiceServicer

from striate_service.engine import Engine
from striate_service.errors import InvalidArgument, NotFound
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.servicers import encoding, validation
from striate_service.servicers.validation import Context
from striate_service.stores.labels import LabelStore, StoredLabel

_DEFAULT_PAGE, _MAX_PAGE = 1000, 10_000


class LabelServicer(LabelServiceServicer):
    def __init__(self, engine: Engine, store: LabelStore) -> None:
        self._engine = engine
        self._store = store

    async def SetLabel(  # noqa: N802 - gRPC's name
        self, request: messages.SetLabelRequest, context: Context
    ) -> messages.SetLabelResponse:
        model, layer = self._find_neuron(request)
        stored = StoredLabel(
            model_version=model.version,
            layer=layer.path,
            channel=request.channel,
            text=validation.text(request.label.text, "label.text", least=1),
            source=_source(request.label.source),
            score=request.label.score if request.label.HasField("score") else None,
            author=validation.text(request.label.author, "label.author"),
        )
        stored = await asyncio.to_thread(self._store.set, stored)
        return messages.SetLabelResponse(label=encoding.neuron_label(model, stored))

    async def DeleteLabel(  # noqa: N802
        self, request: messages.DeleteLabelRequest, context: Context
    ) -> messages.DeleteLabelResponse:
        model, layer = self._find_neuron(request)
        if not await asyncio.to_thread(self._store.delete, model.version, layer.path, request.channel):
            raise NotFound("label", f"{layer.path}:{request.channel}", "nobody has named this neuron")
        return messages.DeleteLabelResponse()

    async def ListLabels(  # noqa: N802
        self, request: messages.ListLabelsRequest, context: Context
    ) -> messages.ListLabelsResponse:
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_layer(model, request.layer, "layer").path if request.layer else ""
        size = validation.in_range(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidArgument("page_token", "should be the next_page_token of the page before.")
        offset = int(request.page_token or 0)
        page = await asyncio.to_thread(
            lambda: self._store.list(
                model.version, layer, history=request.include_history, limit=size + 1, offset=offset
            )
        )
        return messages.ListLabelsResponse(
            labels=[encoding.neuron_label(model, stored) for stored in page[:size]],
            next_page_token=str(offset + size) if len(page) > size else "",
        )

    def _find_neuron(
        self, request: messages.SetLabelRequest | messages.DeleteLabelRequest
    ) -> tuple[ModelDescription, LayerDescription]:
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_layer(model, request.layer, "layer")
        validation.in_range(
            request.channel, "channel", 0, layer.channels - 1, f"{layer.path} has {layer.channels} channels"
        )
        return model, layer


def _source(source: pb.LabelSource) -> int:
    allowed = (pb.LABEL_SOURCE_PERSON, pb.LABEL_SOURCE_DISSECTION, pb.LABEL_SOURCE_IMPORTED)
    chosen = int(source) or int(pb.LABEL_SOURCE_PERSON)
    if chosen not in allowed:
        raise InvalidArgument("label.source", "should be PERSON, DISSECTION or IMPORTED; others are never stored.")
    return chosen
