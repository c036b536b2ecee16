"""Activations: the request as a question, and the answer as the reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from striate.tensors import write_tensor
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.explain.image_runner import ImageAnswer, ImageQuestion
from striate_service.models.description import LayerDescription
from striate_service.servicers import encoding, reading
from striate_service.servicers.interpretability.reader import Reader
from striate_service.techniques.tasks.activations import ActivationsResult, ActivationsTask

_REDUCTIONS: dict[int, Literal["none", "mean", "max"]] = {
    messages.REDUCTION_UNSPECIFIED: "none",
    messages.REDUCTION_NONE: "none",
    messages.REDUCTION_MEAN: "mean",
    messages.REDUCTION_MAX: "max",
}
_HALF: dict[int, bool] = {pb.DATA_TYPE_UNSPECIFIED: False, pb.DATA_TYPE_FLOAT32: False, pb.DATA_TYPE_FLOAT16: True}


def read(request: messages.ActivationsRequest, reader: Reader) -> ImageQuestion[ActivationsResult]:
    model = reading.find_model(reader.models, request.model)
    layers = reading.find_layers(model, request.layers)
    reduction = reading.choice(request.reduction, _REDUCTIONS, "reduction", messages.Reduction)
    _check_only_maps_are_selected_from(request, layers, reduction)
    task = ActivationsTask(
        model=model.name,
        targets=(),
        class_count=reading.class_count(request, model),
        layers=tuple(layer.path for layer in layers),
        reduction=reduction,
        channels=reading.find_channels(request.channels, layers),
        positions=reading.find_positions(request.positions, layers),
        prefix_tokens=reading.find_prefix_tokens(request.prefix_tokens, layers),
        half=reading.choice(request.dtype, _HALF, "dtype", pb.DataType),
    )
    return ImageQuestion(model, reader.images(request.images, "images", request.fit, model), task)


def write(
    question: ImageQuestion[ActivationsResult], answer: ImageAnswer[ActivationsResult]
) -> messages.ActivationsResponse:
    response = messages.ActivationsResponse(
        model=encoding.model_ref(question.model),
        predictions=encoding.predictions(question.model, answer.result.predictions),
        views=map(encoding.view, answer.views),
    )
    for path, outputs in answer.result.layers.items():
        layer = question.model.layer_by_name[path]
        write_tensor(response.layers.add(layer=encoding.layer(layer)).tensor, outputs)
    return response


def _check_only_maps_are_selected_from(
    request: messages.ActivationsRequest, layers: Sequence[LayerDescription], reduction: str
) -> None:
    """Refuse to choose channels of an output, or to reduce it, where nobody knows what its axes are."""
    for field, is_set in (("channels", bool(request.channels)), ("reduction", reduction != "none")):
        if is_set and not all(layer.is_map for layer in layers):
            odd = next(layer for layer in layers if not layer.is_map)
            raise InvalidArgument(field, f"needs maps, and {odd.path} {list(odd.shape)} holds none; leave it away.")
