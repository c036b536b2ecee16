"""InterpretabilityService: validate, hand on, encode."""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from striate.tensors import array_from_tensor, tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceServicer

from striate_service.config import Settings
from striate_service.engine import Engine, Terms
from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.rendering import IconRenderer
from striate_service.scheduling.job import Lane
from striate_service.servicers import encoding, validation
from striate_service.servicers.explanations import DecodedImages, IconFinder, ImageDecoder, Namer, icon
from striate_service.servicers.interceptor import status_of
from striate_service.servicers.validation import Context
from striate_service.techniques import palette
from striate_service.techniques.recipe import Channel, Direction, Objective
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import (
    ActivationsTask,
    DictionaryTask,
    FactorizeActivationsTask,
    FactorizeTask,
)

_MAX_COMPONENTS = 64
_MAX_NEURONS = 64
_STRONGEST_CHANNELS = 5  # of a group, that the reply names
_REDUCTIONS = {
    messages.REDUCTION_UNSPECIFIED: "none",
    messages.REDUCTION_NONE: "none",
    messages.REDUCTION_MEAN: "mean",
    messages.REDUCTION_MAX: "max",
}
_STREAM_WINDOW = 32  # requests of one stream that are worked on at a time; more wait in gRPC's own flow control
_PROGRESS_INTERVAL = 0.5  # seconds between two messages of RenderIcons
_OVERLAY_QUANTILE = 0.9  # of the positions' total activation, that is fully opaque: a single peak dims no map


