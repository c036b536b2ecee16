"""What InterpretabilityService answers, as its replies."""

from __future__ import annotations

from typing import Any

import numpy as np
from striate.tensors import tensor_from_array, write_tensor
from striate.v1 import interpretability_pb2 as messages

from striate_service.explain.activations import ActivationsAnswer, ActivationsQuestion
from striate_service.explain.dictionaries import Dictionary, DictionaryQuestion, Word
from striate_service.explain.flows import FlowsAnswer
from striate_service.explain.groups import GroupsAnswer
from striate_service.explain.icon_progress import FinishedNeuron, RenderProgress, RenderQuestion
from striate_service.servicers import encoding
from striate_service.techniques.tasks.base import Array
from striate_service.techniques.tasks.groups import GroupsResult


def activations(question: ActivationsQuestion, answer: ActivationsAnswer) -> messages.ActivationsResponse:
    response = messages.ActivationsResponse(
        model=encoding.model_ref(question.model),
        predictions=encoding.predictions(question.model, answer.result.predictions),
        views=map(encoding.view, answer.views),
    )
    for layer in question.layers:
        write_tensor(response.layers.add(layer=encoding.layer(layer)).tensor, answer.result.layers[layer.path])
    return response


def dictionary(question: DictionaryQuestion, answer: Dictionary) -> messages.SemanticDictionaryResponse:
    model, result = question.model, answer.result
    return messages.SemanticDictionaryResponse(
        model=encoding.model_ref(model),
        layer=encoding.layer(question.layer),
        view=encoding.view(answer.view),
        predictions=next(iter(encoding.predictions(model, result.predictions)), None),
        magnitude=tensor_from_array(result.magnitude),
        positions=tensor_from_array(question.positions),
        channels=tensor_from_array(answer.channels),
        activations=tensor_from_array(answer.activations),
        classes=encoding.classes(model, result.classes.tolist()),
        effects=tensor_from_array(answer.effects),
        neurons=map(_word, answer.words),
        logits=_numbers(result.class_logits),
        baseline_logits=_numbers(result.baseline_logits),
        position_icons=map(encoding.icon, answer.position_icons),
    )


def groups(answer: GroupsAnswer) -> messages.FactorizeResponse:
    result = answer.result
    nothing_left = np.zeros((len(result.spatial), 0), np.float32)
    response = messages.FactorizeResponse(
        spatial=tensor_from_array(result.spatial),
        directions=tensor_from_array(result.directions),
        relative_error=float(result.relative_error),
        groups=encoding.groups(answer.groups),
        effects=tensor_from_array(answer.effects),
        residual_effects=tensor_from_array(nothing_left if result.residual is None else result.residual),
        choices=_choices(result),
        fidelity=_fidelity(result),
        views=map(encoding.view, answer.views),
        overlays=answer.overlays,
        basis=answer.basis,
    )
    if answer.model and answer.layer:
        response.model.CopyFrom(encoding.model_ref(answer.model))
        response.layer.CopyFrom(encoding.layer(answer.layer))
        response.predictions.extend(encoding.predictions(answer.model, result.predictions))
        response.classes.extend(encoding.classes(answer.model, _numbers(result.classes)))
    if answer.sobol_indices is not None:
        write_tensor(response.sobol_indices, answer.sobol_indices)
    return response


def flows(answer: FlowsAnswer) -> messages.FactorizeLayersResponse:
    return messages.FactorizeLayersResponse(
        layers=map(groups, answer.layers),
        flows=[
            messages.Flow(influence=tensor_from_array(flow.influence), residual=tensor_from_array(flow.residual))
            for flow in answer.flows
        ],
    )


def rendering(question: RenderQuestion, progress: RenderProgress) -> messages.RenderIconsResponse:
    return messages.RenderIconsResponse(
        model=encoding.model_ref(question.model),
        layer=encoding.layer(question.layer),
        completed=progress.completed,
        total=progress.total,
        progress=progress.share,
        remaining_seconds=progress.remaining_seconds,
        neurons=map(_finished, progress.finished),
    )


def _word(word: Word) -> messages.Neuron:
    return messages.Neuron(
        channel=word.channel,
        label=encoding.label(word.label),
        icon=encoding.icon(word.icon),
        examples=encoding.examples(word.examples),
    )


def _finished(neuron: FinishedNeuron) -> messages.Neuron:
    first, *others = map(encoding.icon, neuron.icons)
    return messages.Neuron(channel=neuron.channel, label=encoding.label(neuron.label), icon=first, other_facets=others)


def _fidelity(result: GroupsResult) -> list[messages.Fidelity]:
    """One an image; none where no classes are explained."""
    return [
        messages.Fidelity(kl_divergence=divergence, same_top_class=same)
        for divergence, same in zip(_numbers(result.kl_divergence), _numbers(result.same_top_class), strict=True)
    ]


def _choices(result: GroupsResult) -> list[messages.Choice]:
    return [
        messages.Choice(components=int(number), relative_error=error, explained_variance=1 - error * error)
        for number, error in _numbers(result.choices)
    ]


def _numbers(array: Array | None) -> list[Any]:
    """Return an array's elements; none where there is no array."""
    return [] if array is None else list(array.tolist())
