"""From values to messages: what several services' replies have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2

from striate_service.explain import images, labels, target_names
from striate_service.explain.groups import Group
from striate_service.explain.icons import Icon, IconStatus
from striate_service.explain.rendering import IconSubject
from striate_service.models.description import LayerDescription, Layout, ModelDescription
from striate_service.stores.examples import StoredExample
from striate_service.techniques.objective import Channel, Direction
from striate_service.techniques.targets import Embedding, Target
from striate_service.techniques.tasks.base import Array, Predictions

_ICON_STATUSES = {
    IconStatus.READY: pb.ICON_STATUS_READY,
    IconStatus.QUEUED: pb.ICON_STATUS_QUEUED,
    IconStatus.NOT_REQUESTED: pb.ICON_STATUS_NOT_REQUESTED,
    IconStatus.FAILED: pb.ICON_STATUS_FAILED,
}


def model_ref(model: ModelDescription) -> pb.ModelRef:
    return pb.ModelRef(name=model.name, version=model.version)


_LAYOUTS = {
    Layout.NONE: pb.LAYOUT_NONE,
    Layout.CHW: pb.LAYOUT_CHW,
    Layout.HWC: pb.LAYOUT_HWC,
    Layout.TOKENS: pb.LAYOUT_TOKENS,
    Layout.VECTOR: pb.LAYOUT_VECTOR,
}


def layer(description: LayerDescription) -> pb.Layer:
    return pb.Layer(
        path=description.path,
        type=description.type,
        shape=description.shape,
        aliases=description.aliases,
        layout=_LAYOUTS[description.layout],
        grid=description.grid if description.is_map else (),
        prefix_tokens=description.prefix_tokens,
        signed=description.signed,
    )


def targets(description: ModelDescription, explained: Sequence[Target]) -> list[pb.Class]:
    """Return what effects are on: classes, or other targets in words."""
    indices = [0 if isinstance(target, Embedding) else target.index for target in explained]
    named = zip(indices, target_names.target_names(description, explained), strict=True)
    return [pb.Class(index=index, name=name) for index, name in named]


def predictions(description: ModelDescription, found: Predictions | None) -> list[pb.Predictions]:
    """One an image; none where none were asked for."""
    if found is None:
        return []
    rows = zip(found.classes.tolist(), found.probabilities.tolist(), found.logits.tolist(), strict=True)
    return [
        pb.Predictions(
            predictions=[
                pb.Prediction(
                    predicted_class=pb.Class(index=index, name=description.classes[index]),
                    probability=probability,
                    logit=logit,
                )
                for index, probability, logit in zip(*row, strict=True)
            ]
        )
        for row in rows
    ]


def box(rectangle: images.Box) -> pb.Box:
    return pb.Box(left=rectangle.left, top=rectangle.top, right=rectangle.right, bottom=rectangle.bottom)


def view(seen: images.View) -> pb.View:
    return pb.View(width=seen.width, height=seen.height, crop=box(seen.crop))


def fit(number: int) -> str:
    """Return how images were fitted; unspecified where an older server stored what the enum does not have."""
    return pb.Fit.Name(number if number in pb.Fit.values() else 0)


def icon(found: Icon) -> pb.Icon:
    return pb.Icon(
        status=_ICON_STATUSES[found.status], data=found.data, key=icon_key(found.subject) if found.subject else None
    )


def icon_key(subject: IconSubject) -> pb.IconKey | None:
    """Return the key of a channel's or a direction's icon; None of others, which no reply lacks."""
    key = pb.IconKey(model_version=subject.version, layer=subject.layer, recipe=subject.recipe.text)
    match subject.objective:
        case Channel(channel):
            key.channel = channel
        case Direction(components):
            key.direction.CopyFrom(tensor_from_array(np.array(components, np.float32)))
        case _:
            return None
    return key


def examples(found: Sequence[StoredExample]) -> list[pb.Example]:
    return [
        pb.Example(
            picture=example.picture,
            activation=example.activation,
            class_name=example.class_name,
            image_name=example.image_name,
        )
        for example in found
    ]


def label(given: labels.Label) -> pb.Label:
    source = pb.LabelSource.Name(given.source.value)
    return pb.Label(text=given.text, source=source, score=given.score, author=given.author)


def groups(found: Sequence[Group]) -> list[interpretability_pb2.Group]:
    return [
        interpretability_pb2.Group(
            color=_color(group.color),
            icon=icon(group.icon),
            label=label(group.label),
            importance=group.importance,
            channels=group.channels,
            effects=group.effects,
            crops=[
                interpretability_pb2.Crop(image=crop.image, box=box(crop.box), strength=crop.strength)
                for crop in group.crops
            ],
            sobol_indices=group.sobol_indices,
        )
        for group in found
    ]


def _color(rgb: tuple[int, int, int]) -> int:
    """Return 0xRRGGBB."""
    red, green, blue = rgb
    return red << 16 | green << 8 | blue


def numbers(array: Array | None) -> list[Any]:
    """Return an array's elements; none where there is no array."""
    return [] if array is None else list(array.tolist())
