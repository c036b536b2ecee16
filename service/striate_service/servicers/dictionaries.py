"""SemanticDictionary."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray
from striate.tensors import tensor_from_array
from striate.v1 import interpretability_pb2 as messages

from striate_service.engine import Terms
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.servicers import encoding, validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.indexing import MAX_EXAMPLES
from striate_service.servicers.naming import Namer
from striate_service.stores.examples import ExampleStore
from striate_service.techniques.recipe import Channel, Objective
from striate_service.workers.tasks import DictionaryTask

_MAX_NEURONS = 64


class SemanticDictionaries:
    def __init__(self, explainer: Explainer, icons: IconFinder, namer: Namer, examples: ExampleStore) -> None:
        self._explainer = explainer
        self._icons = icons
        self._namer = namer
        self._examples = examples

    async def answer(
        self, request: messages.SemanticDictionaryRequest, terms: Terms
    ) -> messages.SemanticDictionaryResponse:
        model = validation.find_model(self._explainer.models, request.model)
        layer = validation.find_spatial_layer(model, request.layer, "layer")
        wanted = request.neurons if request.HasField("neurons") else min(6, layer.channels)
        neurons = validation.in_range(wanted, "neurons", 1, min(_MAX_NEURONS, layer.channels))
        positions = _positions(request, layer)
        validation.in_range(request.examples, "examples", 0, MAX_EXAMPLES)
        task = DictionaryTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=validation.class_count(request, model),
            layer=layer.path,
            neurons=neurons,
        )
        decoded, arrays = await self._explainer.explain(task, model, [request.image], "image", request.fit, terms)
        rows, columns = positions.T
        channels, activations = arrays["channels"][rows, columns], arrays["activations"][rows, columns]
        classes = arrays["classes"].tolist()
        effects = encoding.effects(arrays, (*channels.shape, 0), (rows, columns))
        words = await self._words(request, model, layer, channels, effects, classes, terms)
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

    async def _words(
        self,
        request: messages.SemanticDictionaryRequest,
        model: ModelDescription,
        layer: LayerDescription,
        channels: NDArray[np.int32],
        effects: NDArray[np.float32],
        classes: list[int],
        terms: Terms,
    ) -> list[messages.Neuron]:
        """Name and picture every channel that the positions mention."""
        mentioned = [int(channel) for channel in np.unique(channels)]
        total_effects = {channel: effects[channels == channel].sum(0) for channel in mentioned}
        labels = await self._namer.neurons(model, layer.path, total_effects, classes)
        objectives: list[Objective] = [Channel(channel) for channel in mentioned]
        icons = await self._icons.icons(
            model,
            layer.path,
            objectives,
            omit=request.omit_icons,
            wait=request.wait_for_icons,
            deadline=terms.deadline,
        )
        found = await asyncio.to_thread(self._examples.get, model.version, layer.path) if request.examples else None
        return [
            messages.Neuron(
                channel=channel,
                label=labels[channel],
                icon=picture,
                examples=encoding.examples(found, channel, request.examples) if found else (),
            )
            for channel, picture in zip(mentioned, icons, strict=True)
        ]


def _positions(request: messages.SemanticDictionaryRequest, layer: LayerDescription) -> NDArray[np.int32]:
    """Return the positions that are asked for, [P, 2], all by default."""
    _, height, width = layer.shape
    if chosen := validation.find_positions(request.positions, [layer]):
        return np.array(chosen, np.int32)
    return np.stack(np.divmod(np.arange(height * width, dtype=np.int32), width), axis=1)
