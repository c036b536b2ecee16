"""ExampleService: natural examples of channels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from striate.v1 import examples_pb2 as messages
from striate.v1.examples_pb2_grpc import ExampleServiceServicer

from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.explain.examples import ChannelExamples, Examples
from striate_service.explain.indexing import MAX_EXAMPLES, ExampleIndexing, IndexPlan, IndexProgress
from striate_service.explain.labels import NO_LABEL
from striate_service.explain.streams import StreamedImage
from striate_service.models.description import ModelDescription, Preprocessing
from striate_service.scheduling.engine import Engine
from striate_service.servicers import encoding, reading
from striate_service.servicers.context import Context, read_stream_terms
from striate_service.servicers.streams import image_messages, read_source, read_start, skipped_messages

_USUAL_INDEXED_EXAMPLES = 5
_LONGEST_NAME = 1000  # characters of an image: a path
_USUAL_CLASSES, _MAX_CLASSES = 5, 1000


class ExampleServicer(ExampleServiceServicer):
    def __init__(self, engine: Engine, examples: Examples, indexing: ExampleIndexing, settings: Settings) -> None:
        self._engine = engine
        self._examples = examples
        self._indexing = indexing
        self._max_images = settings.max_images_per_request
        self._max_reply_bytes = settings.max_message_bytes

    async def IndexExamples(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[messages.IndexExamplesRequest], context: Context
    ) -> AsyncIterator[messages.IndexExamplesResponse]:
        terms = read_stream_terms(context)
        requests = aiter(request_iterator)
        plan = _read_plan(await anext(requests, None), self._engine.models)
        images = self._read_images(requests, plan.model.preprocessing)
        async with aclosing(self._indexing.index(plan, images, terms)) as updates:
            async for progress in updates:
                yield _progress_message(progress)

    async def GetExamples(  # noqa: N802
        self, request: messages.GetExamplesRequest, context: Context
    ) -> messages.GetExamplesResponse:
        model = reading.find_model(self._engine.models, request.model)
        layer = reading.find_layer(model, request.layer, "layer")
        channels = reading.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        examples = reading.in_range(request.examples, "examples", 0, MAX_EXAMPLES)
        classes = reading.in_range(request.classes, "classes", 0, _MAX_CLASSES)
        found = await self._examples.of_channels(
            model,
            layer,
            channels,
            examples=examples if request.HasField("examples") else MAX_EXAMPLES,
            classes=classes if request.HasField("classes") else _USUAL_CLASSES,
        )
        response = messages.GetExamplesResponse(
            model=encoding.model_ref(model),
            layer=encoding.layer(layer),
            images=found.images,
            shares=found.shares,
            channels=map(_channel_message, found.channels),
        )
        response.index_time.FromDatetime(found.created)
        size = response.ByteSize()
        if size > self._max_reply_bytes:
            raise InvalidArgument(
                "channels",
                f"would make a reply of {size / 2**20:.0f} MiB, and at most "
                f"{self._max_reply_bytes / 2**20:.0f} MiB can be sent; ask for fewer channels or examples at a time.",
            )
        return response

    async def _read_images(
        self, requests: AsyncIterator[messages.IndexExamplesRequest], preprocessing: Preprocessing
    ) -> AsyncGenerator[Sequence[StreamedImage], None]:
        async for given in image_messages(requests, self._max_images):
            for number, each in enumerate(given):
                reading.text(each.class_name, f"images[{number}].class_name")
                reading.text(each.name, f"images[{number}].name", most=_LONGEST_NAME)
                if each.image.WhichOneof("source") == "preprocessed":
                    raise InvalidArgument(
                        f"images[{number}].image", "is preprocessed and cannot be shown; send a file."
                    )
            yield [StreamedImage(read_source(each.image, preprocessing), each.name, each.class_name) for each in given]


def _read_plan(first: messages.IndexExamplesRequest | None, models: Sequence[ModelDescription]) -> IndexPlan:
    start = read_start(first, "says which model and layers to index")
    model = reading.find_model(models, start.model)
    layers = reading.find_layers(model, start.layers)
    for number, layer in enumerate(layers):
        reading.find_map(model, layer.path, f"layers[{number}]")
    examples = start.examples if start.HasField("examples") else _USUAL_INDEXED_EXAMPLES
    examples = reading.in_range(examples, "examples", 1, MAX_EXAMPLES)
    return IndexPlan(model, layers, examples, reading.read_fit(start.fit, "start.fit"))


def _progress_message(progress: IndexProgress) -> messages.IndexExamplesResponse:
    return messages.IndexExamplesResponse(
        indexed=progress.indexed,
        skipped=skipped_messages(progress.skipped),
        layers=[
            messages.IndexedLayer(layer=encoding.layer(layer), named_channels=examples.named_channels)
            for layer, examples in (progress.stored or {}).items()
        ],
    )


def _channel_message(found: ChannelExamples) -> messages.ChannelExamples:
    return messages.ChannelExamples(
        channel=found.channel,
        label=encoding.label(found.label) if found.label != NO_LABEL else None,
        examples=encoding.examples(found.examples),
        quantiles=found.quantiles,
        classes=[
            messages.ClassResponse(class_name=each.class_name, images=each.images, mean_peak=each.mean_peak)
            for each in found.classes
        ],
    )
