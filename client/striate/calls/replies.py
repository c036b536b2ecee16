"""From messages that several replies hold to results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate.images import Image, file_name
from striate.results.groups import Crop, Group
from striate.results.icons import Icon
from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.neurons import Example, Label, Neuron
from striate.v1 import bases_pb2, models_pb2
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages


def read_model_ref(message: pb.ModelRef) -> Model:
    return Model(message.name, message.version)


def read_model(message: models_pb2.Model) -> Model:
    channels, height, width = message.input_shape
    return Model(
        name=message.name,
        version=message.version,
        architecture=message.architecture,
        input_size=(height, width),
        channels=channels,
        classes=tuple(message.classes),
        activation=message.activation or "softmax",
        layers=tuple(read_layer(layer) for layer in message.layers),
        target_kinds=tuple(_target_kind(kind) for kind in message.target_kinds),
        outputs=message.outputs,
        target_classes=tuple(message.target_classes),
        default=message.default,
        batch_limits={limit.device: limit.images for limit in message.batch_limits},
    )


def _target_kind(number: int) -> str:
    known = number in models_pb2.TargetKind.values()[1:]  # not of a later server
    return models_pb2.TargetKind.Name(number).removeprefix("TARGET_KIND_").lower() if known else ""


def read_layer(message: pb.Layer) -> Layer:
    rows, columns = message.grid or (0, 0)
    known = message.layout in pb.Layout.values()[1:]  # not of an earlier or a later server
    return Layer(
        message.path,
        message.type,
        tuple(message.shape),
        tuple(message.aliases),
        pb.Layout.Name(message.layout).removeprefix("LAYOUT_").lower() if known else "",
        (rows, columns),
        tuple(message.prefix_tokens),
        message.signed,
    )


def read_view(message: pb.View, image: Image) -> View:
    """Return what was seen of an image as it was given."""
    crop = message.crop
    return View(message.width, message.height, (crop.left, crop.top, crop.right, crop.bottom), file_name(image))


def read_predictions(message: pb.Predictions) -> Predictions:
    return [(each.predicted_class.name, each.probability) for each in message.predictions]


def read_label(message: pb.Label, layer: str = "", channel: int | None = None) -> Label:
    """Return a name; the message does not say which neuron of which layer it names."""
    known = message.source in pb.LabelSource.values()[1:]  # not of a later server
    source = pb.LabelSource.Name(message.source).removeprefix("LABEL_SOURCE_").lower() if known else ""
    score = message.score if message.HasField("score") else None
    return Label(message.text, source, score, message.author, layer, channel)


def read_icon(message: pb.Icon) -> Icon:
    status = pb.IconStatus.Name(message.status).removeprefix("ICON_STATUS_").lower()
    return Icon(status, message.data, message.key.SerializeToString() if message.HasField("key") else b"")


def read_example(message: pb.Example) -> Example:
    return Example(message.picture, message.activation, message.class_name, message.image_name)


def read_neuron(message: messages.Neuron) -> Neuron:
    return Neuron(
        message.channel,
        read_label(message.label),
        read_icon(message.icon),
        other_facets=[read_icon(each) for each in message.other_facets],
        examples=[read_example(each) for each in message.examples],
        negative_icon_file=read_icon(message.negative_icon) if message.HasField("negative_icon") else None,
    )


def read_group(message: messages.Group, classes: Sequence[str]) -> Group:
    """Return a group.

    Args:
        classes: what its effects are on, by the order of the reply.
    """
    return Group(
        color=f"#{message.color:06x}",
        icon_file=read_icon(message.icon),
        label=read_label(message.label),
        importance=message.importance,
        channels=list(message.channels),
        effects=dict(zip(classes, message.effects, strict=True)),
        crops=[
            Crop(crop.image, (crop.box.left, crop.box.top, crop.box.right, crop.box.bottom), crop.strength)
            for crop in message.crops
        ],
        sobol_indices=dict(zip(classes, message.sobol_indices, strict=bool(message.sobol_indices))),
    )


def read_method(number: int) -> str:
    """Return a method as `Method` names it; empty where it is of a later server, or of one that names none."""
    known = number in messages.FactorizationMethod.values()[1:]
    return messages.FactorizationMethod.Name(number).removeprefix("FACTORIZATION_METHOD_").lower() if known else ""


def read_basis_facts(message: bases_pb2.Basis) -> dict[str, Any]:
    """Return the arguments of `Basis` but for its groups and their directions, which travel apart."""
    return {
        "name": message.name,
        "model": read_model_ref(message.model),
        "layer": message.layer,
        "components": message.components,
        "image_count": message.image_count,
        "relative_error": message.relative_error,
        "fit": pb.Fit.Name(message.fit).removeprefix("FIT_").lower(),
        "rectify": message.rectify,
        "method": read_method(message.method),
        "created": message.create_time.ToDatetime(),
    }
