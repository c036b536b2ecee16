"""DeleteLabel: taking a neuron's name away."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.named_neurons import NamedNeuron, neuron_field
from striate.calls.options import ModelOption
from striate.v1 import labels_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class DeleteLabelCall(ModelOption):
    """Take away the name of this channel or direction."""

    layer: str
    """A path or alias."""
    neuron: NamedNeuron
    """A channel, or a direction [C]."""

    def request(self) -> messages.DeleteLabelRequest:
        return messages.DeleteLabelRequest(model=self.model, layer=self.layer, **neuron_field(self.neuron))
