"""What is served, through ModelService: for the client that blocks and for the one that is awaited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from striate.calls import layer_result
from striate.connection import Connected
from striate.results import Model
from striate.v1 import models_pb2
from striate.v1.models_pb2_grpc import ModelServiceStub

if TYPE_CHECKING:
    from striate.v1.models_pb2_grpc import ModelServiceAsyncStub


class ModelCalls(Connected):
    _models: ModelServiceStub

    def models(self, *, timeout: float | None = None) -> list[Model]:
        """Return the models that the server explains, the default one first."""
        with self._errors():
            response = self._models.ListModels(models_pb2.ListModelsRequest(), **self._how(timeout))
        return [_model_result(model) for model in response.models]

    def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Return one model, the default one without a name."""
        with self._errors():
            response = self._models.GetModel(models_pb2.GetModelRequest(name=name), **self._how(timeout))
        return _model_result(response.model)

    def load_model(
        self,
        name: str,
        architecture: str,
        weights: str,
        *,
        classes: str = "",
        preprocessing: Mapping[str, Any] | None = None,
        devices: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Model:
        """Have the server explain one more model, where its operator allows that.

        Args:
            name: what requests will call it.
            architecture: torchvision's name of a classifier, or "package.module:factory".
            weights: a file on the server's machine, or "torchvision".
            classes: a file of class names on the server's machine.
            preprocessing: resize and crop, also interpolation, mean and std; as the weights tell by default.
            devices: those of the server's that are to hold it; all by default.
            timeout: without limit by default.
        """
        request = _load_request(name, architecture, weights, classes, preprocessing, devices)
        with self._errors():
            response = self._models.LoadModel(request, **self._how_long(timeout))
        return _model_result(response.model)

    def unload_model(self, name: str, *, timeout: float | None = None) -> None:
        """Have the server explain a model no more, once what is under way has been answered.

        Args:
            timeout: without limit by default.
        """
        with self._errors():
            self._models.UnloadModel(models_pb2.UnloadModelRequest(name=name), **self._how_long(timeout))


class AwaitedModelCalls(Connected):
    _models: ModelServiceAsyncStub

    async def models(self, *, timeout: float | None = None) -> list[Model]:
        """Return the models that the server explains, the default one first."""
        with self._errors():
            response = await self._models.ListModels(models_pb2.ListModelsRequest(), **self._how(timeout))
        return [_model_result(model) for model in response.models]

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Return one model, the default one without a name."""
        with self._errors():
            response = await self._models.GetModel(models_pb2.GetModelRequest(name=name), **self._how(timeout))
        return _model_result(response.model)

    async def load_model(
        self,
        name: str,
        architecture: str,
        weights: str,
        *,
        classes: str = "",
        preprocessing: Mapping[str, Any] | None = None,
        devices: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Model:
        """Have the server explain one more model, where its operator allows that.

        Args:
            name: what requests will call it.
            architecture: torchvision's name of a classifier, or "package.module:factory".
            weights: a file on the server's machine, or "torchvision".
            classes: a file of class names on the server's machine.
            preprocessing: resize and crop, also interpolation, mean and std; as the weights tell by default.
            devices: those of the server's that are to hold it; all by default.
            timeout: without limit by default.
        """
        request = _load_request(name, architecture, weights, classes, preprocessing, devices)
        with self._errors():
            response = await self._models.LoadModel(request, **self._how_long(timeout))
        return _model_result(response.model)

    async def unload_model(self, name: str, *, timeout: float | None = None) -> None:
        """Have the server explain a model no more, once what is under way has been answered.

        Args:
            timeout: without limit by default.
        """
        with self._errors():
            await self._models.UnloadModel(models_pb2.UnloadModelRequest(name=name), **self._how_long(timeout))


def _model_result(model: models_pb2.Model) -> Model:
    _, height, width = model.input_shape
    return Model(
        name=model.name,
        version=model.version,
        architecture=model.architecture,
        input_size=(height, width),
        classes=tuple(model.classes),
        layers=tuple(layer_result(layer) for layer in model.layers),
        default=model.default,
        batch_limits={limit.device: limit.images for limit in model.batch_limits},
    )


def _load_request(
    name: str,
    architecture: str,
    weights: str,
    classes: str,
    preprocessing: Mapping[str, Any] | None,
    devices: Sequence[str],
) -> models_pb2.LoadModelRequest:
    return models_pb2.LoadModelRequest(
        name=name,
        architecture=architecture,
        weights=weights,
        classes=classes,
        preprocessing=None if preprocessing is None else models_pb2.Preprocessing(**preprocessing),
        devices=devices,
    )
