"""Naming neurons through LabelService: for the client that blocks and for the one that is awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate.calls import enum_value, label
from striate.connection import Connected
from striate.results import Label
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2
from striate.v1.labels_pb2_grpc import LabelServiceStub

if TYPE_CHECKING:
    from striate.v1.labels_pb2_grpc import LabelServiceAsyncStub


class LabelCalls(Connected):
    _labels: LabelServiceStub

    def set_label(
        self,
        layer: str,
        channel: int,
        text: str,
        *,
        model: str = "",
        source: str = "person",
        score: float | None = None,
        author: str = "",
        timeout: float | None = None,
    ) -> Label:
        """Name a neuron."""
        label = _label_message(text, source, score, author)
        request = labels_pb2.SetLabelRequest(model=model, layer=layer, channel=channel, label=label)
        with self._errors():
            response = self._labels.SetLabel(request, **self._how(timeout))
        return _label_result(response.label)

    def delete_label(self, layer: str, channel: int, *, model: str = "", timeout: float | None = None) -> None:
        """Take a neuron's name away."""
        request = labels_pb2.DeleteLabelRequest(model=model, layer=layer, channel=channel)
        with self._errors():
            self._labels.DeleteLabel(request, **self._how(timeout))

    def labels(
        self, layer: str = "", *, model: str = "", history: bool = False, timeout: float | None = None
    ) -> list[Label]:
        """Return the names of a layer's neurons, or of all.

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
        channel: int,
        text: str,
        *,
        model: str = "",
        source: str = "person",
        score: float | None = None,
        author: str = "",
        timeout: float | None = None,
    ) -> Label:
        """Name a neuron."""
        label = _label_message(text, source, score, author)
        request = labels_pb2.SetLabelRequest(model=model, layer=layer, channel=channel, label=label)
        with self._errors():
            response = await self._labels.SetLabel(request, **self._how(timeout))
        return _label_result(response.label)

    async def delete_label(self, layer: str, channel: int, *, model: str = "", timeout: float | None = None) -> None:
        """Take a neuron's name away."""
        request = labels_pb2.DeleteLabelRequest(model=model, layer=layer, channel=channel)
        with self._errors():
            await self._labels.DeleteLabel(request, **self._how(timeout))

    async def labels(
        self, layer: str = "", *, model: str = "", history: bool = False, timeout: float | None = None
    ) -> list[Label]:
        """Return the names of a layer's neurons, or of all.

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


def _label_result(message: labels_pb2.NeuronLabel) -> Label:
    return label(message.label, message.layer, message.channel)
