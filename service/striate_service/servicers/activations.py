"""Activations and StreamActivations."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from striate.tensors import write_tensor
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription
from striate_service.scheduling.engine import Terms
from striate_service.servicers import encoding, validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.interceptor import status_of
from striate_service.techniques.tasks import ActivationsTask

_REDUCTIONS = {
    messages.REDUCTION_UNSPECIFIED: "none",
    messages.REDUCTION_NONE: "none",
    messages.REDUCTION_MEAN: "mean",
    messages.REDUCTION_MAX: "max",
}
_STREAM_WINDOW = 32  # requests of one stream that are worked on at a time; more wait in gRPC's own flow control


class Activations:
    def __init__(self, explainer: Explainer, max_reply_bytes: int) -> None:
        self._explainer = explainer
        self._max_reply_bytes = max_reply_bytes

    async def answer(self, request: messages.ActivationsRequest, terms: Terms) -> messages.ActivationsResponse:
        model = validation.find_model(self._explainer.models, request.model)
        layers = validation.find_layers(model, request.layers)
        if request.dtype not in (pb.DATA_TYPE_UNSPECIFIED, pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT16):
            raise InvalidArgument("dtype", "should be FLOAT32 or FLOAT16.")
        if request.reduction not in _REDUCTIONS:
            raise InvalidArgument("reduction", "should be NONE, MEAN or MAX.")
        task = ActivationsTask(
            model=model.name,
            classes=(),
            class_count=validation.class_count(request, model),
            layers=tuple(layer.path for layer in layers),
            reduction=_REDUCTIONS[request.reduction],  # type: ignore[arg-type]
            channels=validation.find_channels(request.channels, layers),
            half=request.dtype == pb.DATA_TYPE_FLOAT16,
            positions=validation.find_positions(request.positions, layers),
        )
        self._check_reply_size(task, layers, len(request.images))
        decoded, arrays = await self._explainer.explain(task, model, request.images, "images", request.fit, terms)
        response = messages.ActivationsResponse(
            model=encoding.model_ref(model), predictions=encoding.predictions(model, arrays), views=decoded.views
        )
        for layer in layers:
            write_tensor(response.layers.add(layer=encoding.layer(layer)).tensor, arrays[layer.path])
        return response

    async def stream(
        self, requests: AsyncIterator[messages.StreamActivationsRequest], terms: Terms
    ) -> AsyncGenerator[messages.StreamActivationsResponse, None]:
        """Answer requests as they finish; one that fails ends nothing else."""

        async def answer(item: messages.StreamActivationsRequest) -> messages.StreamActivationsResponse:
            message = messages.StreamActivationsResponse(id=item.id)
            try:
                message.response.CopyFrom(await self.answer(item.request, terms))
            except Exception as error:
                status = status_of(error)
                message.error.CopyFrom(
                    messages.StreamError(code=status.code, message=status.message, details=status.details)
                )
            return message

        async def next_item() -> messages.StreamActivationsRequest | None:
            return await anext(aiter(requests), None)

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

    def _check_reply_size(self, task: ActivationsTask, layers: Sequence[LayerDescription], images: int) -> None:
        numbers = 0
        for layer in layers:
            channels = len(task.channels) or layer.channels
            positions = len(task.positions) or math.prod(layer.shape) // layer.channels
            numbers += channels * (positions if task.reduction == "none" else 1)
        size, limit = numbers * images * (2 if task.half else 4), self._max_reply_bytes
        if size > limit:
            raise InvalidArgument(
                "layers",
                f"would make a reply of {size / 2**20:.0f} MiB, and at most {limit / 2**20:.0f} MiB can be sent; "
                "reduce by mean or max, choose channels or positions, ask for FLOAT16, or send fewer images or layers "
                "at a time.",
            )
