"""What LabelService names: channels, and directions in the space of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timezone
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from striate.calls.replies import read_label
from striate.results.neurons import Label
from striate.tensors import array_from_tensor, tensor_from_array
from striate.v1 import labels_pb2 as messages

NamedNeuron: TypeAlias = "int | Sequence[float] | NDArray[Any]"
"""A channel, or a direction in the space of channels."""


def neuron_field(neuron: NamedNeuron) -> dict[str, Any]:
    """Return the field of a request that says which neuron is meant."""
    if isinstance(neuron, int | np.integer):
        return {"channel": int(neuron)}
    return {"direction": tensor_from_array(np.asarray(neuron, np.float32))}


def read_neuron_label(message: messages.NeuronLabel) -> Label:
    is_direction = message.HasField("direction")
    return replace(
        read_label(message.label, message.layer, None if is_direction else message.channel),
        direction=tuple(array_from_tensor(message.direction).tolist()) if is_direction else None,
        model_version=message.model.version,
        created=message.create_time.ToDatetime(timezone.utc) if message.HasField("create_time") else None,
        ended=message.end_time.ToDatetime(timezone.utc) if message.HasField("end_time") else None,
    )
