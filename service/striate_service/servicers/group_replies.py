"""FactorizeResponse: what Factorize and FactorizeLayers say of the groups of one layer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.backends.local.shared_memory import Arrays
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.servicers import encoding
from striate_service.servicers.decoding import DecodedImages
from striate_service.servicers.groups import Look, crops, group_messages, overlays
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.naming import Namer
from striate_service.techniques.objective import Direction, Objective


class GroupReplies:
    def __init__(self, icons: IconFinder, namer: Namer) -> None:
        self._icons = icons
        self._namer = namer

    def check(
        self, request: messages.FactorizeRequest | messages.FactorizeLayersRequest, model: ModelDescription
    ) -> None:
        """Refuse what this cannot answer, before it costs anything."""
        self._icons.recipe(request.recipe, model)

    async def in_images(
        self,
        request: messages.FactorizeRequest | messages.FactorizeLayersRequest,
        model: ModelDescription,
        layer: LayerDescription,
        decoded: DecodedImages,
        arrays: Arrays,
        look: Look,
        terms: Terms,
    ) -> messages.FactorizeResponse:
        """Return groups with their icons and names, what they do for classes, and where they are in the images."""
        classes = arrays["classes"].tolist()
        images, *_, components = arrays["spatial"].shape
        effects = encoding.effects(arrays, (images, components, 0))
        directions = arrays["directions"]
        labels = await self._namer.groups(model, layer.path, directions, effects.sum(0), classes)
        objectives: list[Objective] = [Direction(tuple(direction.tolist())) for direction in directions]
        icons = await self._icons.icons(
            model,
            layer.path,
            objectives,
            self._icons.recipe(request.recipe, model),
            omit=request.omit_icons,
            wait=request.wait_for_icons,
            deadline=terms.deadline,
        )
        response = group_response(arrays, look, icons, labels)
        response.model.CopyFrom(encoding.model_ref(model))
        response.layer.CopyFrom(encoding.layer(layer))
        response.predictions.extend(encoding.predictions(model, arrays))
        response.classes.extend(encoding.classes(model, classes))
        response.effects.CopyFrom(tensor_from_array(effects))
        if "residual" in arrays:
            response.residual_effects.CopyFrom(tensor_from_array(arrays["residual"]))
        for group, effect in zip(response.groups, effects.sum(0), strict=True):
            group.effects.extend(effect.tolist())
        if "kl_divergence" in arrays:
            response.fidelity.extend(
                messages.Fidelity(kl_divergence=divergence, same_top_class=same)
                for divergence, same in zip(
                    arrays["kl_divergence"].tolist(), arrays["same_top_class"].tolist(), strict=True
                )
            )
        response.views.extend(decoded.views)
        for k, group in enumerate(response.groups):
            group.crops.extend(crops(arrays["spatial"][..., k], decoded.views))
        pictures = list(decoded.pixels) if decoded.pixels.dtype == np.uint8 else None
        size = model.input_shape[1:]
        response.overlays.extend(await asyncio.to_thread(overlays, arrays["spatial"], look, pictures, size))
        return response


def group_response(
    arrays: Arrays, look: Look, icons: Sequence[pb.Icon], labels: Sequence[pb.Label]
) -> messages.FactorizeResponse:
    """Return what a factorization is by itself."""
    directions = arrays["directions"]
    return messages.FactorizeResponse(
        spatial=tensor_from_array(arrays["spatial"]),
        directions=tensor_from_array(directions),
        relative_error=float(arrays["relative_error"]),
        groups=group_messages(directions, arrays["importance"], look.colours, icons, labels),
        residual_effects=tensor_from_array(np.zeros((len(arrays["spatial"]), 0), np.float32)),
        choices=[
            messages.Choice(components=int(number), relative_error=error, explained_variance=1 - error * error)
            for number, error in arrays.get("choices", np.zeros((0, 2))).tolist()
        ],
    )
