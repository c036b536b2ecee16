"""ListLabels: the names of a model's neurons."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.named_neurons import read_neuron_label
from striate.calls.options import ModelOption
from striate.results.neurons import Label
from striate.v1 import labels_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ListLabelsCall(ModelOption):
    """What are the names of these channels and directions?"""

    layer: str = ""
    """A path or alias; empty: all layers."""
    history: bool = False
    """Also the names that have been replaced or deleted, newest first."""

    def request(self, page_token: str = "") -> messages.ListLabelsRequest:
        return messages.ListLabelsRequest(
            model=self.model, layer=self.layer, include_history=self.history, page_token=page_token
        )

    def result(self, response: messages.ListLabelsResponse) -> list[Label]:
        return [read_neuron_label(label) for label in response.labels]