class InterpretabilityServicer(InterpretabilityServiceServicer):
    def __init__(
        self, engine: Engine, decoder: ImageDecoder, renderer: IconRenderer, namer: Namer, settings: Settings
    ) -> None:
        self._engine = engine
        self._decoder = decoder
        self._renderer = renderer
        self._icons = IconFinder(renderer)
        self._namer = namer
        self._settings = settings

    async def Activations(  # noqa: N802 - gRPC's name
        self, request: messages.ActivationsRequest, context: Context
    ) -> messages.ActivationsResponse:
        return await self._activations(request, validation.terms(context))

    async def StreamActivations(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.StreamActivationsRequest], context: Context
    ) -> AsyncIterator[messages.StreamActivationsResponse]:
        terms = replace(validation.terms(context, Lane.BATCH), patient=True)

        async def answer(item: messages.StreamActivationsRequest) -> messages.StreamActivationsResponse:
            try:
                response = await self._activations(item.request, terms)
            except Exception as error:
                status = status_of(error)
                failure = messages.StreamError(code=status.code, message=status.message, details=status.details)
                return messages.StreamActivationsResponse(id=item.id, error=failure)
            return messages.StreamActivationsResponse(id=item.id, response=response)

        async def next_item() -> messages.StreamActivationsRequest | None:
            return await anext(aiter(request_iterator), None)

        # The next request and the answers are awaited together: a caller may wait for one before it sends the next.
        answers: set[asyncio.Task[messages.StreamActivationsResponse]] = set()
        upcoming: asyncio.Task[messages.StreamActivationsRequest | None] | None = asyncio.create_task(next_item())
        try:
            while upcoming or answers:
                listening = {upcoming} if upcoming and len(answers) < _STREAM_WINDOW else set()
                done, _ = await asyncio.wait(answers | listening, return_when=asyncio.FIRST_COMPLETED)
                if upcoming in done:
                    item = upcoming.result()
                    upcoming = None if item is None else asyncio.create_task(next_item())
                    if item is not None:
                        answers.add(asyncio.create_task(answer(item)))
                finished = [task for task in answers if task in done]
                answers.difference_update(finished)
                for task in finished:
                    yield task.result()
        finally:
            if upcoming:
                upcoming.cancel()
            for task in answers:
                task.cancel()

    async def SemanticDictionary(  # noqa: N802
        self, request: messages.SemanticDictionaryRequest, context: Context
    ) -> messages.SemanticDictionaryResponse:
        terms = validation.terms(context)
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_spatial_layer(model, request.layer, "layer")
        wanted = request.neurons if request.HasField("neurons") else min(6, layer.channels)
        neurons = validation.in_range(wanted, "neurons", 1, min(_MAX_NEURONS, layer.channels))
        positions = _positions(request, layer)
        task = DictionaryTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=_class_count(request, model),
            layer=layer.path,
            neurons=neurons,
        )
        decoded, arrays = await self._carry_out(task, model, [request.image], "image", request.fit, terms)
        rows, columns = positions.T
        channels, activations = arrays["channels"][rows, columns], arrays["activations"][rows, columns]
        classes = arrays["classes"].tolist()
        effects = _effects(arrays, (*channels.shape, 0), (rows, columns))
        words = await self._words(
            model, layer, channels, effects, classes, request.omit_icons, request.wait_for_icons, terms.deadline
        )
        return messages.SemanticDictionaryResponse(
            model=encoding.model_ref(model),
            layer=encoding.layer(layer),
            view=decoded.views[0],
            predictions=next(iter(encoding.predictions(model, arrays)), None),
            magnitude=tensor_from_array(arrays["magnitude"]),
            positions=tensor_from_array(positions),
            channels=tensor_from_array(channels),
            activations=tensor_from_array(activations),
            classes=encoding.classes(model, classes),
            effects=tensor_from_array(effects),
            neurons=words,
        )

    async def Factorize(  # noqa: N802
        self, request: messages.FactorizeRequest, context: Context
    ) -> messages.FactorizeResponse:
        match request.WhichOneof("source"):
            case "images":
                return await self._factorize_images(request, context)
            case "activations":
                return await self._factorize_activations(request, context)
        raise InvalidArgument("source", "is empty; set images or activations.")

    async def RenderIcons(  # noqa: N802
        self, request: messages.RenderIconsRequest, context: Context
    ) -> AsyncIterator[messages.RenderIconsResponse]:
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_spatial_layer(model, request.layer, "layer")
        channels = validation.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        channels = tuple(dict.fromkeys(channels))
        objectives = [Channel(channel) for channel in channels]
        renderings = await self._renderer.request(model, layer.path, objectives, urgent=False)
        labels = await self._namer.neurons(model, layer.path, dict.fromkeys(channels, _NO_EFFECT), [])
        started, first_progress = time.monotonic(), sum(rendering.progress for rendering in renderings)
        unsent = dict(zip(channels, renderings, strict=True))
        try:
            while unsent:
                pending = [rendering.icon for rendering in unsent.values() if not rendering.icon.done()]
                if len(pending) == len(unsent):
                    await asyncio.wait(pending, timeout=_PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
                finished = {channel: each for channel, each in unsent.items() if each.icon.done()}
                unsent = {channel: each for channel, each in unsent.items() if channel not in finished}
                progress = sum(rendering.progress for rendering in renderings)
                speed = (progress - first_progress) / max(time.monotonic() - started, 1e-3)
                yield messages.RenderIconsResponse(
                    model=encoding.model_ref(model),
                    layer=encoding.layer(layer),
                    completed=len(renderings) - len(unsent),
                    total=len(renderings),
                    progress=progress / len(renderings),
                    remaining_seconds=(len(renderings) - progress) / speed if speed else None,
                    neurons=[
                        messages.Neuron(
                            channel=channel,
                            label=labels[channel],
                            icon=pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED) if request.omit_icons else icon(each),
                        )
                        for channel, each in finished.items()
                    ],
                )
        finally:
            self._renderer.release(list(unsent.values()))

    async def _activations(self, request: messages.ActivationsRequest, terms: Terms) -> messages.ActivationsResponse:
        model = validation.find_model(self._engine.models, request.model)
        if not request.layers:
            raise InvalidArgument("layers", "is empty; name at least one layer.")
        layers = [validation.find_layer(model, name, f"layers[{number}]") for number, name in enumerate(request.layers)]
        if len({layer.path for layer in layers}) < len(layers):
            raise InvalidArgument("layers", "names a layer twice.")
        if request.dtype not in (pb.DATA_TYPE_UNSPECIFIED, pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT16):
            raise InvalidArgument("dtype", "should be FLOAT32 or FLOAT16.")
        if request.reduction not in _REDUCTIONS:
            raise InvalidArgument("reduction", "should be NONE, MEAN or MAX.")
        task = ActivationsTask(
            model=model.name,
            classes=(),
            class_count=_class_count(request, model),
            layers=tuple(layer.path for layer in layers),
            reduction=_REDUCTIONS[request.reduction],  # type: ignore[arg-type]
            channels=validation.find_channels(request.channels, layers),
            half=request.dtype == pb.DATA_TYPE_FLOAT16,
        )
        self._check_reply_size(task, layers, len(request.images))
        decoded, arrays = await self._carry_out(task, model, request.images, "images", request.fit, terms)
        return messages.ActivationsResponse(
            model=encoding.model_ref(model),
            layers=[
                messages.LayerActivations(layer=encoding.layer(layer), tensor=tensor_from_array(arrays[layer.path]))
                for layer in layers
            ],
            predictions=encoding.predictions(model, arrays),
            views=decoded.views,
        )

    async def _carry_out(
        self,
        task: ActivationsTask | DictionaryTask | FactorizeTask,
        model: ModelDescription,
        given: Sequence[pb.Image],
        field: str,
        fit: pb.Fit,
        terms: Terms,
    ) -> tuple[DecodedImages, Arrays]:
        """Check images, get them a place or a refusal, and only then decode and explain them."""
        self._decoder.check(given, field, model)
        preprocessed = given[0].WhichOneof("source") == "preprocessed"
        kind = type(task).__name__
        async with self._engine.admission(
            kind, model.name, len(given), preprocessed=preprocessed, terms=terms
        ) as place:
            decoded = await self._decoder.decode(given, field, model, fit)
            return decoded, await place.run(task, {"images": decoded.pixels})

    def _check_reply_size(self, task: ActivationsTask, layers: list[LayerDescription], images: int) -> None:
        numbers = 0
        for layer in layers:
            channels = len(task.channels) or layer.channels
            numbers += channels if task.reduction != "none" else math.prod(layer.shape) // layer.channels * channels
        size, limit = numbers * images * (2 if task.half else 4), self._settings.max_message_bytes
        if size > limit:
            raise InvalidArgument(
                "layers",
                f"would make a reply of {size / 2**20:.0f} MiB, and at most {limit / 2**20:.0f} MiB can be sent; "
                "reduce by mean or max, choose channels, ask for FLOAT16, or send fewer images or layers at a time.",
            )

    async def _words(
        self,
        model: ModelDescription,
        layer: LayerDescription,
        channels: NDArray[np.int32],
        effects: NDArray[np.float32],
        classes: list[int],
        omit: bool,
        wait: bool,
        deadline: float,
    ) -> list[messages.Neuron]:
        """Name and picture every channel that the positions mention."""
        mentioned = [int(channel) for channel in np.unique(channels)]
        total_effects = {channel: effects[channels == channel].sum(0) for channel in mentioned}
        labels = await self._namer.neurons(model, layer.path, total_effects, classes)
        objectives: list[Objective] = [Channel(channel) for channel in mentioned]
        icons = await self._icons.icons(model, layer.path, objectives, omit=omit, wait=wait, deadline=deadline)
        return [
            messages.Neuron(channel=channel, label=labels[channel], icon=picture)
            for channel, picture in zip(mentioned, icons, strict=True)
        ]

    async def _factorize_images(
        self, request: messages.FactorizeRequest, context: Context
    ) -> messages.FactorizeResponse:
        terms = validation.terms(context)
        model = validation.find_model(self._engine.models, request.model)
        layer = validation.find_spatial_layer(model, request.images.layer, "images.layer")
        batch = request.images.images
        components = _components(request, (len(batch) or 1, *layer.shape))
        task = FactorizeTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=_class_count(request, model),
            layer=layer.path,
            components=components,
            rectify=request.rectify,
        )
        decoded, arrays = await self._carry_out(task, model, batch, "images.images", request.images.fit, terms)
        classes = arrays["classes"].tolist()
        effects = _effects(arrays, (len(batch), components, 0))
        residual = arrays.get("residual", np.zeros((len(batch), 0), np.float32))
        directions = arrays["directions"]
        labels = await self._namer.groups(model, layer.path, directions, effects.sum(0), classes)
        objectives: list[Objective] = [Direction(tuple(direction.tolist())) for direction in directions]
        icons = await self._icons.icons(
            model, layer.path, objectives, omit=request.omit_icons, wait=request.wait_for_icons, deadline=terms.deadline
        )
        groups = _Groups.of(arrays, list(decoded.pixels) if decoded.pixels.dtype == np.uint8 else None)
        return messages.FactorizeResponse(
            model=encoding.model_ref(model),
            layer=encoding.layer(layer),
            views=decoded.views,
            predictions=encoding.predictions(model, arrays),
            spatial=tensor_from_array(arrays["spatial"]),
            directions=tensor_from_array(directions),
            relative_error=float(arrays["relative_error"]),
            groups=groups.messages(icons, labels, effects.sum(0)),
            classes=encoding.classes(model, classes),
            effects=tensor_from_array(effects),
            residual_effects=tensor_from_array(residual),
            overlays=await asyncio.to_thread(groups.overlays),
        )

    async def _factorize_activations(
        self, request: messages.FactorizeRequest, context: Context
    ) -> messages.FactorizeResponse:
        try:
            activations = array_from_tensor(request.activations)
        except ValueError as error:
            raise InvalidArgument("activations", str(error)) from error
        if activations.dtype.kind != "f" or activations.ndim != 4 or 0 in activations.shape:
            raise InvalidArgument(
                "activations",
                "should be float32 or float16 [N, C, H, W], and is "
                f"{activations.dtype.name} {list(activations.shape)}.",
            )
        components = _components(request, activations.shape)
        arrays = await self._engine.submit(
            FactorizeActivationsTask(components, request.rectify),
            {"activations": activations.astype(np.float32)},
            validation.terms(context),
        )
        groups = _Groups.of(arrays, None)
        nothing = [pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED)] * components
        return messages.FactorizeResponse(
            spatial=tensor_from_array(arrays["spatial"]),
            directions=tensor_from_array(arrays["directions"]),
            relative_error=float(arrays["relative_error"]),
            groups=groups.messages(nothing, [pb.Label()] * components, np.zeros((components, 0), np.float32)),
            effects=tensor_from_array(np.zeros((len(activations), components, 0), np.float32)),
            residual_effects=tensor_from_array(np.zeros((len(activations), 0), np.float32)),
            overlays=await asyncio.to_thread(groups.overlays),
        )


