"""Factorize: groups found in images, or those of a basis found again, and what the network makes of them."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray
from striate.tensors import array_from_tensor, tensor_from_array
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.backends.local.shared_memory import Arrays
from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.servicers import validation
from striate_service.servicers.explainer import Explainer
from striate_service.servicers.group_replies import GroupReplies, group_response
from striate_service.servicers.groups import Look, overlays
from striate_service.servicers.importance import GroupImportance
from striate_service.servicers.library import Library, check_name, model_of
from striate_service.stores.bases import StoredBasis
from striate_service.techniques.tasks import FactorizeActivationsTask, FactorizeTask

_MAX_COMPONENTS, _MAX_CHOICE = 64, 16  # as many as are asked for; as many as `choose_components` tries
_USUAL_COMPONENTS = 6  # the article's
_MAX_POINTS = 256
_MAX_EVALUATIONS = 32_768  # forwards of the network's remainder that one request's Sobol indices may cost: minutes
_NO_PICTURE = (224, 224)  # pixels of an overlay over nothing


class Factorizations:
    def __init__(
        self,
        explainer: Explainer,
        engine: Engine,
        replies: GroupReplies,
        library: Library,
        importance: GroupImportance,
    ) -> None:
        self._explainer = explainer
        self._engine = engine
        self._replies = replies
        self._library = library
        self._importance = importance

    async def answer(self, request: messages.FactorizeRequest, terms: Terms) -> messages.FactorizeResponse:
        match request.WhichOneof("source"):
            case "images":
                return await self._factorize_images(request, terms)
            case "activations":
                return await self._factorize_activations(request, terms)
        raise InvalidArgument("source", "is empty; set images or activations.")

    async def _factorize_images(self, request: messages.FactorizeRequest, terms: Terms) -> messages.FactorizeResponse:
        basis = await self._library.find(request.basis, "basis") if request.basis else None
        model, layer = self._model_and_layer(request, basis)
        task = _task(request, model, layer, basis)
        self._replies.check(request, model)
        given = {} if basis is None else {"directions": basis.directions}
        decoded, arrays = await self._explainer.explain(
            task, model, request.images.images, "images.images", request.images.fit, terms, given
        )
        look = Look.of(arrays["spatial"]) if basis is None else Look(basis.colors, basis.scale)
        response = await self._replies.in_images(request, model, layer, decoded, arrays, look, terms)
        if request.sobol_points:
            await self._add_sobol_indices(response, request, model, decoded.pixels, arrays, terms)
        if request.save_as:
            await self._library.save(_basis(request, model, layer, arrays, look))
        response.basis = request.basis or request.save_as
        return response

    def _model_and_layer(
        self, request: messages.FactorizeRequest, basis: StoredBasis | None
    ) -> tuple[ModelDescription, LayerDescription]:
        if basis is None:
            model = validation.find_model(self._explainer.models, request.model)
            return model, validation.find_spatial_layer(model, request.images.layer, "images.layer")
        model = model_of(basis, self._explainer.models, request.model)
        layer = validation.find_spatial_layer(model, request.images.layer or basis.layer, "images.layer")
        if layer.path != basis.layer:
            raise InvalidArgument(
                "images.layer",
                f"is {layer.path!r}, but the basis {basis.name!r} is of {basis.layer!r}; leave it empty.",
            )
        return model, layer

    async def _add_sobol_indices(
        self,
        response: messages.FactorizeResponse,
        request: messages.FactorizeRequest,
        model: ModelDescription,
        pixels: NDArray[np.generic],
        arrays: Arrays,
        terms: Terms,
    ) -> None:
        classes = [each.index for each in response.classes]
        indices = await self._importance.sobol_indices(
            model, response.layer.path, classes, pixels, arrays, request.sobol_points, terms
        )
        response.sobol_indices.CopyFrom(tensor_from_array(indices))
        for group, index in zip(response.groups, indices.mean(axis=0), strict=True):
            group.sobol_indices.extend(index.tolist())

    async def _factorize_activations(
        self, request: messages.FactorizeRequest, terms: Terms
    ) -> messages.FactorizeResponse:
        for field in ("save_as", "basis", "sobol_points"):
            if getattr(request, field):
                raise InvalidArgument(
                    field, "needs images, since it belongs to a model; leave it empty, or send images."
                )
        try:
            activations = array_from_tensor(request.activations)
        except ValueError as error:
            raise InvalidArgument("activations", str(error)) from error
        if activations.dtype.kind != "f" or activations.ndim != 4 or 0 in activations.shape:
            raise InvalidArgument(
                "activations",
                "should be float32 or float16 [N, C, H, W], and is "
                f"{activations.dtype.name} {list(activations.shape)}.",
            )
        task = FactorizeActivationsTask(group_count(request, activations.shape), request.rectify)
        arrays = await self._engine.submit(
            task,
            {"activations": activations.astype(np.float32)},
            terms,
            alike=(activations.shape, task.components),
        )
        images, *_, components = arrays["spatial"].shape
        look = Look.of(arrays["spatial"])
        nothing = [pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED)] * components
        response = group_response(arrays, look, nothing, [pb.Label()] * components)
        response.effects.CopyFrom(tensor_from_array(np.zeros((images, components, 0), np.float32)))
        response.overlays.extend(await asyncio.to_thread(overlays, arrays["spatial"], look, None, _NO_PICTURE))
        return response


def _task(
    request: messages.FactorizeRequest, model: ModelDescription, layer: LayerDescription, basis: StoredBasis | None
) -> FactorizeTask:
    """Return what the workers are asked for, having checked the rest of the request."""
    images = len(request.images.images) or 1
    if basis is None:
        components = group_count(request, (images, *layer.shape))
    else:
        components = len(basis.directions)
        if request.HasField("components") and request.components != components:
            raise InvalidArgument(
                "components", f"is {request.components}, but the basis {basis.name!r} has {components}; leave it out."
            )
    if request.save_as:
        check_name(request.save_as, "save_as")
        if basis is not None:
            raise InvalidArgument("save_as", f"cannot be set with a basis: its groups are kept as {basis.name!r}.")
    task = FactorizeTask(
        model=model.name,
        classes=validation.find_classes(model, request.class_names),
        class_count=validation.class_count(request, model),
        layer=layer.path,
        components=components,
        rectify=request.rectify or (basis is not None and basis.rectify),
    )
    if request.sobol_points:
        _check_sobol(request.sobol_points, images, components or _MAX_CHOICE, task)
    return task


def _check_sobol(points: int, images: int, components: int, task: FactorizeTask) -> None:
    if not (task.classes or task.class_count):
        raise InvalidArgument("sobol_points", "needs classes to depend on something; ask for some, or leave it 0.")
    most = min(_MAX_POINTS, _MAX_EVALUATIONS // (images * (components + 2)))
    why = f"{images} images and {components} groups cost {images * (components + 2)} forwards each"
    validation.in_range(points, "sobol_points", 0, most, why)


def group_count(request: messages.FactorizeRequest | messages.FactorizeLayersRequest, shape: tuple[int, ...]) -> int:
    """Return how many groups are asked for; 0: as many as the activations ask for."""
    images, channels, height, width = shape
    most = min(images * height * width, channels, _MAX_COMPONENTS)
    components = request.components if request.HasField("components") else min(_USUAL_COMPONENTS, most)
    why = f"the activations are {images * height * width} positions of {channels} channels; 0 chooses"
    return validation.in_range(components, "components", 0, most, why)


def _basis(
    request: messages.FactorizeRequest, model: ModelDescription, layer: LayerDescription, arrays: Arrays, look: Look
) -> StoredBasis:
    return StoredBasis(
        name=request.save_as,
        model_version=model.version,
        model=model.name,
        layer=layer.path,
        directions=arrays["directions"],
        colors=look.colours,
        importance=arrays["importance"],
        scale=look.scale,
        relative_error=float(arrays["relative_error"]),
        images=len(arrays["spatial"]),
        fit=int(request.images.fit or pb.FIT_CROP),
        rectify=request.rectify,
    )
