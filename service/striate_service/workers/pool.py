"""The pool: one worker a device, each kept alive. It knows processes, not requests."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate_service.config import ModelSettings
from striate_service.models.description import ModelDescription
from striate_service.workers.devices import Device
from striate_service.workers.messages import Failure, Ping, Pong, Ran, Refusal, Run, RunFailed, Start, StartFailed
from striate_service.workers.process import WorkerDied, WorkerProcess
from striate_service.workers.shared_memory import Arrays
from striate_service.workers.tasks import Task

logger = logging.getLogger(__name__)

Result = dict[str, NDArray[Any]] | Refusal | Failure

# A worker that cannot start (a GPU that fell off the bus) is tried again ever less often.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 30.0  # seconds


class WorkerState(enum.Enum):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DOWN = "down"
    STOPPED = "stopped"


_NEXT_STATES = {
    WorkerState.STARTING: {WorkerState.IDLE, WorkerState.DOWN, WorkerState.STOPPED},
    WorkerState.IDLE: {WorkerState.BUSY, WorkerState.DOWN, WorkerState.STOPPED},
    WorkerState.BUSY: {WorkerState.IDLE, WorkerState.DOWN, WorkerState.STOPPED},
    WorkerState.DOWN: {WorkerState.STARTING, WorkerState.STOPPED},
    WorkerState.STOPPED: set(),
}


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    start: float
    batch: float
    ping: float


class StartError(Exception):
    """The pool cannot start. The text tells the operator why."""


class Worker:
    """The worker of one device, through the lives of its processes."""

    def __init__(
        self, device: Device, models: Sequence[ModelSettings], timeouts: Timeouts, exports: Path | None
    ) -> None:
        self.device = device
        self.restarts = 0
        self.on_change: Callable[[], None] = lambda: None
        self._start_message = Start(tuple(models), device.name, device.threads, exports)
        self._timeouts = timeouts
        self._state = WorkerState.DOWN
        self._process: WorkerProcess | None = None
        self._in_use = asyncio.Lock()
        self._idle = asyncio.Event()
        self._down = asyncio.Event()

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def pid(self) -> int | None:
        """The process's id, while there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> tuple[ModelDescription, ...]:
        """Start a process and return what it serves.

        Raises:
            StartError: it cannot load its models.
            WorkerDied: it ended, or took too long.
        """
        self._enter(WorkerState.STARTING)
        try:
            self._process, reply = await WorkerProcess.start(self._start_message, self._timeouts.start)
        except WorkerDied:
            self._enter(WorkerState.DOWN)
            raise
        if isinstance(reply, StartFailed):
            self._bury()
            raise StartError(reply.reason)
        self._enter(WorkerState.IDLE)
        return reply.models

    async def ready(self) -> None:
        """Wait until there is a process that can take work."""
        await self._idle.wait()

    async def run(self, tasks: Sequence[Task], inputs: Sequence[Arrays]) -> tuple[list[Result], float] | RunFailed:
        """Have tasks carried out together; return their results in order, and the seconds that it took.

        Raises:
            WorkerDied: it ended over them, or took too long and was ended.
            MemoryError: the inputs do not fit in memory.
        """
        async with self._in_use:
            if self._process is None:
                raise WorkerDied(f"the worker of {self.device.name} is {self._state.value}")
            refs = self._process.inputs.write(inputs)
            self._enter(WorkerState.BUSY)
            try:
                reply = await self._process.ask(Run(tuple(tasks), refs), self._timeouts.batch)
            except WorkerDied as death:
                logger.warning("%s; it was busy with %d task(s)", death, len(tasks))
                self._bury()
                raise
            except Exception:  # nothing else should come; where it does, nobody knows what the process is at
                self._bury()
                raise
            outputs = self._process.outputs
            self._enter(WorkerState.IDLE)
            if isinstance(reply, RunFailed):
                return reply
            assert isinstance(reply, Ran)
            # Copies, since the block is the next batch's.
            return [
                {name: np.array(outputs.view(ref)) for name, ref in outcome.items()}
                if isinstance(outcome, dict)
                else outcome
                for outcome in reply.outcomes
            ], reply.seconds

    async def keep_alive(self) -> None:
        """Replace the process whenever it dies, and ask it now and then whether it has."""
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await asyncio.wait_for(self._down.wait(), self._timeouts.ping)
            except asyncio.TimeoutError:
                if self._state is WorkerState.IDLE and await self._answers():
                    backoff = _FIRST_BACKOFF
                continue
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF)
            try:
                await self.start()
                self.restarts += 1
            except (WorkerDied, StartError) as error:
                logger.error("the worker of %s does not start: %s", self.device.name, error)

    def stop(self) -> None:
        """End the process. Whatever it was doing is lost, so drain first."""
        if self._state is not WorkerState.STOPPED:
            self._enter(WorkerState.STOPPED)
            if self._process:
                self._process.kill()
                self._process = None

    async def _answers(self) -> bool:
        async with self._in_use:
            if self._process is None:
                return False
            try:
                return isinstance(await self._process.ask(Ping(), self._timeouts.ping), Pong)
            except WorkerDied as death:
                logger.warning("%s; it was idle", death)
                self._bury()
                return False

    def _bury(self) -> None:
        if self._process:
            self._process.kill()
            self._process = None
        if self._state is not WorkerState.STOPPED:
            self._enter(WorkerState.DOWN)

    def _enter(self, state: WorkerState) -> None:
        assert state in _NEXT_STATES[self._state], f"a worker cannot go from {self._state} to {state}"
        self._state = state
        for event, meaning in ((self._idle, WorkerState.IDLE), (self._down, WorkerState.DOWN)):
            event.set() if state is meaning else event.clear()
        self.on_change()


class Pool:
    """All workers. Every one serves every model."""

    def __init__(
        self,
        devices: Sequence[Device],
        models: Sequence[ModelSettings],
        timeouts: Timeouts,
        exports: Path | None = None,
    ) -> None:
        """Prepare a worker for each device.

        Args:
            exports: where exported networks are kept, for CPUs; None: networks run as they are.
        """
        self.workers = [Worker(device, models, timeouts, exports) for device in devices]
        self._supervision: list[asyncio.Task[None]] = []

    async def start(self) -> tuple[ModelDescription, ...]:
        """Start all workers and return what they serve.

        The first goes ahead: what is wrong with a model is then said once, and what must be downloaded is fetched once.

        Raises:
            StartError: a worker cannot start.
        """
        try:
            models = await self.workers[0].start()
            await asyncio.gather(*(worker.start() for worker in self.workers[1:]))
        except WorkerDied as death:
            raise StartError(str(death)) from death
        finally:
            if any(worker.state is not WorkerState.IDLE for worker in self.workers):
                await self.stop()
        self._supervision = [asyncio.create_task(worker.keep_alive()) for worker in self.workers]
        return models

    async def stop(self) -> None:
        """End all workers."""
        for task in self._supervision:
            task.cancel()
        await asyncio.gather(*self._supervision, return_exceptions=True)
        for worker in self.workers:
            worker.stop()
