"""ModelService: what this server explains."""

from __future__ import annotations

from striate.v1 import models_pb2 as messages
from striate.v1.models_pb2_grpc import ModelServiceServicer

from striate_service.config import Settings
from striate_service.engine import Engine
from striate_service.servicers import encoding, validation
from striate_service.servicers.validation import Context


class ModelServicer(ModelServiceServicer):
    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._limits = messages.Limits(
            images_per_request=settings.max_images_per_request,
            pixels_per_image=settings.max_pixels_per_image,
            message_bytes=settings.max_message_bytes,
        )

    async def ListModels(  # noqa: N802 - gRPC's name
        self, request: messages.ListModelsRequest, context: Context
    ) -> messages.ListModelsResponse:
        models = self._engine.models
        return messages.ListModelsResponse(
            models=[encoding.model(model, default=model is models[0]) for model in models], limits=self._limits
        )

    async def GetModel(  # noqa: N802
        self, request: messages.GetModelRequest, context: Context
    ) -> messages.GetModelResponse:
        model = validation.find_model(self._engine.models, request.name)
        return messages.GetModelResponse(model=encoding.model(model, default=model is self._engine.models[0]))
