"""Factorize."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from striate.tensors import array_from_tensor, tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.engine import Engine, Terms
from striate_service.errors import InvalidArgument
from striate_service.servicers import encoding, validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.naming import Namer
from striate_service.techniques import palette
from striate_service.techniques.recipe import Direction, Objective
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import FactorizeActivationsTask, FactorizeTask

_MAX_COMPONENTS = 64
_STRONGEST_CHANNELS = 5  # of a group, that the reply names
_OVERLAY_QUANTILE = 0.9  # of the positions' total activation, that is fully opaque: a single peak dims no map


class Factorizations:
    def __init__(self, explainer: Explainer, engine: Engine, icons: IconFinder, namer: Namer) -> None:
        self._explainer = explainer
        self._engine = engine
        self._icons = icons
        self._namer = namer

    async def answer(self, request: messages.FactorizeRequest, terms: Terms) -> messages.FactorizeResponse:
        match request.WhichOneof("source"):
            case "images":
                return await self._factorize_images(request, terms)
            case "activations":
                return await self._factorize_activations(request, terms)
        raise InvalidArgument("source", "is empty; set images or activations.")

    async def _factorize_images(self, request: messages.FactorizeRequest, terms: Terms) -> messages.FactorizeResponse:
        model = validation.find_model(self._explainer.models, request.model)
        layer = validation.find_spatial_layer(model, request.images.layer, "images.layer")
        batch = request.images.images
        components = _components(request, (len(batch) or 1, *layer.shape))
        task = FactorizeTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=validation.class_count(request, model),
            layer=layer.path,
            components=components,
            rectify=request.rectify,
        )
        decoded, arrays = await self._explainer.explain(task, model, batch, "images.images", request.images.fit, terms)
        classes = arrays["classes"].tolist()
        effects = encoding.effects(arrays, (len(batch), components, 0))
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
        self, request: messages.FactorizeRequest, terms: Terms
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
            terms,
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


def _components(request: messages.FactorizeRequest, shape: tuple[int, ...]) -> int:
    images, channels, height, width = shape
    most = min(images * height * width, channels, _MAX_COMPONENTS)
    components = request.components if request.HasField("components") else min(6, most)
    why = f"the activations are {images * height * width} positions of {channels} channels"
    return validation.in_range(components, "components", 1, most, why)
