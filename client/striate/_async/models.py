"""The calls of ModelService: what the server explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from striate._async.base import Connected
from striate.calls.load_model import LoadModelCall
from striate.calls.replies import read_model
from striate.results.models import Model
from striate.transport import Connection
from striate.v1 import models_pb2 as messages
from striate.v1.models_pb2_grpc import ModelServiceStub


class ModelCalls(Connected):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._models = ModelServiceStub(self._channel)

    async def models(self, *, timeout: float | None = None) -> list[Model]:
        """Return the models that the server explains, the default one first."""
        request = messages.ListModelsRequest()
        with self._connection.errors():
            response = await self._models.ListModels(request, **self._connection.call_options(timeout))
        return [read_model(model) for model in response.models]

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Return one model, the default one without a name."""
        request = messages.GetModelRequest(name=name)
        with self._connection.errors():
            response = await self._models.GetModel(request, **self._connection.call_options(timeout))
        return read_model(response.model)

    async def load_model(
        self,
        name: str,
        architecture: str,
        weights: str,
        *,
        classes: str = "",
        preprocessing: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        activation: str = "",
        devices: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Model:
        """Have the server explain one more model, where its operator allows that: see `calls.load_model`.

        Args:
            timeout: without limit by default.
        """
        call = LoadModelCall(
            name=name,
            architecture=architecture,
            weights=weights,
            classes=classes,
            preprocessing=preprocessing,
            arguments=arguments,
            activation=activation,
            devices=devices,
        )
        request = call.request()
        with self._connection.errors():
            response = await self._models.LoadModel(request, **self._connection.unlimited_call_options(timeout))
        return call.result(response)

    async def unload_model(self, name: str, *, timeout: float | None = None) -> None:
        """Have the server stop explaining a model, once the requests under way have been answered.

        Args:
            timeout: without limit by default.
        """
        request = messages.UnloadModelRequest(name=name)
        with self._connection.errors():
            await self._models.UnloadModel(request, **self._connection.unlimited_call_options(timeout))
