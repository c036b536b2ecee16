"""ExampleService: natural examples of channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from striate.v1 import examples_pb2 as messages
from striate.v1.examples_pb2_grpc import ExampleServiceServicer

from striate_service.errors import InvalidArgument, NotFound
from striate_service.scheduling.engine import Engine
from striate_service.scheduling.job import Lane
from striate_service.servicers import encoding, validation
from striate_service.servicers.indexing import MAX_EXAMPLES, Indexing
from striate_service.servicers.naming import Namer
from striate_service.servicers.validation import Context
from striate_service.stores.examples import ExampleStore, LayerExamples

_USUAL_CLASSES, _MAX_CLASSES = 5, 1000


class ExampleServicer(ExampleServiceServicer):
    def __init__(
        self, engine: Engine, indexing: Indexing, store: ExampleStore, namer: Namer, max_reply_bytes: int
    ) -> None:
        self._engine = engine
        self._indexing = indexing
        self._store = store
        self._namer = namer
        self._max_reply_bytes = max_reply_bytes

    async def IndexExamples(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[messages.IndexExamplesRequest], context: Context
    ) -> AsyncIterator[messages.IndexExamplesResponse]:
        terms = replace(validation.terms(context, Lane.BATCH), patient=True)
        async with aclosing(self._indexing.index(aiter(request_iterator), terms)) as responses:
            async for response in responses:
                yield response

    async def GetExamples(  # noqa: N802
        self, request: messages.GetExamplesRequest, context: Context
    ) -> messages.GetExamplesResponse:
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_layer(model, request.layer, "layer")
        channels = validation.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        most = validation.in_range(request.examples, "examples", 0, MAX_EXAMPLES)
        most = most if request.HasField("examples") else MAX_EXAMPLES
        classes = validation.in_range(request.classes, "classes", 0, _MAX_CLASSES)
        classes = classes if request.HasField("classes") else _USUAL_CLASSES
        found = await asyncio.to_thread(self._store.get, model.version, layer.path)
        if found is None:
            advice = f"send a folder of images: striate index FOLDER --layer {layer.path} --model {model.name}"
            raise NotFound("index of", layer.path, advice)
        labels = await self._namer.named(model, layer.path, channels)
        response = messages.GetExamplesResponse(
            model=encoding.model_ref(model),
            layer=encoding.layer(layer),
            images=found.images,
            shares=found.shares,
            channels=[
                messages.ChannelExamples(
                    channel=channel,
                    label=labels.get(channel),
                    examples=encoding.examples(found, channel, most),
                    quantiles=found.quantiles[channel].tolist(),
                    classes=_classes(found, channel, classes),
                )
                for channel in channels
            ],
        )
        response.index_time.FromDatetime(found.created)
        if response.ByteSize() > self._max_reply_bytes:
            raise InvalidArgument(
                "channels",
                f"would make a reply of {response.ByteSize() / 2**20:.0f} MiB, and at most "
                f"{self._max_reply_bytes / 2**20:.0f} MiB can be sent; ask for fewer channels or examples at a time.",
            )
        return response


def _classes(found: LayerExamples, channel: int, count: int) -> list[messages.ClassResponse]:
    means = found.class_means[channel]
    return [
        messages.ClassResponse(
            class_name=found.classes[number], images=int(found.class_counts[number]), mean_peak=float(means[number])
        )
        for number in np.argsort(-means, kind="stable")[:count].tolist()
    ]
