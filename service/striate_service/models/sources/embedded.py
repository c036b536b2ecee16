"""`parts` and `parts_vit`, the models that ship with this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models import embedded
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.vit import parts_vit
from striate_service.models.errors import ModelError
from striate_service.models.sources.heads import count_classes
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights, read_weights


class _Shipped(NamedTuple):
    build: Callable[[int], nn.Module]
    weights: Path


_SHIPPED = {
    "parts": _Shipped(parts, embedded.WEIGHTS),
    "parts_vit": _Shipped(parts_vit, embedded.VIT_WEIGHTS),
}


def owns(model: ModelSettings) -> bool:
    return model.architecture in _SHIPPED


def find(model: ModelSettings) -> Architecture:
    build = _SHIPPED[model.architecture].build
    return Architecture(lambda weights: build(count_classes(build, weights.state) or len(embedded.CLASSES)))


def own_weights(model: ModelSettings) -> Weights | None:
    if model.weights != "embedded":
        return None
    if not owns(model):
        raise ModelError("only the architectures 'parts' and 'parts_vit' have embedded weights, give a file.")
    return read_weights(str(_SHIPPED[model.architecture].weights))


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata(embedded.PREPROCESSING, embedded.CLASSES)
