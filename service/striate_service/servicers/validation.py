"""What every request is asked before it costs anything. Each check names the field and what would be right."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument, NotFound
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.scheduling.job import Lane

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

MAX_CLASSES = 20
_MAX_TEXT = 200  # characters: a name, not an essay
_LANES = {lane.value: lane for lane in (Lane.INTERACTIVE, Lane.BATCH)}


def find_model(models: Sequence[ModelDescription], name: str) -> ModelDescription:
    """Return the model of that name, the default one for the empty name."""
    by_name = {model.name: model for model in models} | {"": models[0]}
    if name not in by_name:
        listing = f"this server has {', '.join(model.name for model in models)}"
        raise NotFound.among("model", name, [model.name for model in models], listing)
    return by_name[name]


def find_layer(model: ModelDescription, name: str, field: str) -> LayerDescription:
    """Return a layer by its path or alias."""
    if not name:
        raise InvalidArgument(field, f"is empty; name a layer of {model.name}, such as {model.layers[-1].path!r}.")
    if name not in model.layer_by_name:
        listing = f"ListModels gives the {len(model.layers)} layers of {model.name}"
        raise NotFound.among("layer", name, model.layer_by_name, listing)
    return model.layer_by_name[name]


def find_spatial_layer(model: ModelDescription, name: str, field: str) -> LayerDescription:
    """Return a layer of shape [channels, height, width]."""
    layer = find_layer(model, name, field)
    if not layer.is_spatial:
        raise InvalidArgument(
            field, f"{layer.path!r} has shape {list(layer.shape)}; choose a layer of shape [channels, height, width]."
        )
    return layer


def find_classes(model: ModelDescription, names: Sequence[str]) -> tuple[int, ...]:
    """Return the logits' indices of classes by name."""
    if len(names) > MAX_CLASSES:
        raise InvalidArgument("class_names", f"holds {len(names)} names; at most {MAX_CLASSES} at a time.")
    index = {name: number for number, name in enumerate(model.classes)}
    for name in names:
        if name not in index:
            raise NotFound.among("class", name, index, f"ListModels gives the {len(index)} classes of {model.name}")
    return tuple(index[name] for name in names)


def in_range(value: int, field: str, low: int, high: int, why: str = "") -> int:
    """Return `value`, which must be `low` to `high`."""
    if not low <= value <= high:
        raise InvalidArgument(field, f"is {value}; it should be {low} to {high}{why and f' ({why})'}.")
    return value


def find_layers(model: ModelDescription, names: Sequence[str]) -> list[LayerDescription]:
    """Return the layers of a field `layers`: at least one, no two the same."""
    if not names:
        raise InvalidArgument("layers", "is empty; name at least one layer.")
    layers = [find_layer(model, name, f"layers[{number}]") for number, name in enumerate(names)]
    if len({layer.path for layer in layers}) < len(layers):
        raise InvalidArgument("layers", "names a layer twice.")
    return layers


def text(given: str, field: str, least: int = 0) -> str:
    """Return a name, which must be at least so many characters, not too long, and on one line."""
    if not least <= len(given) <= _MAX_TEXT or not given.isprintable():
        raise InvalidArgument(field, f"should be {least} to {_MAX_TEXT} printable characters on one line.")
    return given


def class_count(
    request: messages.ActivationsRequest
    | messages.SemanticDictionaryRequest
    | messages.FactorizeRequest
    | messages.FactorizeLayersRequest,
    model: ModelDescription,
) -> int:
    """Return how many classes to predict, 5 by default."""
    most = min(MAX_CLASSES, len(model.classes))
    return in_range(request.classes, "classes", 0, most) if request.HasField("classes") else min(5, most)


def find_channels(channels: Sequence[int], layers: Sequence[LayerDescription]) -> tuple[int, ...]:
    """Return channels that all of the layers have."""
    for layer in layers:
        for position, channel in enumerate(channels):
            in_range(channel, f"channels[{position}]", 0, layer.channels - 1, f"{layer.path} has {layer.channels}")
    return tuple(channels)


def find_positions(
    positions: Sequence[messages.Position], layers: Sequence[LayerDescription]
) -> tuple[tuple[int, int], ...]:
    """Return rows and columns that the maps of all of the layers have."""
    for layer in layers if positions else ():
        if not layer.is_spatial:
            raise InvalidArgument(
                "positions", f"are those of maps, and {layer.path} has shape {list(layer.shape)}; leave them away."
            )
        _, height, width = layer.shape
        for number, position in enumerate(positions):
            in_range(position.row, f"positions[{number}].row", 0, height - 1, f"{layer.path} has {height} rows")
            in_range(position.column, f"positions[{number}].column", 0, width - 1, f"{layer.path} has {width} columns")
    return tuple((position.row, position.column) for position in positions)


def terms(context: Context, lane: Lane = Lane.INTERACTIVE) -> Terms:
    """Return what the caller may expect: its deadline; the metadata `striate-priority`, else `lane`; and its account,
    the metadata `striate-caller`, else its address without the port.
    """
    metadata = dict(context.invocation_metadata() or ())
    remaining = context.time_remaining()
    priority = str(metadata.get("striate-priority", lane.value))
    if priority not in _LANES:
        raise InvalidArgument("metadata striate-priority", f"is {priority!r}; it should be {' or '.join(_LANES)}.")
    return Terms(
        lane=_LANES[priority],
        deadline=math.inf if remaining is None else time.monotonic() + remaining,
        caller=str(metadata.get("striate-caller") or context.peer().rpartition(":")[0]),
    )
