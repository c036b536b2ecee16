"""From values to messages: what several services' replies have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2, models_pb2

from striate_service.backends.protocol import BatchLimit
from striate_service.explain import images, names
from striate_service.explain.icons import Icon, IconStatus
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.stores.examples import LayerExamples
from striate_service.stores.labels import StoredLabel
from striate_service.techniques.tasks.base import Predictions

_ICON_STATUSES = {
    IconStatus.READY: pb.ICON_STATUS_READY,
    IconStatus.QUEUED: pb.ICON_STATUS_QUEUED,
    IconStatus.NOT_REQUESTED: pb.ICON_STATUS_NOT_REQUESTED,
    IconStatus.FAILED: pb.ICON_STATUS_FAILED,
}


def model_ref(model: ModelDescription) -> pb.ModelRef:
    return pb.ModelRef(name=model.name, version=model.version)


def layer(description: LayerDescription) -> pb.Layer:
    return pb.Layer(path=description.path, type=description.type, shape=description.shape, aliases=description.aliases)


def model(description: ModelDescription, batch_limits: Mapping[str, BatchLimit], *, default: bool) -> models_pb2.Model:
    preprocessing = description.preprocessing
    return models_pb2.Model(
        name=description.name,
        version=description.version,
        architecture=description.architecture,
        input_shape=description.input_shape,
        preprocessing=models_pb2.Preprocessing(
            resize=preprocessing.resize,
            crop=preprocessing.crop,
            interpolation=preprocessing.interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
        ),
        classes=description.classes,
        layers=[layer(each) for each in description.layers],
        default=default,
        batch_limits=[
            models_pb2.BatchLimit(device=device, images=limit.images, images_per_second=limit.images_per_second)
            for device, limit in batch_limits.items()
        ],
    )


def classes(description: ModelDescription, indices: Sequence[int]) -> list[pb.Class]:
    return [pb.Class(index=index, name=description.classes[index]) for index in indices]


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


def icon(found: Icon) -> pb.Icon:
    return pb.Icon(status=_ICON_STATUSES[found.status], data=found.data)


def examples(found: LayerExamples, channel: int, most: int) -> list[pb.Example]:
    """Return at most so many examples of a channel, strongest first."""
    return [
        pb.Example(
            picture=example.picture,
            activation=example.activation,
            class_name=example.class_name,
            image_name=example.image_name,
        )
        for example in found.of_channel(channel)[:most]
    ]


def label(given: names.Label) -> pb.Label:
    source = pb.LabelSource.Name(given.source.value)
    return pb.Label(text=given.text, source=source, score=given.score, author=given.author)


def neuron_label(description: ModelDescription, stored: StoredLabel) -> labels_pb2.NeuronLabel:
    message = labels_pb2.NeuronLabel(
        model=model_ref(description),
        layer=stored.layer,
        channel=stored.channel or 0,
        label=label(names.Label.of(stored)),
    )
    if stored.direction is not None:
        message.direction.CopyFrom(tensor_from_array(np.frombuffer(stored.direction, "<f4")))
    if stored.created:
        message.create_time.FromDatetime(stored.created)
    if stored.ended:
        message.end_time.FromDatetime(stored.ended)
    return message


def color(rgb: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    """0xRRGGBB"""
    red, green, blue = (int(value) for value in rgb)
    return red << 16 | green << 8 | blue
