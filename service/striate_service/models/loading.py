"""Load a model from its settings: architecture, weights, preprocessing and class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import ModelDescription, Preprocessing
from striate_service.models.errors import ModelError
from striate_service.models.layers import describe_layers
from striate_service.models.sources import SOURCES, source_of
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import StateDict, Weights, read_weights

__all__ = ["LoadedModel", "ModelError", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    description: ModelDescription
    network: nn.Module
    """In evaluation mode, on its device, channels last; its parameters require no gradients."""


def load_model(settings: ModelSettings, device: str = "cpu") -> LoadedModel:
    """Build the network that `settings` names, with its weights, on `device`.

    Raises:
        ModelError: the architecture is unknown, or its weights cannot be read, downloaded or loaded into it.
    """
    source = source_of(settings)
    architecture = source.find(settings)
    weights = _find_weights(settings)
    metadata = source.metadata(settings, weights.version)
    preprocessing = _choose_preprocessing(settings, metadata)
    class_count = _count_classes(architecture, weights.state)
    network = _with_weights(architecture, weights.state, class_count, settings)
    description = ModelDescription(
        name=settings.name,
        version=weights.version,
        architecture=settings.architecture,
        preprocessing=preprocessing,
        classes=_choose_class_names(settings, metadata, class_count),
        layers=describe_layers(network, (3, preprocessing.crop, preprocessing.crop)),
    )
    return LoadedModel(description, cast(Any, network).to(device=device, memory_format=torch.channels_last))


def _find_weights(settings: ModelSettings) -> Weights:
    """Return the weights that a source provides under the name `settings.weights`, else those in the file."""
    for source in SOURCES:
        weights = source.own_weights(settings)
        if weights is not None:
            return weights
    file = Path(settings.weights).expanduser()
    if not file.is_file():
        raise ModelError(f"{settings.name}: there is no weights file {file}.")
    return read_weights(file)


def _choose_preprocessing(settings: ModelSettings, metadata: Metadata) -> Preprocessing:
    if settings.preprocessing is not None:
        return Preprocessing(**settings.preprocessing.model_dump())
    if metadata.preprocessing is None:
        raise ModelError(
            f"{settings.name}: nothing tells how to preprocess images for {settings.architecture}. Set `preprocessing` "
            "(resize, crop, mean, std) for this model in the configuration file."
        )
    return metadata.preprocessing


def _count_classes(architecture: Architecture, state: StateDict) -> int:
    """Return the first extent of the classifier's last parameter, which is its last layer's bias or weight."""
    with torch.device("meta"):  # allocates and initializes nothing: only the parameters' names are needed
        name, parameter = list(architecture.build(1).named_parameters())[-1]
    return len(state.get(name, parameter))


def _with_weights(architecture: Architecture, state: StateDict, class_count: int, settings: ModelSettings) -> nn.Module:
    used = {key: value for key, value in state.items() if not key.startswith(architecture.unused_weights)}
    network = architecture.build(class_count)
    try:
        network.load_state_dict(used)
    except RuntimeError as error:
        raise ModelError(f"the weights {settings.weights} do not fit {settings.architecture}: {error}") from error
    return network.eval().requires_grad_(False).float()


def _choose_class_names(settings: ModelSettings, metadata: Metadata, count: int) -> tuple[str, ...]:
    if settings.classes is not None:
        return _read_class_names(settings.classes, settings.name, count)
    if len(metadata.classes) == count:
        return metadata.classes
    return tuple(f"class {index}" for index in range(count))


def _read_class_names(file: Path, model: str, count: int) -> tuple[str, ...]:
    try:
        text = file.expanduser().read_text(encoding="utf-8-sig")  # editors begin a file with a byte order mark
    except OSError as error:
        raise ModelError(f"{model}: the class names cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{model}: {file.name} is no text in UTF-8; save it as UTF-8 ({error}).") from error
    if "\0" in text:
        raise ModelError(f"{model}: {file.name} holds NUL; save it as UTF-8, not UTF-16.")
    lines = text.split("\n")
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise ModelError(f"{file} names {len(names)} classes, but {model} has {count}.")
    return names
