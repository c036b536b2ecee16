"""SemanticDictionary: the request as a question, and the answer as the reply."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from striate.tensors import tensor_from_array
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.explain.dictionaries import Dictionary, DictionaryQuestion, Word
from striate_service.explain.images import GivenImages
from striate_service.explain.indexing import MAX_EXAMPLES
from striate_service.models.description import LayerDescription
from striate_service.servicers import encoding, reading
from striate_service.servicers.interpretability.reader import Reader
from striate_service.servicers.interpretability.targets import read_targets, refuse_boxes

_MAX_NEURONS, _USUAL_NEURONS = 64, 6
_STEPS, _MAX_STEPS = 32, 256  # with 32, effects add up to within 2% (measured on layers of SqueezeNet and `parts`)
_MAX_POSITION_ICONS = 256  # a map of 16 x 16: some minutes of rendering on a CPU
_ATTRIBUTIONS: dict[int, Literal["gradient", "path", "none"]] = {
    messages.ATTRIBUTION_UNSPECIFIED: "gradient",
    messages.ATTRIBUTION_GRADIENT_TIMES_ACTIVATION: "gradient",
    messages.ATTRIBUTION_INTEGRATED_GRADIENTS: "path",
    messages.ATTRIBUTION_NONE: "none",
}

_BY_MAGNITUDE: dict[int, bool] = {
    messages.NEURON_ORDER_UNSPECIFIED: True,
    messages.NEURON_ORDER_MAGNITUDE: True,
    messages.NEURON_ORDER_ACTIVATION: False,
}


def read(request: messages.SemanticDictionaryRequest, reader: Reader) -> DictionaryQuestion:
    model = reading.find_model(reader.models, request.model)
    layer = reading.find_map(model, request.layer, "layer")
    neurons = request.neurons if request.HasField("neurons") else min(_USUAL_NEURONS, layer.channels)
    reading.in_range(neurons, "neurons", 1, min(_MAX_NEURONS, layer.channels))
    positions = _positions(request, layer)
    prefix_tokens = reading.find_prefix_tokens(request.prefix_tokens, [layer])
    attribution = reading.choice(request.attribution, _ATTRIBUTIONS, "attribution", messages.Attribution)
    if request.smooth_max_pool and attribution == "path":
        raise InvalidArgument(
            "smooth_max_pool", "goes with gradient times activation, and not with integrated gradients."
        )
    targets = read_targets(request, model)
    if attribution == "path":
        refuse_boxes(targets, "attribution", "INTEGRATED_GRADIENTS")
    examples = reading.in_range(request.examples, "examples", 0, MAX_EXAMPLES)
    icons = len(positions) + len(prefix_tokens)
    if request.position_icons and icons > _MAX_POSITION_ICONS:
        raise InvalidArgument(
            "position_icons",
            f"are for at most {_MAX_POSITION_ICONS} positions, and these are {icons}; choose `positions`.",
        )
    return DictionaryQuestion(
        model=model,
        layer=layer,
        neurons=neurons,
        by_magnitude=reading.choice(request.order, _BY_MAGNITUDE, "order", messages.NeuronOrder),
        positions=positions,
        prefix_tokens=prefix_tokens,
        targets=targets,
        class_count=reading.class_count(request, model),
        attribution=attribution,
        steps=reading.in_range(request.steps if request.HasField("steps") else _STEPS, "steps", 1, _MAX_STEPS),
        smooth_max_pool=request.smooth_max_pool and attribution == "gradient",
        examples=examples,
        position_icons=request.position_icons,
        icons=reading.read_icon_options(request, model, reader.recipes),
        image=GivenImages(
            [reading.read_image(request.image, "image", model.preprocessing)], reading.read_fit(request.fit, "fit")
        ),
    )


def write(question: DictionaryQuestion, answer: Dictionary) -> messages.SemanticDictionaryResponse:
    model, result = question.model, answer.result
    return messages.SemanticDictionaryResponse(
        model=encoding.model_ref(model),
        layer=encoding.layer(question.layer),
        view=encoding.view(answer.view),
        predictions=next(iter(encoding.predictions(model, result.predictions)), None),
        magnitude=tensor_from_array(result.magnitude),
        prefix_tokens=(question.layer.prefix_tokens[index] or str(index) for index in question.prefix_tokens),
        prefix_magnitudes=result.prefix_magnitude[list(question.prefix_tokens)].tolist(),
        positions=tensor_from_array(question.positions),
        channels=tensor_from_array(answer.channels),
        activations=tensor_from_array(answer.activations),
        classes=encoding.targets(model, result.targets),
        effects=tensor_from_array(answer.effects),
        neurons=map(_word, answer.words),
        logits=encoding.numbers(result.values),
        baseline_logits=encoding.numbers(result.baseline),
        position_icons=map(encoding.icon, answer.position_icons),
        smooth_max_pool=question.smooth_max_pool,
    )


def _positions(request: messages.SemanticDictionaryRequest, layer: LayerDescription) -> NDArray[np.int32]:
    """Return the positions that are asked for, [P, 2], all by default."""
    if chosen := reading.find_positions(request.positions, [layer]):
        return np.array(chosen, np.int32)
    return np.stack(np.divmod(np.arange(layer.positions, dtype=np.int32), layer.grid[1]), axis=1)


def _word(word: Word) -> messages.Neuron:
    return messages.Neuron(
        channel=word.channel,
        label=encoding.label(word.label),
        icon=encoding.icon(word.icon),
        examples=encoding.examples(word.examples),
        negative_icon=encoding.icon(word.negative_icon) if word.negative_icon else None,
    )
