"""The served models: which requests use them, and loading and unloading while the server runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from striate_service.backends.protocol import Backend, BatchLimit, batch_limits
from striate_service.config import ModelSettings
from striate_service.errors import AlreadyExists, InvalidArgument, NotFound
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.techniques.objective import Signature


class Catalogue:
    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._leaving: set[str] = set()
        self._requests: Counter[str] = Counter()  # in progress, by model
        self._request_ended = asyncio.Event()
        self._changing = asyncio.Lock()

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """The served models; the first is the default."""
        return tuple(model for model in self._backend.models if model.name not in self._leaving)

    @property
    def objectives(self) -> Mapping[str, Signature]:
        """Icon objectives that the operator registered, by name."""
        return self._backend.objectives

    def model(self, name: str) -> ModelDescription:
        """Return a model by its name.

        Raises:
            NotFound: the model has been unloaded.
        """
        for model in self._backend.models:
            if model.name == name and name not in self._leaving:
                return model
        raise NotFound("model", name, "it has just been unloaded")

    def batch_limits(self, model: str) -> Mapping[str, BatchLimit]:
        """Return how many images one forward pass of a model takes, by device."""
        return batch_limits(self._backend, model)

    @contextmanager
    def in_use(self, model: str) -> Iterator[None]:
        """Keep a model from being unloaded."""
        self._requests[model] += 1
        try:
            yield
        finally:
            self._requests[model] -= 1
            self._request_ended.set()

    async def load(self, settings: ModelSettings) -> ModelDescription:
        """Serve one more model, on the devices that its settings name.

        Raises:
            AlreadyExists: its name is taken.
            InvalidArgument: this server has none of its devices, or it cannot be loaded.
        """
        async with self._changing:
            if any(model.name == settings.name for model in self.models):
                raise AlreadyExists("model", settings.name, "choose another name, or unload that one first")
            model = await self._backend.load(settings)
            self.show_limits()
            return model

    async def unload(self, name: str) -> None:
        """Stop serving a model. Requests in progress are answered first. It goes on when its caller has gone.

        Raises:
            NotFound: there is no model of that name.
            InvalidArgument: it is the default model.
        """
        self._unloading = asyncio.create_task(self._unload(name))
        await asyncio.shield(self._unloading)

    async def _unload(self, name: str) -> None:
        async with self._changing:
            models = self.models
            if all(model.name != name for model in models):
                known = [model.name for model in models]
                raise NotFound.among("model", name, known, f"this server has {', '.join(known)}")
            if name == models[0].name:
                raise InvalidArgument("name", f"{name!r} is the default model, which the empty name means; it stays.")
            self._leaving.add(name)
            try:
                while self._requests[name]:
                    self._request_ended.clear()
                    await self._request_ended.wait()
                await self._backend.unload(name)
            finally:
                self._leaving.discard(name)
                self.show_limits()

    def show_limits(self) -> None:
        """Update the metrics of batch limits."""
        self._metrics.count_batch_limits(
            (model.name, device, limit.images)
            for model in self.models
            for device, limit in self.batch_limits(model.name).items()
        )
