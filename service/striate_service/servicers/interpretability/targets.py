"""What effects are to be on: classes by name, or a request's `targets`. Each check names the field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument, NotFound
from striate_service.models.description import ModelDescription, TargetKind
from striate_service.servicers import reading
from striate_service.techniques.targets import WHOLE, Area, Box, Embedding, Output, Region, Target

_MOST = reading.MAX_CLASSES
_MOST_BOXES = 100  # of a class, that can be asked for by their place
_LEAST_SIDE = 0.001  # of an area, as a share: a thousandth of a picture is less than a position of any layer

_IN_WORDS = {
    TargetKind.CLASS: "classes",
    TargetKind.OUTPUT: "outputs by index",
    TargetKind.EMBEDDING: "the cosine to an embedding",
    TargetKind.REGION: "classes over a region",
    TargetKind.BOX: "boxes",
}
_KINDS = {
    "class_name": TargetKind.CLASS,
    "output": TargetKind.OUTPUT,
    "embedding": TargetKind.EMBEDDING,
    "region": TargetKind.REGION,
    "box": TargetKind.BOX,
}

Request: TypeAlias = messages.SemanticDictionaryRequest | messages.FactorizeRequest | messages.FactorizeLayersRequest


def read_targets(request: Request, model: ModelDescription) -> tuple[Target, ...]:
    """Return what a request's effects are on; empty: the most probable classes."""
    if request.targets and request.class_names:
        raise InvalidArgument("targets", "stand beside class_names; give one of them, classes as targets if need be.")
    if not model.classes:
        for field in ("class_names", "classes"):
            if getattr(request, field):
                raise InvalidArgument(field, f"cannot be asked for: {_has(model, TargetKind.CLASS)}")
    names, targets = request.class_names, request.targets
    for field, count in (("class_names", len(names)), ("targets", len(targets))):
        if count > _MOST:
            raise InvalidArgument(field, f"holds {count}; at most {_MOST} at a time.")
    if names:
        return tuple(Output(_class(model.classes, name, model)) for name in names)
    return tuple(_read(target, f"targets[{number}]", model) for number, target in enumerate(targets))


def refuse_boxes(targets: Sequence[Target], field: str, what: str) -> None:
    """Refuse targets whose meaning changes with the activations: another box may then be the best one."""
    if any(isinstance(target, Box) for target in targets):
        raise InvalidArgument(field, f"{what} cannot be of boxes, which change with the activations; leave it out.")


def _read(target: messages.Target, field: str, model: ModelDescription) -> Target:
    given = target.WhichOneof("kind")
    if given is None:
        raise InvalidArgument(field, f"is empty; {_has(model)}")
    if _KINDS[given] not in model.target_kinds:
        raise InvalidArgument(f"{field}.{given}", f"cannot be asked for: {_has(model, _KINDS[given])}")
    match given:
        case "class_name":
            return Output(_class(model.classes, target.class_name, model))
        case "output":
            return Output(reading.in_range(target.output, f"{field}.output", 0, model.outputs - 1))
        case "embedding":
            return _embedding(target, f"{field}.embedding", model)
        case "region":
            index = _class(model.region_classes, target.region.class_name, model)
            has_area = target.region.HasField("area")
            return Region(index, _area(target.region.area, f"{field}.region.area") if has_area else WHOLE)
    index = _class(model.box_classes, target.box.class_name, model)
    if target.box.WhichOneof("which") == "near":
        return Box(index, _area(target.box.near, f"{field}.box.near"))
    return Box(index, reading.in_range(target.box.rank, f"{field}.box.rank", 0, _MOST_BOXES - 1))


def _has(model: ModelDescription, asked: TargetKind | None = None) -> str:
    """Return what a model's effects can be on, and that they cannot be on what was asked for."""
    kinds = [_IN_WORDS[kind] for kind in model.target_kinds]
    lacks = f"{model.name} gives no {_IN_WORDS[asked].removeprefix('the ')}; " if asked else ""
    if not kinds:
        return f"{lacks}there is nothing that effects of {model.name} can be on."
    listing = " and ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))
    return f"{lacks}effects of {model.name} can be on {listing}."


def _class(known: Sequence[str], name: str, model: ModelDescription) -> int:
    index = {each: number for number, each in enumerate(known)}
    if name not in index:
        raise NotFound.among("class", name, index, f"ListModels gives the {len(index)} classes of {model.name}")
    return index[name]


def _embedding(target: messages.Target, field: str, model: ModelDescription) -> Embedding:
    vector = reading.read_vector(target.embedding, field, model.outputs, f"the numbers that {model.name} answers with")
    # In double precision, since squares of large numbers overflow, and those of small ones are 0.
    exact = vector.astype(np.float64)
    exact /= np.abs(exact).max()
    return Embedding((exact / np.linalg.norm(exact)).astype(np.float32))


def _area(given: messages.Area, field: str) -> Area:
    sides = (given.right - given.left, given.bottom - given.top)
    inside = all(0 <= each <= 1 for each in (given.left, given.top, given.right, given.bottom))
    if not inside or not all(math.isfinite(side) and side >= _LEAST_SIDE for side in sides):
        raise InvalidArgument(
            field,
            f"should lie within 0 to 1, left before right and top before bottom, at least {_LEAST_SIDE} apart.",
        )
    return Area(given.top, given.left, given.bottom, given.right)
