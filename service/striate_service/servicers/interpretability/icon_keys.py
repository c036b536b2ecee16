"""WatchIcons: keys as what they stand for, and progress as replies.

A key is no more trusted than any other field: it can ask for nothing that the layers of a served model do not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument, NotFound
from striate_service.explain.bases import model_with
from striate_service.explain.icon_progress import WatchProgress
from striate_service.explain.icons import Icon
from striate_service.explain.rendering import IconSubject
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.servicers import encoding, reading
from striate_service.servicers.interpretability.reader import Reader
from striate_service.techniques.objective import Channel, Direction
from striate_service.techniques.recipe import RECIPES, Recipe

_MAX_KEYS = 4096  # twice as many as a wide layer has channels
_MAX_DIRECTION_BYTES = 8 * 2**20  # 1,024 directions of 2,048 channels
_RECIPES = {recipe.text: recipe for recipe in RECIPES.values()}
_SHOWN = 12  # digits of a version


def read(request: messages.WatchIconsRequest, reader: Reader) -> list[IconSubject]:
    """Return what keys stand for. Takes time where there are many, so call it in a thread."""
    if len(request.keys) > _MAX_KEYS:
        raise InvalidArgument("keys", f"are {len(request.keys)}; send at most {_MAX_KEYS} at a time.")
    if (size := sum(len(key.direction.data) for key in request.keys)) > _MAX_DIRECTION_BYTES:
        raise InvalidArgument(
            "keys",
            f"hold {size / 2**20:.1f} MiB of directions; send at most {_MAX_DIRECTION_BYTES >> 20} MiB at a time.",
        )
    return [_subject(key, f"keys[{number}]", reader.models) for number, key in enumerate(request.keys)]


def write(progress: WatchProgress) -> messages.WatchIconsResponse:
    return messages.WatchIconsResponse(
        icons=_pictures(progress.finished),
        previews=_pictures(progress.previews),
        completed=progress.completed,
        total=progress.total,
        progress=progress.share,
        remaining_seconds=progress.remaining_seconds,
    )


def _pictures(icons: Sequence[tuple[int, Icon]]) -> list[messages.FinishedIcon]:
    return [messages.FinishedIcon(index=place, icon=encoding.icon(icon)) for place, icon in icons]


def _subject(key: pb.IconKey, field: str, models: Sequence[ModelDescription]) -> IconSubject:
    version = reading.bounded(key.model_version, f"{field}.model_version")
    model = model_with(version, models)
    if model is None:
        served = ", ".join(f"{each.name} ({each.version[:_SHOWN]})" for each in models)
        raise NotFound("model of version", version[:_SHOWN], f"{field} is of it; this server has {served}")
    layer = reading.find_map(model, key.layer, f"{field}.layer")
    return IconSubject(model.name, version, layer.path, _objective(key, field, layer), _recipe(key, field))


def _objective(key: pb.IconKey, field: str, layer: LayerDescription) -> Channel | Direction:
    match key.WhichOneof("shows"):
        case "channel":
            why = f"{layer.path} has {layer.channels}"
            return Channel(reading.in_range(key.channel, f"{field}.channel", 0, layer.channels - 1, why))
        case "direction":
            direction = reading.read_direction(key.direction, f"{field}.direction", layer)
            return Direction(tuple(direction.astype(np.float32).tolist()))
    raise InvalidArgument(field, "shows nothing; it should be an icon's key as a reply has it.")


def _recipe(key: pb.IconKey, field: str) -> Recipe:
    if key.recipe not in _RECIPES:
        raise InvalidArgument(
            f"{field}.recipe", "is none of this server's recipes; send a key as a reply of this server has it."
        )
    return _RECIPES[key.recipe]
