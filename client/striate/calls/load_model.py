"""LoadModel: having the server explain one more model."""

from __future__ import annotations

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
    """torchvision's name of a classifier, or "package.module:factory"."""
    weights: str
    """A file on the server's machine, or "torchvision"."""
    classes: str = ""
    """A file of class names on the server's machine."""
    preprocessing: Mapping[str, Any] | None = None
    """resize and crop, also interpolation, mean and std; by default as the weights tell."""
    devices: Sequence[str] = ()
    """Those of the server's devices that are to hold the model; all by default."""

    def request(self) -> messages.LoadModelRequest:
        return messages.LoadModelRequest(
            name=self.name,
            architecture=self.architecture,
            weights=self.weights,
            classes=self.classes,
            preprocessing=None if self.preprocessing is None else messages.Preprocessing(**self.preprocessing),
            devices=self.devices,
        )

    def result(self, response: messages.LoadModelResponse) -> Model:
        return read_model(response.model)
