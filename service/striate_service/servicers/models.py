"""ModelService: which models this server explains, and loading and unloading them."""

from __future__ import annotations

import json

from pydantic import ValidationError
from striate.v1 import models_pb2 as messages
from striate.v1.models_pb2_grpc import ModelServiceServicer

from striate_service.config import ModelSettings, Settings
from striate_service.errors import InvalidArgument, NotAllowed
from striate_service.models.description import ModelDescription, Preprocessing, TargetKind
from striate_service.scheduling.catalogue import Catalogue
from striate_service.servicers import encoding, reading
from striate_service.servicers.context import Context

_TARGET_KINDS = {
    TargetKind.CLASS: messages.TARGET_KIND_CLASS,
    TargetKind.OUTPUT: messages.TARGET_KIND_OUTPUT,
    TargetKind.EMBEDDING: messages.TARGET_KIND_EMBEDDING,
    TargetKind.REGION: messages.TARGET_KIND_REGION,
    TargetKind.BOX: messages.TARGET_KIND_BOX,
}
_MOST_DEVICES = _MOST_ARGUMENTS = 64


class ModelServicer(ModelServiceServicer):
    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self._catalogue = catalogue
        self._allow_changes = settings.allow_model_changes
        self._limits = messages.Limits(
            images_per_request=settings.max_images_per_request,
            pixels_per_image=settings.max_pixels_per_image,
            message_bytes=settings.max_message_bytes,
        )

    async def ListModels(  # noqa: N802 - gRPC's name
        self, request: messages.ListModelsRequest, context: Context
    ) -> messages.ListModelsResponse:
        return messages.ListModelsResponse(models=list(map(self._message, self._catalogue.models)), limits=self._limits)

    async def GetModel(  # noqa: N802
        self, request: messages.GetModelRequest, context: Context
    ) -> messages.GetModelResponse:
        model = reading.find_model(self._catalogue.models, request.name)
        return messages.GetModelResponse(model=self._message(model))

    async def LoadModel(  # noqa: N802
        self, request: messages.LoadModelRequest, context: Context
    ) -> messages.LoadModelResponse:
        self._check_changes_are_allowed()
        model = await self._catalogue.load(_settings(request))
        return messages.LoadModelResponse(model=self._message(model))

    async def UnloadModel(  # noqa: N802
        self, request: messages.UnloadModelRequest, context: Context
    ) -> messages.UnloadModelResponse:
        self._check_changes_are_allowed()
        await self._catalogue.unload(request.name)
        return messages.UnloadModelResponse()

    def _message(self, model: ModelDescription) -> messages.Model:
        return messages.Model(
            name=model.name,
            version=model.version,
            architecture=model.architecture,
            input_shape=model.input_shape,
            preprocessing=_preprocessing(model.preprocessing),
            activation=model.activation,
            classes=model.classes,
            target_kinds=[_TARGET_KINDS[kind] for kind in model.target_kinds],
            outputs=model.outputs,
            target_classes=model.target_classes,
            layers=map(encoding.layer, model.layers),
            default=model is self._catalogue.models[0],
            batch_limits=[
                messages.BatchLimit(device=device, images=limit.images, images_per_second=limit.images_per_second)
                for device, limit in self._catalogue.batch_limits(model.name).items()
            ],
        )

    def _check_changes_are_allowed(self) -> None:
        if not self._allow_changes:
            raise NotAllowed(
                "this server loads and unloads no models while it runs: its operator can allow it by the setting "
                "allow_model_changes"
            )


def _preprocessing(made: Preprocessing) -> messages.Preprocessing:
    message = messages.Preprocessing(interpolation=made.interpolation, mean=made.mean, std=made.std)
    for name, value in (("resize", made.resize), ("crop", made.crop)):
        if isinstance(value, int):
            setattr(message, name, value)
        else:
            getattr(message, f"{name}_to").extend(value)
    return message


def _settings(request: messages.LoadModelRequest) -> ModelSettings:
    given = request.preprocessing
    preprocessing = {
        "resize": tuple(given.resize_to) or given.resize,
        "crop": tuple(given.crop_to) or given.crop,
        **({"interpolation": given.interpolation} if given.interpolation else {}),
        **({"mean": tuple(given.mean)} if given.mean else {}),
        **({"std": tuple(given.std)} if given.std else {}),
    }
    for field in ("name", "architecture", "weights"):
        if not reading.path(getattr(request, field), field):
            raise InvalidArgument(field, "is empty.")
    reading.path(request.classes, "classes")
    if len(request.arguments) > _MOST_ARGUMENTS:
        raise InvalidArgument("arguments", f"are {len(request.arguments)}; at most {_MOST_ARGUMENTS} are allowed.")
    if len(request.devices) > _MOST_DEVICES:
        raise InvalidArgument("devices", f"holds {len(request.devices)} names; at most {_MOST_DEVICES} are allowed.")
    for number, device in enumerate(request.devices):
        reading.bounded(device, f"devices[{number}]")
    try:
        return ModelSettings.model_validate(
            {
                "name": request.name,
                "architecture": request.architecture,
                "weights": request.weights,
                "classes": request.classes or None,
                "preprocessing": preprocessing if request.HasField("preprocessing") else None,
                "devices": tuple(request.devices) or None,
                "arguments": {name: _argument(name, value) for name, value in request.arguments.items()},
                "activation": request.activation or None,
            }
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidArgument(".".join(map(str, problem["loc"])), f"{problem['msg']}.") from error


def _argument(name: str, value: str) -> object:
    reading.bounded(name, "arguments")
    reading.bounded(value, f"arguments.{name}")
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidArgument(f"arguments.{name}", "is no JSON; a text stands in quotes.") from error