_NO_EFFECT = np.zeros(0, np.float32)


@dataclass(frozen=True)
class _Groups:
    """A factorization, and how to show it."""

    arrays: Arrays
    colours: NDArray[np.uint8]
    images: list[NDArray[np.uint8]] | None

    @classmethod
    def of(cls, arrays: Arrays, images: list[NDArray[np.uint8]] | None) -> _Groups:
        return cls(arrays, palette.colours(len(arrays["directions"])), images)

    def messages(
        self, icons: list[pb.Icon], labels: list[pb.Label], effects: NDArray[np.float32]
    ) -> list[messages.Group]:
        directions = self.arrays["directions"]
        strongest = np.argsort(-directions, axis=1, kind="stable")[:, :_STRONGEST_CHANNELS]
        return [
            messages.Group(
                color=encoding.color(self.colours[k]),
                icon=icons[k],
                label=labels[k],
                importance=float(self.arrays["importance"][k]),
                channels=[int(channel) for channel in strongest[k] if directions[k, channel] > 0],
                effects=effects[k].tolist(),
            )
            for k in range(len(directions))
        ]

    def overlays(self) -> list[bytes]:
        """One WebP file an image."""
        spatial = self.arrays["spatial"]
        scale = float(np.quantile(spatial.sum(axis=3), _OVERLAY_QUANTILE))
        overlays = []
        for number, maps in enumerate(spatial):
            image = self.images[number] if self.images else None
            buffer = io.BytesIO()
            picture = palette.overlay(image, maps, self.colours, scale=scale)
            Pillow.fromarray(picture).save(buffer, "WEBP", quality=90)
            overlays.append(buffer.getvalue())
        return overlays


