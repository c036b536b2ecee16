"""The operator's own networks: package.module:factory, a function without arguments that returns the network."""

from __future__ import annotations

import importlib

from striate_service.config import ModelSettings
from striate_service.models.errors import ModelError
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights


def owns(model: ModelSettings) -> bool:
    return ":" in model.architecture


def find(model: ModelSettings) -> Architecture:
    module, _, attribute = model.architecture.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"the architecture {model.architecture!r} cannot be imported: {error}") from error
    return Architecture(lambda _classes: factory())


def own_weights(_model: ModelSettings) -> Weights | None:
    return None


def metadata(_model: ModelSettings, _version: str) -> Metadata:
    return Metadata()
