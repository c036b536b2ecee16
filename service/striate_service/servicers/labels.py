"""LabelService: names of neurons."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2 as messages
from striate.v1.labels_pb2_grpc import LabelServiceServicer

from striate_service.config import Settings
from striate_service.errors import InvalidArgument, NotFound
from striate_service.explain.labels import Label
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine
from striate_service.servicers import encoding, reading
from striate_service.servicers.context import Context
from striate_service.stores.labels import LabelSource, LabelStore, StoredLabel, direction_bytes

_DEFAULT_PAGE, _MAX_PAGE = 1000, 10_000
_PAGE_TOKEN = re.compile("[0-9]{1,18}")
_STORED_SOURCES: dict[int, LabelSource] = {
    pb.LABEL_SOURCE_UNSPECIFIED: LabelSource.PERSON,
    pb.LABEL_SOURCE_PERSON: LabelSource.PERSON,
    pb.LABEL_SOURCE_DISSECTION: LabelSource.DISSECTION,
    pb.LABEL_SOURCE_IMPORTED: LabelSource.IMPORTED,
}


class LabelServicer(LabelServiceServicer):
    def __init__(self, engine: Engine, store: LabelStore, settings: Settings) -> None:
        self._engine = engine
        self._store = store
        self._max_page_bytes = settings.max_message_bytes // 2

    async def SetLabel(  # noqa: N802 - gRPC's name
        self, request: messages.SetLabelRequest, context: Context
    ) -> messages.SetLabelResponse:
        model, layer = self._find_layer(request)
        if request.model_version not in ("", model.version):
            raise InvalidArgument(
                "model_version",
                f"is {request.model_version[:12]}, and {model.name} has the weights {model.version[:12]}, whose "
                "neurons are others: names belong to the weights that they were given to.",
            )
        stored = replace(
            _subject(request, model, layer),
            text=reading.text(request.label.text, "label.text", least=1),
            source=reading.choice(request.label.source, _STORED_SOURCES, "label.source", pb.LabelSource),
            score=_score(request.label),
            author=reading.text(request.label.author, "label.author"),
        )
        stored = await asyncio.to_thread(self._store.set, stored)
        return messages.SetLabelResponse(label=_message(model, stored))

    async def DeleteLabel(  # noqa: N802
        self, request: messages.DeleteLabelRequest, context: Context
    ) -> messages.DeleteLabelResponse:
        model, layer = self._find_layer(request)
        subject = _subject(request, model, layer)
        if not await asyncio.to_thread(self._store.delete, subject):
            name = "direction" if subject.channel is None else str(subject.channel)
            raise NotFound("label", f"{layer.path}:{name}", "nobody has named this neuron")
        return messages.DeleteLabelResponse()

    async def ListLabels(  # noqa: N802
        self, request: messages.ListLabelsRequest, context: Context
    ) -> messages.ListLabelsResponse:
        model = reading.find_model(self._engine.models, request.model)
        layer = reading.find_layer(model, request.layer, "layer").path if request.layer else ""
        size = reading.in_range(request.page_size or _DEFAULT_PAGE, "page_size", 1, _MAX_PAGE)
        if request.page_token and not _PAGE_TOKEN.fullmatch(request.page_token):
            raise InvalidArgument("page_token", "should be the next_page_token of the page before.")
        offset = int(request.page_token or 0)
        page = await asyncio.to_thread(
            lambda: self._store.list(
                model.version, layer, history=request.include_history, limit=size + 1, offset=offset
            )
        )
        labels = self._fitting([_message(model, stored) for stored in page[:size]])
        return messages.ListLabelsResponse(
            labels=labels, next_page_token=str(offset + len(labels)) if len(page) > len(labels) else ""
        )

    def _fitting(self, labels: Sequence[messages.NeuronLabel]) -> Sequence[messages.NeuronLabel]:
        """Return as many labels as a reply holds, at least one: those of directions have a number for each channel."""
        sizes = accumulate(label.ByteSize() for label in labels)
        return labels[: max(1, sum(size <= self._max_page_bytes for size in sizes))]

    def _find_layer(
        self, request: messages.SetLabelRequest | messages.DeleteLabelRequest
    ) -> tuple[ModelDescription, LayerDescription]:
        model = reading.find_model(self._engine.models, request.model)
        return model, reading.find_layer(model, request.layer, "layer")


def _message(model: ModelDescription, stored: StoredLabel) -> messages.NeuronLabel:
    message = messages.NeuronLabel(
        model=encoding.model_ref(model),
        layer=stored.layer,
        channel=stored.channel or 0,
        label=encoding.label(Label.of(stored)),
    )
    if stored.direction is not None:
        message.direction.CopyFrom(tensor_from_array(np.frombuffer(stored.direction, "<f4")))
    if stored.created:
        message.create_time.FromDatetime(stored.created)
    if stored.ended:
        message.end_time.FromDatetime(stored.ended)
    return message


def _subject(
    request: messages.SetLabelRequest | messages.DeleteLabelRequest, model: ModelDescription, layer: LayerDescription
) -> StoredLabel:
    """Return a label without a text of the channel or direction that a request names."""
    if request.HasField("direction"):
        direction = direction_bytes(reading.read_direction(request.direction, "direction", layer))
        return StoredLabel(model.version, layer.path, None, "", LabelSource.NONE, direction=direction)
    reading.in_range(request.channel, "channel", 0, layer.channels - 1, f"{layer.path} has {layer.channels} channels")
    return StoredLabel(model.version, layer.path, request.channel, "", LabelSource.NONE)


def _score(label: pb.Label) -> float | None:
    if not label.HasField("score"):
        return None
    if not 0 <= label.score <= 1:  # NaN neither
        raise InvalidArgument("label.score", f"is {label.score:g}; it should be 0 to 1.")
    return label.score
