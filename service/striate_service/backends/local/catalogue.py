"""What is served: which models, by which workers, how many images at a time; and its changes while the server runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from striate_service.backends.local.pool import Pool, is_for
from striate_service.backends.local.process import WorkerDied
from striate_service.backends.local.supervision import StartError, Worker
from striate_service.backends.local.tuning import BatchLimit, BatchLimits
from striate_service.config import ModelSettings
from striate_service.errors import AlreadyExists, InvalidArgument, NotFound
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.techniques.objective import Signature


class Catalogue:
    def __init__(self, pool: Pool, limits: BatchLimits, metrics: Metrics) -> None:
        self._pool = pool
        self._limits = limits
        self._metrics = metrics
        self._models: tuple[ModelDescription, ...] = ()
        self._requests: Counter[str] = Counter()  # that are under way, by model
        self._request_ended = asyncio.Event()
        self._changing = asyncio.Lock()

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        """What is served; the first is the default."""
        return self._models

    @property
    def objectives(self) -> dict[str, Signature]:
        """Objectives of icons that the operator has added, by name."""
        return {objective.name: objective for worker in self._pool.workers for objective in worker.objectives}

    async def start(self) -> None:
        """Start the workers, and measure the batch limits that are not known yet.

        Raises:
            StartError: a worker cannot start.
        """
        self._models = await self._pool.start()
        await self._limits.measure(self._pool.workers)
        self._count_limits()

    @contextmanager
    def in_use(self, model: str) -> Iterator[None]:
        """Keep a model from being unloaded.

        Raises:
            NotFound: it has been.
        """
        if model and all(served.name != model for served in self._models):
            raise NotFound("model", model, "it has just been unloaded")
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
            InvalidArgument: it is for no device of this server, or cannot be loaded.
        """
        async with self._changing:
            if any(model.name == settings.name for model in self._models):
                raise AlreadyExists("model", settings.name, "choose another name, or unload that one first")
            devices = {worker.device.name for worker in self._pool.workers}
            if unknown := set(settings.devices or ()) - devices:
                raise InvalidArgument(
                    "devices", f"names {', '.join(sorted(unknown))}; this server has {', '.join(sorted(devices))}."
                )
            workers = [worker for worker in self._pool.workers if is_for(settings, worker.device)]
            try:
                for worker in workers:  # one after the other: the first says what is wrong, and exports for all
                    await worker.change_models(lambda models: (*models, settings))
            except (StartError, WorkerDied) as error:
                await self._drop(settings.name, workers)
                raise InvalidArgument("model", f"cannot be loaded: {error}") from error
            for worker in workers:
                self._limits.recall(worker)
            model = workers[0].models[settings.name]
            self._models = (*self._models, model)
            self._count_limits()
            return model

    async def unload(self, name: str) -> None:
        """Serve a model no more. Requests that are under way are answered first.

        Raises:
            NotFound: there is none of that name.
            InvalidArgument: it is the default model.
        """
        async with self._changing:
            if all(model.name != name for model in self._models):
                raise NotFound.among("model", name, [model.name for model in self._models], "ListModels gives them all")
            if name == self._models[0].name:
                raise InvalidArgument("name", f"{name!r} is the default model, which the empty name means; it stays.")
            self._models = tuple(model for model in self._models if model.name != name)
            while self._requests[name]:
                self._request_ended.clear()
                await self._request_ended.wait()
            await self._drop(name, self._pool.workers)
            self._count_limits()

    def batch_limits(self, model: ModelDescription) -> dict[str, BatchLimit]:
        """Return how many images a forward of a model takes, by device."""
        workers = [worker for worker in self._pool.workers if model.name in worker.models]
        return {worker.device.name: self._limits.of(worker, model.name) for worker in workers}

    def batch_limit(self, worker: Worker, model: str) -> int:
        """Return how many images a worker takes at a time; 0: it does not have the model.

        Args:
            model: a name; empty: none is needed.
        """
        if not model:
            return 1
        return self._limits.of(worker, model).images if model in worker.models else 0

    def lower_batch_limit(self, worker: Worker, model: str, images: int) -> None:
        """Take less at a time from now on: more do not fit."""
        if model in worker.models:
            self._limits.lower(worker, model, images)
            self._count_limits()

    async def _drop(self, name: str, workers: Sequence[Worker]) -> None:
        for worker in workers:
            if name in worker.models:
                await worker.change_models(lambda models: tuple(model for model in models if model.name != name))

    def _count_limits(self) -> None:
        self._metrics.count_batch_limits(
            (model.name, device, limit.images)
            for model in self._models
            for device, limit in self.batch_limits(model).items()
        )
