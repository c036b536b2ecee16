"""`parts`, the model that ships with this package."""

from __future__ import annotations

from striate_service.config import ModelSettings
from striate_service.models import embedded
from striate_service.models.embedded.network import parts
from striate_service.models.errors import ModelError
from striate_service.models.sources.heads import count_classes
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights, read_weights


def owns(model: ModelSettings) -> bool:
    return model.architecture == "parts"


def find(_model: ModelSettings) -> Architecture:
    return Architecture(lambda weights: parts(count_classes(parts, weights.state) or len(embedded.CLASSES)))


def own_weights(model: ModelSettings) -> Weights | None:
    if model.weights != "embedded":
        return None
    if not owns(model):
        raise ModelError("only the architecture 'parts' has embedded weights, give a file.")
    return read_weights(str(embedded.WEIGHTS))


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata(embedded.PREPROCESSING, embedded.CLASSES)
