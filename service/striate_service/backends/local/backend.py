"""A backend of worker processes on this machine: one supervised worker per device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from striate_service.backends.local.compiled_code import COMPILED
from striate_service.backends.local.devices import Device, choose_devices
from striate_service.backends.local.messages import DeviceUse, Options
from striate_service.backends.local.spool import DiskBudget, FileSpool
from striate_service.backends.local.supervision import Timeouts, Worker, WorkerState
from striate_service.backends.local.tuning import BatchLimits
from striate_service.backends.protocol import BatchLimit, StartError, WorkerDied
from striate_service.backends.protocol import Worker as AnyWorker
from striate_service.config import ModelSettings, Settings
from striate_service.errors import InvalidArgument
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.techniques.objective import Signature


class LocalBackend:
    """Implements `backends.protocol.Backend`. Each worker serves the models of its device."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        """Prepare workers for the devices in the settings."""
        self._settings = settings
        self._metrics = metrics
        options = Options(
            exports=settings.home / "onnx" if settings.cpu_engine == "onnx" else None,
            precision=settings.precision,
            compiled=settings.home / COMPILED if settings.compile_ahead else None,
            copy_early=settings.copy_ahead,
            objectives=settings.objectives,
            log_format=settings.log_format,
            log_level=settings.log_level,
        )
        timeouts = Timeouts(settings.start_timeout, settings.ping_interval)
        self.workers: Sequence[Worker] = [
            Worker(device, [model for model in settings.models if is_for(model, device)], timeouts, options)
            for device in choose_devices(settings.devices, settings.max_task_bytes + _weights_bytes(settings.models))
        ]
        self.limits = BatchLimits.from_settings(settings)
        self._disk_budget = DiskBudget(settings.max_basis_bytes)
        self._models: tuple[ModelDescription, ...] = ()
        self._supervision: list[asyncio.Task[None]] = []

    @property
    def models(self) -> tuple[ModelDescription, ...]:
        return self._models

    @property
    def objectives(self) -> Mapping[str, Signature]:
        return {each.name: each for worker in self.workers for each in worker.objectives}

    def is_lost(self, model: str = "") -> bool:
        return all(worker.is_lost for worker in self.workers if not model or model in worker.models)

    async def start(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Start all workers, and measure unknown batch limits.

        The first worker starts before the others, so that an error in a model is reported once, and weights are
        downloaded once.

        Raises:
            StartError: a worker cannot start.
        """
        await self.start_workers()
        await self.limits.measure(self.workers)
        for worker in self.workers:
            worker.images_at_once = partial(self._images_at_once, worker)
            worker.on_start = on_change
            restarts, failed_starts = self._counters(worker)
            worker.on_restart = restarts
            worker.on_failed_start = partial(_failed_start, failed_starts, on_change)
            worker.on_use = partial(self._note_use, worker)

    async def start_workers(self) -> None:
        """Start all workers without measuring batch limits.

        Raises:
            StartError: a worker cannot start.
        """
        models = self._settings.models
        for model in models:
            if not any(is_for(model, worker.device) for worker in self.workers):
                raise StartError(f"{model.name}: the server has none of its devices, {', '.join(model.devices or ())}")
        try:
            await self.workers[0].start()
            await asyncio.gather(*(worker.start() for worker in self.workers[1:]))
        except WorkerDied as death:
            raise StartError(str(death)) from death
        finally:
            if any(worker.state is not WorkerState.IDLE for worker in self.workers):
                await self.stop()
        self._supervision = [asyncio.create_task(worker.keep_alive()) for worker in self.workers]
        served = {name: model for worker in self.workers for name, model in worker.models.items()}
        self._models = tuple(served[model.name] for model in models)

    async def stop(self) -> None:
        """Stop all workers."""
        for task in self._supervision:
            task.cancel()
        await asyncio.gather(*self._supervision, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def load(self, settings: ModelSettings) -> ModelDescription:
        """Serve one more model, on the devices that its settings name.

        Raises:
            InvalidArgument: the backend lacks its devices, or it cannot be loaded.
        """
        devices = {worker.device.name for worker in self.workers}
        if unknown := set(settings.devices or ()) - devices:
            raise InvalidArgument(
                "devices", f"names {', '.join(sorted(unknown))}; this server has {', '.join(sorted(devices))}."
            )
        workers = [worker for worker in self.workers if is_for(settings, worker.device)]
        try:
            for worker in workers:  # one after the other: the first finds errors, and exports for all
                await worker.change_models(lambda models: (*models, settings))
        except (StartError, WorkerDied) as error:
            await self._drop(settings.name, workers)
            raise InvalidArgument("model", f"cannot be loaded: {error}") from error
        except BaseException:  # the caller went away: no worker keeps what nobody serves
            await asyncio.shield(self._drop(settings.name, workers))
            raise
        for worker in workers:
            self.limits.recall(worker)
        model = workers[0].models[settings.name]
        self._models = (*self._models, model)
        return model

    async def unload(self, name: str) -> None:
        self._models = tuple(model for model in self._models if model.name != name)
        await self._drop(name, self.workers)

    async def _drop(self, name: str, workers: Sequence[Worker]) -> None:
        for worker in workers:
            if name in worker.models:
                await worker.change_models(lambda models: tuple(model for model in models if model.name != name))

    def _counters(self, worker: Worker) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what counts a worker's restarts and its failed starts. The metrics exist, at 0, from now on."""
        if self._metrics is None:
            return (lambda: None), (lambda: None)
        counters = (self._metrics.worker_restarts, self._metrics.worker_failed_starts)
        restarts, failed_starts = (counter.labels(device=worker.device_name) for counter in counters)
        return restarts.inc, failed_starts.inc

    def _note_use(self, worker: Worker, use: DeviceUse) -> None:
        if self._metrics:
            self._metrics.observe_device(worker.device_name, use.memory_used, use.memory_total, use.utilization)

    def batch_limit(self, worker: AnyWorker, model: str) -> BatchLimit | None:
        own = self._own(worker)
        return self.limits.get(own, model) if model in own.models else None

    def lower_batch_limit(self, worker: AnyWorker, model: str, images: int) -> None:
        own = self._own(worker)
        if model in own.models:
            self.limits.lower(own, model, images)

    def count_workers(self, device: str, state: str) -> int:
        return sum(worker.device_name == device and worker.state.value == state for worker in self.workers)

    def _images_at_once(self, worker: Worker, model: str) -> int:
        return self.limits.get(worker, model).images if model in worker.models else 1

    def spool(self, channels: int) -> FileSpool:
        return FileSpool(self._settings.home, channels, self._disk_budget)

    @staticmethod
    def _own(worker: AnyWorker) -> Worker:
        assert isinstance(worker, Worker), "a backend is asked about its own workers"
        return worker


def _weights_bytes(models: Sequence[ModelSettings]) -> int:
    """Return the size of the weights that are files already; others are not known before they are loaded."""
    files = {Path(model.weights.partition("#")[0]) for model in models}
    return sum(file.stat().st_size for file in files if file.is_file())


def _failed_start(count: Callable[[], None], on_change: Callable[[], None]) -> None:
    count()
    on_change()


def is_for(model: ModelSettings, device: Device) -> bool:
    """Whether a device should hold a model."""
    return model.devices is None or device.name in model.devices


async def tune(settings: Settings) -> list[tuple[Worker, str, BatchLimit]]:
    """Measure the batch limit of every model on every device again, and save it for later servers.

    Raises:
        StartError: a worker cannot start.
    """
    backend = LocalBackend(settings.model_copy(update={"max_batch_size": "auto"}))
    await backend.start_workers()
    try:
        await backend.limits.measure(backend.workers, anew=True)
        return [
            (worker, model, backend.limits.get(worker, model)) for worker in backend.workers for model in worker.models
        ]
    finally:
        await backend.stop()
