"""The operator's own networks: package.module:factory, a function or class that returns the network."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.errors import ModelError
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights

_AS_BUILT = "built"
"""The name of the weights that the factory itself puts into its network."""


def owns(model: ModelSettings) -> bool:
    return ":" in model.architecture


def find(model: ModelSettings) -> Architecture:
    module, _, attribute = model.architecture.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"the architecture {model.architecture!r} cannot be imported: {error}") from error
    return Architecture(lambda _weights: _built(factory, model))


def own_weights(model: ModelSettings) -> Weights | None:
    if model.weights != _AS_BUILT:
        return None
    if not owns(model):
        raise ModelError("only a factory's network is served as it was built, give a file.")
    return Weights({}, are_built=True)


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata()


def _built(factory: Any, model: ModelSettings) -> nn.Module:
    network = factory(**model.arguments)
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{model.architecture} returned {type(network).__name__}, and should return a torch.nn.Module."
        )
    return network
