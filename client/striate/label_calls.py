"""Naming neurons through LabelService: for the client that blocks and for the one that is awaited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timezone
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from striate.calls import enum_value, label
from striate.connection import Connected
from striate.results import Label
from striate.tensors import array_from_tensor, tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2
from striate.v1.labels_pb2_grpc import LabelServiceStub

if TYPE_CHECKING:
    from striate.v1.labels_pb2_grpc import LabelServiceAsyncStub


Neuron: TypeAlias = "int | Sequence[float] | NDArray[Any]"
"""A channel, or a direction in the space of channels."""


class LabelCalls(Connected):
    _labels: LabelServiceStub

    def set_label(
        self,
        layer: str,
        neuron: Neuron,
        text: str,
        *,
        model: str = "",
        source: str = "person",
        score: float | None = None,
        author: str = "",
        model_version: str = "",
        timeout: float | None = None,
    ) -> Label:
        """Name a channel, or a direction such as a group's.

        Args:
            neuron: a channel, or a direction [C]; groups of a direction like it bear the name too.
            model_version: refuse it unless the model has these weights.
        """
        label = _label_message(text, source, score, author)
        request = labels_pb2.SetLabelRequest(
            model=model, layer=layer, label=label, model_version=model_version, **_subject(neuron)
        )
        with self._errors():
            response = self._labels.SetLabel(request, **self._how(timeout))
        return _label_result(response.label)

    def delete_label(self, layer: str, neuron: Neuron, *, model: str = "", timeout: float | None = None) -> None:
        """Take away the name of a channel or direction."""
        request = labels_pb2.DeleteLabelRequest(model=model, layer=layer, **_subject(neuron))
        with self._errors():
            self._labels.DeleteLabel(request, **self._how(timeout))

    def labels(
        self, layer: str = "", *, model: str = "", history: bool = False, timeout: float | None = None
    ) -> list[Label]:
        """Return the names of a layer's channels and directions, or of all.

        Args:
            history: also those that have been replaced or deleted, newest first.
        """
        request = labels_pb2.ListLabelsRequest(model=model, layer=layer, include_history=history)
        found: list[Label] = []
        while True:
            with self._errors():
                response = self._labels.ListLabels(request, **self._how(timeout))
            found += [_label_result(label) for label in response.labels]
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token


class AwaitedLabelCalls(Connected):
    _labels: LabelServiceAsyncStub

    async def set_label(
        self,
        layer: str,
        neuron: Neuron,
        text: str,
        *,
        model: str = "",
        source: str = "person",
        score: float | None = None,
        author: str = "",
        model_version: str = "",
        timeout: float | None = None,
    ) -> Label:
        """Name a channel, or a direction such as a group's.

        Args:
            neuron: a channel, or a direction [C]; groups of a direction like it bear the name too.
            model_version: refuse it unless the model has these weights.
        """
        label = _label_message(text, source, score, author)
        request = labels_pb2.SetLabelRequest(
            model=model, layer=layer, label=label, model_version=model_version, **_subject(neuron)
        )
        with self._errors():
            response = await self._labels.SetLabel(request, **self._how(timeout))
        return _label_result(response.label)

    async def delete_label(self, layer: str, neuron: Neuron, *, model: str = "", timeout: float | None = None) -> None:
        """Take away the name of a channel or direction."""
        request = labels_pb2.DeleteLabelRequest(model=model, layer=layer, **_subject(neuron))
        with self._errors():
            await self._labels.DeleteLabel(request, **self._how(timeout))

    async def labels(
        self, layer: str = "", *, model: str = "", history: bool = False, timeout: float | None = None
    ) -> list[Label]:
        """Return the names of a layer's channels and directions, or of all.

        Args:
            history: also those that have been replaced or deleted, newest first.
        """
        request = labels_pb2.ListLabelsRequest(model=model, layer=layer, include_history=history)
        found: list[Label] = []
        while True:
            with self._errors():
                response = await self._labels.ListLabels(request, **self._how(timeout))
            found += [_label_result(label) for label in response.labels]
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token


def _label_message(text: str, source: str, score: float | None, author: str) -> pb.Label:
    return pb.Label(
        text=text, source=enum_value(pb.LabelSource, "LABEL_SOURCE", source, "source"), score=score, author=author
    )


def _subject(neuron: Neuron) -> dict[str, Any]:
    """What a name is of, as requests have it."""
    if isinstance(neuron, int | np.integer):
        return {"channel": int(neuron)}
    return {"direction": tensor_from_array(np.asarray(neuron, np.float32))}


def _label_result(message: labels_pb2.NeuronLabel) -> Label:
    is_direction = message.HasField("direction")
    return replace(
        label(message.label, message.layer, None if is_direction else message.channel),
        direction=tuple(array_from_tensor(message.direction).tolist()) if is_direction else None,
        model_version=message.model.version,
        created=message.create_time.ToDatetime(timezone.utc) if message.HasField("create_time") else None,
        ended=message.end_time.ToDatetime(timezone.utc) if message.HasField("end_time") else None,
    )
