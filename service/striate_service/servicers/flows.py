"""FactorizeLayers: the groups of several layers, and how those of one feed those of the next."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from striate.tensors import tensor_from_array
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.servicers import validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.factorizations import group_count
from striate_service.servicers.group_replies import GroupReplies
from striate_service.servicers.groups import Look
from striate_service.techniques.tasks import FactorizeLayersTask

_MAX_LAYERS = 8


class GroupFlows:
    def __init__(self, explainer: Explainer, replies: GroupReplies) -> None:
        self._explainer = explainer
        self._replies = replies

    async def answer(self, request: messages.FactorizeLayersRequest, terms: Terms) -> messages.FactorizeLayersResponse:
        model = validation.find_model(self._explainer.models, request.model)
        layers = _layers(request, model)
        self._replies.check(request, model)
        images = len(request.images) or 1
        task = FactorizeLayersTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=validation.class_count(request, model),
            layers=tuple(layer.path for layer in layers),
            # As many as every layer has room for, where the request does not say.
            components=min(group_count(request, (images, *layer.shape)) for layer in layers),
            rectify=request.rectify,
        )
        decoded, arrays = await self._explainer.explain(task, model, request.images, "images", request.fit, terms)
        shared = {name: array for name, array in arrays.items() if " " not in name}
        of_layer = {
            layer.path: shared
            | {
                name.removeprefix(f"{layer.path} "): array
                for name, array in arrays.items()
                if name.startswith(f"{layer.path} ")
            }
            for layer in layers
        }
        replies = await asyncio.gather(
            *(
                self._replies.in_images(request, model, layer, decoded, found, Look.of(found["spatial"]), terms)
                for layer, found in zip(layers, of_layer.values(), strict=True)
            )
        )
        return messages.FactorizeLayersResponse(
            layers=replies,
            flows=[
                messages.Flow(
                    influence=tensor_from_array(of_layer[layer.path]["flow"]),
                    residual=tensor_from_array(of_layer[layer.path]["flow_residual"]),
                )
                for layer in layers[:-1]
            ],
        )


def _layers(request: messages.FactorizeLayersRequest, model: ModelDescription) -> list[LayerDescription]:
    if not 2 <= len(request.layers) <= _MAX_LAYERS:
        raise InvalidArgument(
            "layers",
            f"holds {len(request.layers)}; name 2 to {_MAX_LAYERS} layers, in the order in which they compute.",
        )
    layers = [
        validation.find_spatial_layer(model, name, f"layers[{number}]") for number, name in enumerate(request.layers)
    ]
    order = {layer.path: place for place, layer in enumerate(model.layers)}
    for number, (earlier, later) in enumerate(pairwise(layers), start=1):
        if order[earlier.path] >= order[later.path]:
            raise InvalidArgument(
                f"layers[{number}]",
                f"{later.path!r} does not compute after {earlier.path!r}; name layers in the order of ListModels.",
            )
    return layers
