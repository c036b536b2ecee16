"""Factorize and FactorizeLayers: the requests as questions, and the answers as replies."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
from striate.show.overlays import overlay_file
from striate.tensors import tensor_from_array, write_tensor
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.explain.bases import basis_method, model_of
from striate_service.explain.factorizations import ActivationGroupsQuestion, ImageGroupsQuestion
from striate_service.explain.flows import FlowsAnswer, FlowsQuestion
from striate_service.explain.groups import GroupsAnswer
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.servicers import encoding, reading
from striate_service.servicers.interpretability.reader import Reader
from striate_service.servicers.interpretability.targets import read_targets, refuse_boxes
from striate_service.servicers.methods import method_message, read_method
from striate_service.stores.bases import StoredBasis
from striate_service.techniques.costs import MOST_CHOICES
from striate_service.techniques.tasks.groups import GroupsResult

_MAX_POINTS = 256
_MAX_EVALUATIONS = 32_768  # forwards of the network's remainder that one request's Sobol indices may cost: minutes
_MAX_LAYERS = 8  # of FactorizeLayers

_Overlaid = messages.FactorizeRequest | messages.FactorizeLayersRequest
"""A request that says whether it wants overlays."""


async def read(request: messages.FactorizeRequest, reader: Reader) -> ImageGroupsQuestion | ActivationGroupsQuestion:
    match request.WhichOneof("source"):
        case "images":
            name = reading.basis_name(request.basis, "basis") if request.basis else ""
            return _image_groups(request, reader, await reader.library.find(name) if name else None)
        case "activations":
            return _activation_groups(request)
    raise InvalidArgument("source", "is empty; set images or activations.")


def read_flows(request: messages.FactorizeLayersRequest, reader: Reader) -> FlowsQuestion:
    model = reading.find_model(reader.models, request.model)
    layers = _layers_in_order(request, model)
    icons = reading.read_icon_options(request, model, reader.recipes)
    images = len(request.images) or 1
    return FlowsQuestion(
        model=model,
        layers=layers,
        icons=icons,
        targets=read_targets(request, model),
        class_count=reading.class_count(request, model),
        # As many as every layer has room for, where the request does not say.
        components=min(_components(request, (images, *layer.map_shape)) for layer in layers),
        method=read_method(request.method, request.rectify),
        rectify=request.rectify,
        smooth_max_pool=request.smooth_max_pool,
        images=reader.images(request.images, "images", request.fit, model),
    )


async def write(request: _Overlaid, answer: GroupsAnswer) -> messages.FactorizeResponse:
    result = answer.result
    nothing_left = np.zeros((len(result.spatial), 0), np.float32)
    response = messages.FactorizeResponse(
        spatial=tensor_from_array(result.spatial),
        directions=tensor_from_array(result.directions),
        relative_error=float(result.relative_error),
        groups=encoding.groups(answer.groups),
        effects=tensor_from_array(answer.effects),
        residual_effects=tensor_from_array(nothing_left if result.residual is None else result.residual),
        choices=_choices(result),
        fidelity=_fidelity(result),
        views=map(encoding.view, answer.views),
        overlays=() if request.omit_overlays else await asyncio.to_thread(_overlays, answer),
        overlay_scale=answer.style.scale,
        basis=answer.basis,
        method=method_message(result.method),
        convergence=_convergence(result),
        smooth_max_pool=answer.smooth_max_pool,
    )
    if answer.model and answer.layer:
        response.model.CopyFrom(encoding.model_ref(answer.model))
        response.layer.CopyFrom(encoding.layer(answer.layer))
        response.predictions.extend(encoding.predictions(answer.model, result.predictions))
        response.classes.extend(encoding.targets(answer.model, result.targets))
    if answer.sobol_indices is not None:
        write_tensor(response.sobol_indices, answer.sobol_indices)
    return response


async def write_flows(request: _Overlaid, answer: FlowsAnswer) -> messages.FactorizeLayersResponse:
    return messages.FactorizeLayersResponse(
        layers=[await write(request, layer) for layer in answer.layers],
        flows=[
            messages.Flow(influence=tensor_from_array(flow.influence), residual=tensor_from_array(flow.residual))
            for flow in answer.flows
        ],
    )


def _overlays(answer: GroupsAnswer) -> list[bytes]:
    """Draw an overlay for each image, for callers who do not draw themselves."""
    size = answer.model.input_shape[1:] if answer.model else None
    return [
        overlay_file(
            answer.pictures[number] if answer.pictures else None,
            maps,
            answer.style.colors,
            scale=answer.style.scale,
            **({"size": size} if size else {}),
        )
        for number, maps in enumerate(answer.result.spatial)
    ]


def _image_groups(request: messages.FactorizeRequest, reader: Reader, basis: StoredBasis | None) -> ImageGroupsQuestion:
    model, layer = _model_and_layer(request, reader, basis)
    images = len(request.images.images) or 1
    components = _components_of(request, (images, *layer.map_shape), basis)
    if request.save_as:
        reading.basis_name(request.save_as, "save_as")
        if basis is not None:
            raise InvalidArgument("save_as", f"cannot be set with a basis: its groups are kept as {basis.name!r}.")
    method = read_method(request.method, request.rectify)
    if basis is not None and method not in ("auto", basis.method):
        raise InvalidArgument("method", f"is not that of the basis {basis.name!r}, {basis.method}; leave it unset.")
    if basis is not None and request.rectify and basis.method != "nmf":
        raise InvalidArgument("rectify", f"goes with NMF, and the basis {basis.name!r} is of {basis.method}.")
    targets = read_targets(request, model)
    class_count = reading.class_count(request, model)
    if request.sobol_points:
        if not (targets or class_count):
            raise InvalidArgument(
                "sobol_points", "needs classes or targets that depend on the groups; ask for some, or leave it 0."
            )
        refuse_boxes(targets, "sobol_points", "Sobol indices")
        _check_sobol_points(request.sobol_points, images, components or MOST_CHOICES)
    return ImageGroupsQuestion(
        model=model,
        layer=layer,
        components=components,
        targets=targets,
        class_count=class_count,
        method=basis_method(basis) if basis else method,
        rectify=request.rectify or (basis is not None and basis.rectify),
        basis=basis,
        save_as=request.save_as,
        sobol_points=request.sobol_points,
        smooth_max_pool=request.smooth_max_pool,
        icons=reading.read_icon_options(request, model, reader.recipes),
        images=reader.images(request.images.images, "images.images", request.images.fit, model),
    )


def _model_and_layer(
    request: messages.FactorizeRequest, reader: Reader, basis: StoredBasis | None
) -> tuple[ModelDescription, LayerDescription]:
    """Return what the request names, or else what the basis belongs to."""
    models = reader.models
    if basis is None:
        model = reading.find_model(models, request.model)
        return model, reading.find_map(model, request.images.layer, "images.layer")
    model = model_of(basis, models, reading.find_model(models, request.model) if request.model else None)
    layer = reading.find_map(model, request.images.layer or basis.layer, "images.layer")
    if layer.path != basis.layer:
        raise InvalidArgument(
            "images.layer",
            f"is {layer.path!r}, but the basis {basis.name!r} is of {basis.layer!r}; leave it empty.",
        )
    return model, layer


def _activation_groups(request: messages.FactorizeRequest) -> ActivationGroupsQuestion:
    for field in ("save_as", "basis", "sobol_points", "targets"):
        if getattr(request, field):
            raise InvalidArgument(field, "needs images, since it belongs to a model; leave it empty, or send images.")
    activations = reading.read_tensor(request.activations, "activations")
    if activations.dtype.kind != "f" or activations.ndim != 4 or 0 in activations.shape:
        raise InvalidArgument(
            "activations",
            f"should be float32 or float16 [N, C, H, W], and is {activations.dtype.name} {list(activations.shape)}.",
        )
    components = _components(request, activations.shape)
    method = read_method(request.method, request.rectify)
    return ActivationGroupsQuestion(activations.astype(np.float32), components, method, request.rectify)


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
    layers = [reading.find_map(model, name, f"layers[{number}]") for number, name in enumerate(request.layers)]
    order = {layer.path: place for place, layer in enumerate(model.layers)}
    for number, (earlier, later) in enumerate(pairwise(layers), start=1):
        if order[earlier.path] >= order[later.path]:
            raise InvalidArgument(
                f"layers[{number}]",
                f"{later.path!r} does not compute after {earlier.path!r}; name layers in the order of computation.",
            )
    return layers


def _fidelity(result: GroupsResult) -> list[messages.Fidelity]:
    """One an image; none where no classes are explained."""
    divergences, same = encoding.numbers(result.kl_divergence), encoding.numbers(result.same_top_class)
    then = [[]] * len(divergences) if result.probabilities_then is None else result.probabilities_then.tolist()
    return [
        messages.Fidelity(kl_divergence=divergence, same_top_class=is_same, probabilities=probabilities)
        for divergence, is_same, probabilities in zip(divergences, same, then, strict=True)
    ]


def _convergence(result: GroupsResult) -> messages.Convergence | None:
    if not result.iterations:
        return None
    return messages.Convergence(iterations=int(result.iterations), ran_out=not result.converged)


def _choices(result: GroupsResult) -> list[messages.Choice]:
    return [
        messages.Choice(components=int(number), relative_error=error, explained_variance=1 - error * error)
        for number, error in encoding.numbers(result.choices)
    ]
