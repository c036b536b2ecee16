"""From arguments to requests and from replies to results: all that the two clients share, which is all but waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import grpc

from striate.errors import StriateError, from_status
from striate.images import Image, as_list, seen_part, write_image
from striate.results import (
    Activations,
    Example,
    Icon,
    Label,
    Layer,
    Model,
    Neuron,
    Predictions,
    RenderProgress,
    SemanticDictionary,
    View,
)
from striate.tensors import array_from_tensor
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

Fit = Literal["crop", "stretch", "pad"]
Reduce = Literal["none", "mean", "max"]
DType = Literal["float32", "float16"]
IconObjective = Literal["channel", "neuron"]
Attribution = Literal["gradient_times_activation", "integrated_gradients", "none"]

STATUS = {status.value[0]: status for status in grpc.StatusCode}


@dataclass(frozen=True)
class ActivationsCall:
    layers: Sequence[str]
    request: messages.ActivationsRequest

    @classmethod
    def of(
        cls,
        images: Image | Sequence[Image],
        layers: str | Sequence[str],
        *,
        model: str = "",
        reduce: Reduce = "none",
        channels: Sequence[int] | None = None,
        positions: Sequence[tuple[int, int]] | None = None,
        dtype: DType = "float32",
        classes: int | None = None,
        fit: Fit = "crop",
    ) -> ActivationsCall:
        names = [layers] if isinstance(layers, str) else list(layers)
        request = messages.ActivationsRequest(
            model=model,
            layers=names,
            fit=enum_value(pb.Fit, "FIT", fit, "fit"),
            reduction=enum_value(messages.Reduction, "REDUCTION", reduce, "reduce"),
            channels=channels or (),
            positions=[messages.Position(row=row, column=column) for row, column in positions or ()],
            dtype=enum_value(pb.DataType, "DATA_TYPE", dtype, "dtype"),
            classes=classes,
        )
        for image in as_list(images):
            write_image(request.images.add(), image)
        return cls(names, request)

    def result(self, response: messages.ActivationsResponse) -> Activations:
        return Activations(
            tensors={
                name: array_from_tensor(layer.tensor) for name, layer in zip(self.layers, response.layers, strict=True)
            },
            predictions=[predictions_of(each) for each in response.predictions],
            views=[view_of(view) for view in response.views],
            layers=tuple(layer_result(each.layer) for each in response.layers),
            model=model_ref(response.model),
        )


@dataclass(frozen=True)
class DictionaryCall:
    image: Image
    request: messages.SemanticDictionaryRequest

    @classmethod
    def of(
        cls,
        image: Image,
        layer: str,
        *,
        model: str = "",
        neurons: int | None = None,
        classes: int | Sequence[str] | None = None,
        positions: Sequence[tuple[int, int]] | None = None,
        wait_for_icons: bool = True,
        icons: bool = True,
        examples: int = 0,
        attribution: Attribution = "gradient_times_activation",
        steps: int | None = None,
        position_icons: bool = False,
        recipe: str = "",
        fit: Fit = "crop",
    ) -> DictionaryCall:
        request = messages.SemanticDictionaryRequest(
            model=model,
            layer=layer,
            fit=enum_value(pb.Fit, "FIT", fit, "fit"),
            neurons=neurons,
            positions=[messages.Position(row=row, column=column) for row, column in positions or ()],
            wait_for_icons=wait_for_icons,
            omit_icons=not icons,
            examples=examples,
            attribution=enum_value(messages.Attribution, "ATTRIBUTION", attribution, "attribution"),
            steps=steps,
            position_icons=position_icons,
            recipe=recipe,
        )
        write_image(request.image, image)
        set_classes(request, classes)
        return cls(image, request)

    def result(self, response: messages.SemanticDictionaryResponse) -> SemanticDictionary:
        classes = [each.name for each in response.classes]
        return SemanticDictionary(
            model=model_ref(response.model),
            layer=layer_result(response.layer),
            view=view_of(response.view),
            predictions=predictions_of(response.predictions),
            magnitude=array_from_tensor(response.magnitude),
            positions=array_from_tensor(response.positions),
            channels=array_from_tensor(response.channels),
            activations=array_from_tensor(response.activations),
            classes=classes,
            effects=array_from_tensor(response.effects),
            neurons={neuron.channel: _neuron(neuron) for neuron in response.neurons},
            image=seen_part(self.image, response.view),
            logits=dict(zip(classes, response.logits, strict=False)),
            baseline_logits=dict(zip(classes, response.baseline_logits, strict=False)),
            position_icons=[icon_of(each) for each in response.position_icons],
        )


def stream_request(key: str, call: ActivationsCall) -> messages.StreamActivationsRequest:
    request = messages.StreamActivationsRequest(id=key)
    request.request.CopyFrom(call.request)  # not through the constructor: see `images.write_image`
    return request


def stream_result(
    call: ActivationsCall, response: messages.StreamActivationsResponse, target: str
) -> Activations | StriateError:
    """Return what one request of a stream brought."""
    if response.WhichOneof("result") == "response":
        return call.result(response.response)
    error = response.error
    return from_status(STATUS[error.code], error.message, error.details, target)


def render_request(
    layer: str,
    *,
    model: str,
    channels: Sequence[int] | None,
    objective: IconObjective,
    position: tuple[int, int] | None,
    recipe: str,
    facets: int,
    icons: bool,
    detach: bool,
) -> messages.RenderIconsRequest:
    return messages.RenderIconsRequest(
        model=model,
        layer=layer,
        channels=channels or (),
        objective=enum_value(messages.IconObjective, "ICON_OBJECTIVE", objective, "objective"),
        position=None if position is None else messages.Position(row=position[0], column=position[1]),
        recipe=recipe,
        facets=facets,
        omit_icons=not icons,
        detach=detach,
    )


def render_result(response: messages.RenderIconsResponse) -> RenderProgress:
    return RenderProgress(
        completed=response.completed,
        total=response.total,
        progress=response.progress,
        remaining=response.remaining_seconds if response.HasField("remaining_seconds") else None,
        neurons=[_neuron(neuron) for neuron in response.neurons],
    )


def set_classes(
    request: messages.SemanticDictionaryRequest | messages.FactorizeRequest | messages.FactorizeLayersRequest,
    classes: int | Sequence[str] | None,
) -> None:
    """A number asks for that many of the most probable classes, names for those."""
    if isinstance(classes, int):
        request.classes = classes
    elif isinstance(classes, str):
        request.class_names.append(classes)
    elif classes is not None:
        request.class_names.extend(classes)


def enum_value(kind: Any, prefix: str, name: str, argument: str) -> Any:
    """Return the value of an enum that is called PREFIX_NAME."""
    known = [key.removeprefix(f"{prefix}_").lower() for key in list(kind.keys()) if not key.endswith("_UNSPECIFIED")]
    if name not in known:
        raise ValueError(f"{argument} is {name!r}; it should be one of {', '.join(known)}.")
    return kind.Value(f"{prefix}_{name.upper()}")


def model_ref(ref: pb.ModelRef) -> Model:
    return Model(ref.name, ref.version)


def layer_result(layer: pb.Layer) -> Layer:
    return Layer(layer.path, layer.type, tuple(layer.shape), tuple(layer.aliases))


def view_of(view: pb.View) -> View:
    crop = view.crop
    return View(view.width, view.height, (crop.left, crop.top, crop.right, crop.bottom))


def predictions_of(message: pb.Predictions) -> Predictions:
    return [(each.predicted_class.name, each.probability) for each in message.predictions]


def label(label: pb.Label, layer: str = "", channel: int | None = None) -> Label:
    source = pb.LabelSource.Name(label.source).removeprefix("LABEL_SOURCE_").lower() if label.source else ""
    return Label(label.text, source, label.score if label.HasField("score") else None, label.author, layer, channel)


def icon_of(icon: pb.Icon) -> Icon:
    return Icon(pb.IconStatus.Name(icon.status).removeprefix("ICON_STATUS_").lower(), icon.data)


def example(message: pb.Example) -> Example:
    return Example(message.picture, message.activation, message.class_name, message.image_name)


def _neuron(neuron: messages.Neuron) -> Neuron:
    return Neuron(
        neuron.channel,
        label(neuron.label),
        icon_of(neuron.icon),
        other_facets=[icon_of(each) for each in neuron.other_facets],
        examples=[example(each) for each in neuron.examples],
    )
