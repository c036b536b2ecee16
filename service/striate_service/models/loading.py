"""Load a model from its settings: architecture, weights, preprocessing and class names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import LayerDescription, ModelDescription, Preprocessing
from striate_service.models.errors import ModelError, in_short
from striate_service.models.fitting import load_into, without
from striate_service.models.identity import identity_of
from striate_service.models.layers import examine
from striate_service.models.outputs import measure_answer
from striate_service.models.sources import SOURCES, source_of
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights, read_weights

logger = logging.getLogger(__name__)

__all__ = ["LoadedModel", "ModelError", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    description: ModelDescription
    network: nn.Module
    """In evaluation mode, on its device, channels last; its parameters require no gradients."""


def load_model(settings: ModelSettings, device: str = "cpu") -> LoadedModel:
    """Build the network that `settings` names, with its weights, on `device`.

    Raises:
        ModelError: naming the step that failed, and the reason: whatever a library or the network's own code raises
            becomes one.
    """
    source = source_of(settings)
    with _step(settings, "finding the architecture"):
        architecture = source.find(settings)
    with _step(settings, "reading the weights"):
        weights = _find_weights(settings)
    with _step(settings, "reading the metadata"):
        metadata = source.metadata(settings, weights)
        preprocessing = _choose_preprocessing(settings, metadata)
    with _step(settings, "building the network"):
        network = _with_weights(architecture, weights, settings)
    input_shape = (len(preprocessing.mean), *preprocessing.size)
    with _step(settings, "running the network"):
        answer = measure_answer(network, input_shape)
        found = examine(network, input_shape, architecture.tokens(network))
        version = identity_of(network, settings.architecture, preprocessing, input_shape)
    with _step(settings, "reading the class names"):
        names = _choose_class_names(settings, metadata, answer.classes)
    if found.mixes_images:
        logger.warning(
            "%s: what it answers for an image depends on the other images of the batch, first in %s: does a module use "
            "the statistics of its batch? Its answers differ with the requests that share a batch.",
            settings.name,
            found.mixes_images,
        )
    description = ModelDescription(
        name=settings.name,
        version=version,
        architecture=settings.architecture,
        preprocessing=preprocessing,
        classes=() if answer.is_segmenter or answer.is_detector else names,
        layers=_with_aliases(found.layers, architecture),
        left_out=found.left_out,
        activation=settings.activation or ("sigmoid" if answer.classes == 1 else "softmax"),
        outputs=answer.outputs,
        region_classes=names if answer.is_segmenter else (),
        box_classes=names if answer.is_detector else (),
    )
    with _step(settings, f"moving the network to {device}"):
        moved = cast(Any, network).to(device=device, memory_format=torch.channels_last)
    return LoadedModel(description, moved)


@contextmanager
def _step(settings: ModelSettings, doing: str) -> Iterator[None]:
    """Make a `ModelError` of whatever goes wrong: the model, the step, and the reason."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{settings.name}: {error}") from error
    except Exception as error:  # libraries and the operator's own code raise what they like
        raise ModelError(f"{settings.name}: {doing} failed: {type(error).__name__}: {in_short(error)}") from error


def _find_weights(settings: ModelSettings) -> Weights:
    """Return the weights that a source provides under the name `settings.weights`, else those in the file."""
    for source in SOURCES:
        weights = source.own_weights(settings)
        if weights is not None:
            return weights
    return read_weights(settings.weights)


def _choose_preprocessing(settings: ModelSettings, metadata: Metadata) -> Preprocessing:
    if settings.preprocessing is not None:
        return Preprocessing(**settings.preprocessing.model_dump())
    if metadata.preprocessing is None:
        raise ModelError(
            f"nothing tells how to preprocess images for {settings.architecture}. Set `preprocessing` "
            "(resize, crop, mean, std) for this model."
        )
    return metadata.preprocessing


def _with_weights(architecture: Architecture, weights: Weights, settings: ModelSettings) -> nn.Module:
    unused = architecture.unused_weights
    used = replace(weights, state=without(weights.state, unused)) if unused else weights
    network = architecture.build(used)
    if weights.are_built:
        network.float()
    else:
        load_into(network, replace(used, state=architecture.translate(used.state, network)), settings.architecture)
    return network.eval().requires_grad_(False)


def _with_aliases(layers: tuple[LayerDescription, ...], architecture: Architecture) -> tuple[LayerDescription, ...]:
    return tuple(
        replace(layer, aliases=(*layer.aliases, alias)) if (alias := architecture.aliases.get(layer.path)) else layer
        for layer in layers
    )


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
        raise ModelError(f"the class names cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{file.name} is no text in UTF-8; save it as UTF-8 ({error}).") from error
    if "\0" in text:
        raise ModelError(f"{file.name} holds NUL; save it as UTF-8, not UTF-16.")
    lines = text.split("\n")
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise ModelError(f"{file.name} names {len(names)} classes, but {model} has {count}.")
    return names
