"""SetLabel: naming a neuron."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.fields import enum_value
from striate.calls.named_neurons import NamedNeuron, neuron_field, read_neuron_label
from striate.calls.options import ModelOption
from striate.results.neurons import Label
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class SetLabelCall(ModelOption):
    """Name this channel or direction."""

    layer: str
    """A path or alias."""
    neuron: NamedNeuron
    """A channel, or a direction [C]; groups whose direction is close to it (a cosine similarity of 0.9) bear its name
    too."""
    text: str
    """The name."""
    source: str = "person"
    """Where the name comes from: "person", "dissection" or "imported"."""
    score: float | None = None
    """How well the name fits, by the measure of its source."""
    author: str = ""
    """Who names it."""
    model_version: str = ""
    """Refuse the name unless the model is of this version."""

    def request(self) -> messages.SetLabelRequest:
        source = enum_value(pb.LabelSource, "LABEL_SOURCE", self.source, "source")
        return messages.SetLabelRequest(
            model=self.model,
            layer=self.layer,
            label=pb.Label(text=self.text, source=source, score=self.score, author=self.author),
            model_version=self.model_version,
            **neuron_field(self.neuron),
        )

    def result(self, response: messages.SetLabelResponse) -> Label:
        return read_neuron_label(response.label)
