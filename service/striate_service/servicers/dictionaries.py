"""SemanticDictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.backends.local.shared_memory import Arrays
from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription
from striate_service.scheduling.engine import Terms
from striate_service.servicers import encoding, validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.icons import IconFinder
from striate_service.servicers.indexing import MAX_EXAMPLES
from striate_service.servicers.naming import Namer
from striate_service.stores.examples import ExampleStore
from striate_service.techniques.objective import Channel, Direction, Objective
from striate_service.techniques.tasks import DictionaryTask

_MAX_NEURONS = 64
_STEPS, _MAX_STEPS = 32, 256  # with 32, effects add up to within 2% (measured on layers of SqueezeNet and `parts`)
_MAX_POSITION_ICONS = 256  # a map of 16 x 16: some minutes of rendering on a CPU
_ATTRIBUTIONS: dict[int, Literal["gradient", "path", "none"]] = {
    messages.ATTRIBUTION_UNSPECIFIED: "gradient",
    messages.ATTRIBUTION_GRADIENT_TIMES_ACTIVATION: "gradient",
    messages.ATTRIBUTION_INTEGRATED_GRADIENTS: "path",
    messages.ATTRIBUTION_NONE: "none",
}
_NOTHING = np.empty(0, np.float32)


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
        if request.position_icons and len(positions) > _MAX_POSITION_ICONS:
            raise InvalidArgument(
                "position_icons",
                f"are for at most {_MAX_POSITION_ICONS} positions, and these are {len(positions)}; choose `positions`.",
            )
        task = DictionaryTask(
            model=model.name,
            classes=validation.find_classes(model, request.class_names),
            class_count=validation.class_count(request, model),
            layer=layer.path,
            neurons=neurons,
            attribution=_attribution(request),
            steps=validation.in_range(request.steps if request.HasField("steps") else _STEPS, "steps", 1, _MAX_STEPS),
            vectors=tuple(map(tuple, positions.tolist())) if request.position_icons else (),
        )
        recipe = self._icons.recipe(request.recipe, model)
        decoded, arrays = await self._explainer.explain(task, model, [request.image], "image", request.fit, terms)
        rows, columns = positions.T
        channels, activations = arrays["channels"][rows, columns], arrays["activations"][rows, columns]
        classes = arrays["classes"].tolist()
        effects = encoding.effects(arrays, (*channels.shape, 0), (rows, columns))
        mentioned = [int(channel) for channel in np.unique(channels)]
        total_effects = np.zeros((layer.channels, effects.shape[2]), np.float32)
        np.add.at(total_effects, channels, effects)
        labels = await self._namer.neurons(
            model, layer.path, {channel: total_effects[channel] for channel in mentioned}, classes
        )
        objectives: list[Objective] = [*map(Channel, mentioned), *_directions(arrays)]
        icons = await self._icons.icons(
            model,
            layer.path,
            objectives,
            recipe,
            omit=request.omit_icons,
            wait=request.wait_for_icons,
            deadline=terms.deadline,
        )
        found = await asyncio.to_thread(self._examples.get, model.version, layer.path) if request.examples else None
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
            neurons=[
                messages.Neuron(
                    channel=channel,
                    label=labels[channel],
                    icon=picture,
                    examples=encoding.examples(found, channel, request.examples) if found else (),
                )
                for channel, picture in zip(mentioned, icons, strict=False)
            ],
            logits=arrays.get("class_logits", _NOTHING).tolist(),
            baseline_logits=arrays.get("baseline_logits", _NOTHING).tolist(),
            position_icons=_position_icons(arrays, icons[len(mentioned) :]),
        )


def _attribution(request: messages.SemanticDictionaryRequest) -> Literal["gradient", "path", "none"]:
    if request.attribution not in _ATTRIBUTIONS:
        raise InvalidArgument(
            "attribution", "should be GRADIENT_TIMES_ACTIVATION, INTEGRATED_GRADIENTS or NONE of its enum."
        )
    return _ATTRIBUTIONS[request.attribution]


def _directions(arrays: Arrays) -> list[Direction]:
    """Return the directions of the positions' activation vectors, but for those that are 0."""
    vectors = arrays.get("vectors", np.empty((0, 1), np.float32))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # To 3 decimals, so that the same image finds its icons again: what computes it, torch or ONNX Runtime, and in what
    # batch, changes the 6th.
    unit = np.round(vectors / np.where(lengths > 0, lengths, 1), 3)
    return [Direction(tuple(each)) for each in unit.tolist() if any(each)]


def _position_icons(arrays: Arrays, icons: Sequence[pb.Icon]) -> list[pb.Icon]:
    """Return an icon a position, from those of `_directions`."""
    remaining, none = iter(icons), pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED)
    return [next(remaining) if vector.any() else none for vector in arrays.get("vectors", ())]


def _positions(request: messages.SemanticDictionaryRequest, layer: LayerDescription) -> NDArray[np.int32]:
    """Return the positions that are asked for, [P, 2], all by default."""
    _, height, width = layer.shape
    if chosen := validation.find_positions(request.positions, [layer]):
        return np.array(chosen, np.int32)
    return np.stack(np.divmod(np.arange(height * width, dtype=np.int32), width), axis=1)
