"""What effects can be on, beside classes. `Model.target_kinds` tells which of them a model has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from striate.errors import InvalidArgument
from striate.tensors import write_tensor
from striate.v1 import interpretability_pb2 as messages

Area: TypeAlias = tuple[float, float, float, float]
"""(top, left, bottom, right) as shares of what the network sees of the image (`View.crop`), 0 to 1."""


@dataclass(frozen=True)
class Class:
    """The logit of a class of the whole image."""

    name: str


@dataclass(frozen=True)
class Output:
    """One number of the vector that the network answers with: a logit, or a component of an embedding."""

    index: int


@dataclass(frozen=True)
class Region:
    """A segmenter's mean logit of a class over a part of the image."""

    name: str
    """The class's: one of `Model.target_classes`."""
    box: Area | None = None
    """(top, left, bottom, right), 0 to 1; the whole image by default."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """The cosine of the angle between the vector that the network answers with and a given one, such as another
    picture's."""

    vector: ArrayLike = field(repr=False)
    """As many numbers as `Model.outputs`."""


@dataclass(frozen=True)
class Box:
    """A detector's logit of a class for one of its boxes of that class, without those that overlap a better one."""

    name: str
    """The class's: one of `Model.target_classes`."""
    rank: int = 0
    """The place by score; 0 is the best."""
    near: Area | None = None
    """(top, left, bottom, right), 0 to 1: the box that fits this area best, instead of a place."""


Target: TypeAlias = Class | Output | Region | Embedding | Box


def target_messages(targets: Target | Sequence[Target]) -> list[messages.Target]:
    """Return one target, or several, as the request has them."""
    return [_message(target) for target in ([targets] if isinstance(targets, Target) else targets)]


def _message(target: Target) -> messages.Target:
    match target:
        case Class(name):
            return messages.Target(class_name=name)
        case Output(index):
            if not 0 <= index < 2**32:
                problem = f"holds output {index}; it should be at least 0."
                raise InvalidArgument(f"targets: {problem}", {"targets": problem})
            return messages.Target(output=index)
        case Region(name, box):
            return messages.Target(region=messages.RegionTarget(class_name=name, area=_area(box)))
        case Embedding():
            message = messages.Target()
            write_tensor(message.embedding, np.asarray(target.vector, np.float32))
            return message
        case Box(name, rank, near):
            which: dict[str, Any] = {"rank": rank} if near is None else {"near": _area(near)}
            return messages.Target(box=messages.BoxTarget(class_name=name, **which))
    raise TypeError(f"{target!r} is no target; give Class, Output, Region, Embedding or Box.")


def _area(box: Area | None) -> messages.Area | None:
    if box is None:
        return None
    top, left, bottom, right = box
    return messages.Area(left=left, top=top, right=right, bottom=bottom)
