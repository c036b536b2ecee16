"""The calls of LabelService: names of neurons."""

from __future__ import annotations

import grpc

from striate._async.base import Connected
from striate.calls.delete_label import DeleteLabelCall
from striate.calls.list_labels import ListLabelsCall
from striate.calls.named_neurons import NamedNeuron
from striate.calls.set_label import SetLabelCall
from striate.results.neurons import Label
from striate.transport import Connection
from striate.v1.labels_pb2_grpc import LabelServiceStub


class LabelCalls(Connected):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._labels = LabelServiceStub(self._channel)

    async def set_label(
        self,
        layer: str,
        neuron: NamedNeuron,
        text: str,
        *,
        model: str = "",
        source: str = "person",
        score: float | None = None,
        author: str = "",
        model_version: str = "",
        timeout: float | None = None,
    ) -> Label:
        """Name a channel, or a direction such as a group's: see `calls.set_label`."""
        call = SetLabelCall(
            layer=layer,
            neuron=neuron,
            text=text,
            model=model,
            source=source,
            score=score,
            author=author,
            model_version=model_version,
        )
        request = call.request()
        with self._connection.errors():
            response = await self._labels.SetLabel(request, **self._connection.call_options(timeout))
        return call.result(response)

    async def delete_label(
        self, layer: str, neuron: NamedNeuron, *, model: str = "", timeout: float | None = None
    ) -> None:
        """Take away the name of a channel or direction: see `calls.delete_label`."""
        call = DeleteLabelCall(layer=layer, neuron=neuron, model=model)
        request = call.request()
        with self._connection.errors():
            await self._labels.DeleteLabel(request, **self._connection.call_options(timeout))

    async def labels(
        self, layer: str = "", *, model: str = "", history: bool = False, timeout: float | None = None
    ) -> list[Label]:
        """Return the names of a layer's channels and directions, or of all: see `calls.list_labels`."""
        call = ListLabelsCall(layer=layer, model=model, history=history)
        request = call.request()
        found: list[Label] = []
        while True:
            with self._connection.errors():
                response = await self._labels.ListLabels(request, **self._connection.call_options(timeout))
            found += call.result(response)
            if not response.next_page_token:
                return found
            request = call.request(response.next_page_token)