def _class_count(
    request: messages.ActivationsRequest | messages.SemanticDictionaryRequest | messages.FactorizeRequest,
    model: ModelDescription,
) -> int:
    return validation.class_count(request.classes if request.HasField("classes") else None, model)


def _components(request: messages.FactorizeRequest, shape: tuple[int, ...]) -> int:
    images, channels, height, width = shape
    most = min(images * height * width, channels, _MAX_COMPONENTS)
    components = request.components if request.HasField("components") else min(6, most)
    why = f"the activations are {images * height * width} positions of {channels} channels"
    return validation.in_range(components, "components", 1, most, why)


def _positions(request: messages.SemanticDictionaryRequest, layer: LayerDescription) -> NDArray[np.int32]:
    """Return the positions that are asked for, [P, 2], all by default."""
    _, height, width = layer.shape
    for number, position in enumerate(request.positions):
        validation.in_range(position.row, f"positions[{number}].row", 0, height - 1, f"{layer.path} has {height} rows")
        validation.in_range(
            position.column, f"positions[{number}].column", 0, width - 1, f"{layer.path} has {width} columns"
        )
    if request.positions:
        return np.array([(position.row, position.column) for position in request.positions], np.int32)
    return np.stack(np.divmod(np.arange(height * width, dtype=np.int32), width), axis=1)


def _effects(arrays: Arrays, empty: tuple[int, ...], where: tuple[NDArray[np.int32], ...] = ()) -> NDArray[np.float32]:
    """Return the effects at chosen positions; without classes, none."""
    if "effects" not in arrays:
        return np.zeros(empty, np.float32)
    effects: NDArray[np.float32] = arrays["effects"].astype(np.float32, copy=False)
    return effects[where] if where else effects
