"""From the service's own values to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import labels_pb2, models_pb2

from striate_service.backends.local.shared_memory import Arrays
from striate_service.backends.local.tuning import BatchLimit
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.stores.examples import LayerExamples
from striate_service.stores.labels import StoredLabel


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


def predictions(description: ModelDescription, arrays: Arrays) -> list[pb.Predictions]:
    """One an image, from what `workers.execution` calls predicted, probabilities and logits; none where it has none."""
    if "predicted" not in arrays:
        return []
    rows = zip(*(arrays[name].tolist() for name in ("predicted", "probabilities", "logits")), strict=True)
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


def label(stored: StoredLabel) -> pb.Label:
    return pb.Label(
        text=stored.text,
        source=pb.LabelSource.Name(stored.source),
        score=stored.score,
        author=stored.author,
    )


def neuron_label(description: ModelDescription, stored: StoredLabel) -> labels_pb2.NeuronLabel:
    message = labels_pb2.NeuronLabel(
        model=model_ref(description), layer=stored.layer, channel=stored.channel or 0, label=label(stored)
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


def effects(arrays: Arrays, empty: tuple[int, ...], where: tuple[NDArray[np.int32], ...] = ()) -> NDArray[np.float32]:
    """Return the effects at chosen positions; without classes, none."""
    if "effects" not in arrays:
        return np.zeros(empty, np.float32)
    effects: NDArray[np.float32] = arrays["effects"].astype(np.float32, copy=False)
    return effects[where] if where else effects
