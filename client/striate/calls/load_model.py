"""LoadModel: having the server explain one more model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from striate.calls.replies import read_model
from striate.results.models import Model
from striate.v1 import models_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class LoadModelCall:
    """Explain one more model."""

    name: str
    """What requests will call it."""
    architecture: str
    """torchvision's name of a network, "timm:NAME", "package.module:factory" and so on: docs/models.md."""
    weights: str
    """A file on the server's machine, or "torchvision"."""
    classes: str = ""
    """A file of class names on the server's machine."""
    preprocessing: Mapping[str, Any] | None = None
    """resize and crop (a number, or height and width), also interpolation, mean and std; by default as the weights
    tell."""
    arguments: Mapping[str, Any] | None = None
    """What is passed to the factory, or the library's builder."""
    activation: str = ""
    """What makes probabilities of logits: "softmax", "sigmoid" or "none"; by default softmax, sigmoid of one logit."""
    devices: Sequence[str] = ()
    """Those of the server's devices that are to hold the model; all by default."""

    def request(self) -> messages.LoadModelRequest:
        return messages.LoadModelRequest(
            name=self.name,
            architecture=self.architecture,
            weights=self.weights,
            classes=self.classes,
            preprocessing=None if self.preprocessing is None else _preprocessing(self.preprocessing),
            devices=self.devices,
            arguments={name: json.dumps(value) for name, value in (self.arguments or {}).items()},
            activation=self.activation,
        )

    def result(self, response: messages.LoadModelResponse) -> Model:
        return read_model(response.model)


def _preprocessing(given: Mapping[str, Any]) -> messages.Preprocessing:
    """Return a message whose sides are one number, or height and width."""
    sides = {name: given[name] for name in ("resize", "crop") if name in given}
    message = messages.Preprocessing(**{name: value for name, value in given.items() if name not in sides})
    for name, value in sides.items():
        if isinstance(value, Sequence):
            getattr(message, f"{name}_to").extend(value)
        else:
            setattr(message, name, value)
    return message
