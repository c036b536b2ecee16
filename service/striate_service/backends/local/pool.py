"""The pool: one worker a device, each kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from striate_service.backends.local.compiled_code import COMPILED
from striate_service.backends.local.devices import Device, choose_devices
from striate_service.backends.local.messages import Options
from striate_service.backends.local.process import WorkerDied
from striate_service.backends.local.supervision import StartError, Timeouts, Worker, WorkerState
from striate_service.config import ModelSettings, Settings
from striate_service.models.description import ModelDescription


class Pool:
    """All workers. Each serves the models that are for its device."""

    def __init__(
        self,
        devices: Sequence[Device],
        models: Sequence[ModelSettings],
        timeouts: Timeouts,
        options: Options,
    ) -> None:
        """Prepare a worker for each device."""
        self._models = models
        self.workers = [
            Worker(device, [model for model in models if is_for(model, device)], timeouts, options)
            for device in devices
        ]
        self._supervision: list[asyncio.Task[None]] = []

    @classmethod
    def of(cls, settings: Settings) -> Pool:
        """Prepare the workers that the settings name."""
        return cls(
            choose_devices(settings.devices),
            settings.models,
            Timeouts(settings.start_timeout, settings.batch_timeout, settings.ping_interval),
            Options(
                exports=settings.home / "onnx" if settings.cpu_engine == "onnx" else None,
                precision=settings.precision,
                compiled=settings.home / COMPILED if settings.compile_ahead else None,
                copy_ahead=settings.copy_ahead,
                objectives=settings.objectives,
            ),
        )

    async def start(self) -> tuple[ModelDescription, ...]:
        """Start all workers and return what they serve, in the order of the settings.

        The first goes ahead: what is wrong with a model is then said once, and what must be downloaded is fetched once.

        Raises:
            StartError: a worker cannot start.
        """
        for model in self._models:
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
        return tuple(served[model.name] for model in self._models)

    async def stop(self) -> None:
        """End all workers."""
        for task in self._supervision:
            task.cancel()
        await asyncio.gather(*self._supervision, return_exceptions=True)
        for worker in self.workers:
            worker.stop()


def is_for(model: ModelSettings, device: Device) -> bool:
    """Whether a device is to hold a model."""
    return model.devices is None or device.name in model.devices
