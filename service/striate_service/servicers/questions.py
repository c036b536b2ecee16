"""InterpretabilityService's requests as questions. What costs nothing to check is checked here, and names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.config import Settings
from striate_service.errors import InvalidArgument, shown
from striate_service.explain.activations import ActivationsQuestion
from striate_service.explain.bases import Library, model_of
from striate_service.explain.dictionaries import DictionaryQuestion
from striate_service.explain.factorizations import ActivationGroupsQuestion, ImageGroupsQuestion
from striate_service.explain.flows import FlowsQuestion
from striate_service.explain.icon_progress import RenderQuestion
from striate_service.explain.icons import RecipeChoice
from striate_service.explain.images import GivenImages
from striate_service.explain.indexing import MAX_EXAMPLES
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine
from striate_service.servicers import reading
from striate_service.stores.bases import StoredBasis
from striate_service.techniques.objective import Channel, Neuron, Signature, Single
from striate_service.techniques.tasks.groups import MOST_CHOICES

_MAX_NEURONS, _USUAL_NEURONS = 64, 6
_STEPS, _MAX_STEPS = 32, 256  # with 32, effects add up to within 2% (measured on layers of SqueezeNet and `parts`)
_MAX_POSITION_ICONS = 256  # a map of 16 x 16: some minutes of rendering on a CPU
_MAX_POINTS = 256
_MAX_EVALUATIONS = 32_768  # forwards of the network's remainder that one request's Sobol indices may cost: minutes
_MAX_LAYERS = 8  # of FactorizeLayers
_MAX_FACETS = 8

_REDUCTIONS: dict[int, Literal["none", "mean", "max"]] = {
    messages.REDUCTION_UNSPECIFIED: "none",
    messages.REDUCTION_NONE: "none",
    messages.REDUCTION_MEAN: "mean",
    messages.REDUCTION_MAX: "max",
}
_HALF: dict[int, bool] = {pb.DATA_TYPE_UNSPECIFIED: False, pb.DATA_TYPE_FLOAT32: False, pb.DATA_TYPE_FLOAT16: True}
_AT_POSITION: dict[int, bool] = {
    messages.ICON_OBJECTIVE_UNSPECIFIED: False,
    messages.ICON_OBJECTIVE_CHANNEL: False,
    messages.ICON_OBJECTIVE_NEURON: True,
}
_ATTRIBUTIONS: dict[int, Literal["gradient", "path", "none"]] = {
    messages.ATTRIBUTION_UNSPECIFIED: "gradient",
    messages.ATTRIBUTION_GRADIENT_TIMES_ACTIVATION: "gradient",
    messages.ATTRIBUTION_INTEGRATED_GRADIENTS: "path",
    messages.ATTRIBUTION_NONE: "none",
}


class Questions:
    """Reads requests, with what the server has: models, bases, recipes, limits."""

    def __init__(self, engine: Engine, library: Library, recipes: RecipeChoice, settings: Settings) -> None:
        self._engine = engine
        self._library = library
        self._recipes = recipes
        self._max_images = settings.max_images_per_request

    def activations(self, request: messages.ActivationsRequest) -> ActivationsQuestion:
        model = reading.find_model(self._engine.models, request.model)
        layers = reading.find_layers(model, request.layers)
        return ActivationsQuestion(
            model=model,
            layers=layers,
            reduction=reading.choice(request.reduction, _REDUCTIONS, "reduction", messages.Reduction),
            class_count=reading.class_count(request, model),
            channels=reading.find_channels(request.channels, layers),
            positions=reading.find_positions(request.positions, layers),
            half=reading.choice(request.dtype, _HALF, "dtype", pb.DataType),
            images=self._images(request.images, "images", request.fit, model),
        )

    def dictionary(self, request: messages.SemanticDictionaryRequest) -> DictionaryQuestion:
        model = reading.find_model(self._engine.models, request.model)
        layer = reading.find_spatial_layer(model, request.layer, "layer")
        neurons = request.neurons if request.HasField("neurons") else min(_USUAL_NEURONS, layer.channels)
        reading.in_range(neurons, "neurons", 1, min(_MAX_NEURONS, layer.channels))
        positions = _positions(request, layer)
        examples = reading.in_range(request.examples, "examples", 0, MAX_EXAMPLES)
        if request.position_icons and len(positions) > _MAX_POSITION_ICONS:
            raise InvalidArgument(
                "position_icons",
                f"are for at most {_MAX_POSITION_ICONS} positions, and these are {len(positions)}; choose `positions`.",
            )
        return DictionaryQuestion(
            model=model,
            layer=layer,
            neurons=neurons,
            positions=positions,
            classes=reading.find_classes(model, request.class_names),
            class_count=reading.class_count(request, model),
            attribution=reading.choice(request.attribution, _ATTRIBUTIONS, "attribution", messages.Attribution),
            steps=reading.in_range(request.steps if request.HasField("steps") else _STEPS, "steps", 1, _MAX_STEPS),
            examples=examples,
            position_icons=request.position_icons,
            icons=reading.read_icon_options(request, model, self._recipes),
            image=GivenImages(
                [reading.read_image(request.image, "image", model.preprocessing)], reading.read_fit(request.fit, "fit")
            ),
        )

    async def factorization(self, request: messages.FactorizeRequest) -> ImageGroupsQuestion | ActivationGroupsQuestion:
        match request.WhichOneof("source"):
            case "images":
                name = reading.basis_name(request.basis, "basis") if request.basis else ""
                return self._image_groups(request, await self._library.find(name) if name else None)
            case "activations":
                return _activation_groups(request)
        raise InvalidArgument("source", "is empty; set images or activations.")

    def flows(self, request: messages.FactorizeLayersRequest) -> FlowsQuestion:
        model = reading.find_model(self._engine.models, request.model)
        layers = _layers_in_order(request, model)
        icons = reading.read_icon_options(request, model, self._recipes)
        images = len(request.images) or 1
        return FlowsQuestion(
            model=model,
            layers=layers,
            icons=icons,
            classes=reading.find_classes(model, request.class_names),
            class_count=reading.class_count(request, model),
            # As many as every layer has room for, where the request does not say.
            components=min(_components(request, (images, *layer.shape)) for layer in layers),
            rectify=request.rectify,
            images=self._images(request.images, "images", request.fit, model),
        )

    def rendering(self, request: messages.RenderIconsRequest) -> RenderQuestion:
        model = reading.find_model(self._engine.models, request.model)
        layer = reading.find_spatial_layer(model, request.layer, "layer")
        channels = reading.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
        channels = tuple(dict.fromkeys(channels))
        return RenderQuestion(
            model=model,
            layer=layer,
            channels=channels,
            shown=_shown(request, layer, channels, self._engine.catalogue.objectives),
            recipe=self._recipes.choose(request.recipe, model),
            facets=reading.in_range(request.facets or 1, "facets", 0, _MAX_FACETS),
            omit=request.omit_icons,
            detach=request.detach,
        )

    def _images(self, images: Sequence[pb.Image], field: str, fit: pb.Fit, model: ModelDescription) -> GivenImages:
        fit_field = field.removesuffix("images") + "fit"
        return reading.read_images(images, field, reading.read_fit(fit, fit_field), model, self._max_images)

    def _image_groups(self, request: messages.FactorizeRequest, basis: StoredBasis | None) -> ImageGroupsQuestion:
        model, layer = self._model_and_layer(request, basis)
        images = len(request.images.images) or 1
        components = _components_of(request, (images, *layer.shape), basis)
        if request.save_as:
            reading.basis_name(request.save_as, "save_as")
            if basis is not None:
                raise InvalidArgument("save_as", f"cannot be set with a basis: its groups are kept as {basis.name!r}.")
        classes = reading.find_classes(model, request.class_names)
        class_count = reading.class_count(request, model)
        if request.sobol_points:
            if not (classes or class_count):
                raise InvalidArgument(
                    "sobol_points", "needs classes to depend on something; ask for some, or leave it 0."
                )
            _check_sobol_points(request.sobol_points, images, components or MOST_CHOICES)
        return ImageGroupsQuestion(
            model=model,
            layer=layer,
            components=components,
            classes=classes,
            class_count=class_count,
            rectify=request.rectify or (basis is not None and basis.rectify),
            basis=basis,
            save_as=request.save_as,
            sobol_points=request.sobol_points,
            icons=reading.read_icon_options(request, model, self._recipes),
            images=self._images(request.images.images, "images.images", request.images.fit, model),
        )

    def _model_and_layer(
        self, request: messages.FactorizeRequest, basis: StoredBasis | None
    ) -> tuple[ModelDescription, LayerDescription]:
        """Return what the request names, or else what the basis belongs to."""
        models = self._engine.models
        if basis is None:
            model = reading.find_model(models, request.model)
            return model, reading.find_spatial_layer(model, request.images.layer, "images.layer")
        model = model_of(basis, models, reading.find_model(models, request.model) if request.model else None)
        layer = reading.find_spatial_layer(model, request.images.layer or basis.layer, "images.layer")
        if layer.path != basis.layer:
            raise InvalidArgument(
                "images.layer",
                f"is {layer.path!r}, but the basis {basis.name!r} is of {basis.layer!r}; leave it empty.",
            )
        return model, layer


def _positions(request: messages.SemanticDictionaryRequest, layer: LayerDescription) -> NDArray[np.int32]:
    """Return the positions that are asked for, [P, 2], all by default."""
    _, height, width = layer.shape
    if chosen := reading.find_positions(request.positions, [layer]):
        return np.array(chosen, np.int32)
    return np.stack(np.divmod(np.arange(height * width, dtype=np.int32), width), axis=1)


def _activation_groups(request: messages.FactorizeRequest) -> ActivationGroupsQuestion:
    for field in ("save_as", "basis", "sobol_points"):
        if getattr(request, field):
            raise InvalidArgument(field, "needs images, since it belongs to a model; leave it empty, or send images.")
    activations = reading.read_tensor(request.activations, "activations")
    if activations.dtype.kind != "f" or activations.ndim != 4 or 0 in activations.shape:
        raise InvalidArgument(
            "activations",
            f"should be float32 or float16 [N, C, H, W], and is {activations.dtype.name} {list(activations.shape)}.",
        )
    components = _components(request, activations.shape)
    return ActivationGroupsQuestion(activations.astype(np.float32), components, request.rectify)


def _components_of(request: messages.FactorizeRequest, shape: tuple[int, ...], basis: StoredBasis | None) -> int:
    """Return how many groups are asked for, or how many the basis has; 0: as many as the activations ask for."""
    if basis is None:
        return _components(request, shape)
    components = len(basis.directions)
    if request.HasField("components") and request.components != components:
        raise InvalidArgument(
            "components", f"is {request.components}, but the basis {basis.name!r} has {components}; leave it out."
        )
    return components


def _components(request: messages.FactorizeRequest | messages.FactorizeLayersRequest, shape: tuple[int, ...]) -> int:
    """Return how many groups of activations [N, C, H, W] are asked for; 0: as many as the activations ask for."""
    images, channels, height, width = shape
    positions = images * height * width
    most = min(positions, channels, reading.MAX_COMPONENTS)
    components = request.components if request.HasField("components") else min(reading.USUAL_COMPONENTS, most)
    why = f"the activations are {positions} positions of {channels} channels; 0 chooses"
    return reading.in_range(components, "components", 0, most, why)


def _check_sobol_points(points: int, images: int, components: int) -> None:
    forwards = images * (components + 2)
    most = min(_MAX_POINTS, _MAX_EVALUATIONS // forwards)
    why = f"{images} images and {components} groups cost {forwards} forwards each"
    reading.in_range(points, "sobol_points", 0, most, why)


def _layers_in_order(request: messages.FactorizeLayersRequest, model: ModelDescription) -> list[LayerDescription]:
    if not 2 <= len(request.layers) <= _MAX_LAYERS:
        raise InvalidArgument(
            "layers",
            f"holds {len(request.layers)}; name 2 to {_MAX_LAYERS} layers, in the order in which they compute.",
        )
    layers = [
        reading.find_spatial_layer(model, name, f"layers[{number}]") for number, name in enumerate(request.layers)
    ]
    order = {layer.path: place for place, layer in enumerate(model.layers)}
    for number, (earlier, later) in enumerate(pairwise(layers), start=1):
        if order[earlier.path] >= order[later.path]:
            raise InvalidArgument(
                f"layers[{number}]",
                f"{later.path!r} does not compute after {earlier.path!r}; name layers in the order of ListModels.",
            )
    return layers


def _shown(
    request: messages.RenderIconsRequest,
    layer: LayerDescription,
    channels: Sequence[int],
    added: Mapping[str, Signature],
) -> Sequence[Single]:
    """Return what is to be pictured: channels, their neurons at one position, or what the operator added by a name.

    Args:
        added: objectives that the operator has added, by name.
    """
    at_position = reading.choice(request.objective, _AT_POSITION, "objective", messages.IconObjective)
    if request.objective_name:
        if request.objective != messages.ICON_OBJECTIVE_UNSPECIFIED:
            raise InvalidArgument("objective", "should be left out where `objective_name` says what to picture.")
        if request.objective_name not in added:
            known = f"it should be {' or '.join(map(repr, sorted(added)))}" if added else "this server has none by name"
            raise InvalidArgument("objective_name", f"is {shown(request.objective_name)}; {known}.")
        signature = added[request.objective_name]
        row, column = _icon_position(request, layer, is_taken=signature.takes_position)
        return [signature.at(channel, row, column) for channel in channels]
    row, column = _icon_position(request, layer, is_taken=at_position)
    return [Neuron(channel, row, column) if at_position else Channel(channel) for channel in channels]


def _icon_position(request: messages.RenderIconsRequest, layer: LayerDescription, *, is_taken: bool) -> tuple[int, int]:
    """Return the row and column that a request names, by default in the middle."""
    _, height, width = layer.shape
    if not request.HasField("position"):
        return height // 2, width // 2
    if not is_taken:
        raise InvalidArgument(
            "position", "is for objectives of one position, as ICON_OBJECTIVE_NEURON is; leave it out."
        )
    row, column = request.position.row, request.position.column
    reading.in_range(row, "position.row", 0, height - 1, f"{layer.path} has {height} rows")
    reading.in_range(column, "position.column", 0, width - 1, f"{layer.path} has {width} columns")
    return row, column
