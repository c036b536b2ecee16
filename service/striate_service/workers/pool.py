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
from striate_service.workers.process import IN_FLIGHT, WorkerDied, WorkerProcess
from striate_service.workers.shared_memory import Arrays, Slot
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
        """Called when its state has changed."""
        self.on_start: Callable[[], None] = lambda: None
        """Called when it can take work again."""
        self._start_message = Start(tuple(models), device.name, device.threads, exports)
        self.timeouts = timeouts
        self._state = WorkerState.DOWN
        self._process: WorkerProcess | None = None
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
            self._process, reply = await WorkerProcess.start(self._start_message, self.timeouts.start)
        except WorkerDied:
            self._enter(WorkerState.DOWN)
            raise
        if isinstance(reply, StartFailed):
            self.bury(self._process)
            raise StartError(reply.reason)
        self._enter(WorkerState.IDLE)
        self.on_start()
        return reply.models

    @property
    def in_flight(self) -> int:
        """How many batches it has."""
        return IN_FLIGHT - len(self._process.free_slots) if self._process else 0

    @property
    def has_room(self) -> bool:
        """Whether it takes another batch: it is alive, and has fewer than it takes."""
        return self._process is not None and bool(self._process.free_slots)

    def claim(self) -> Claim:
        """Take its room for one batch."""
        assert self._process
        claim = Claim(self, self._process, self._process.free_slots.pop())
        self._enter(WorkerState.BUSY)
        return claim

    def give_back(self, claim: Claim) -> None:
        """Note that a claim's batch has ended. For `Claim`."""
        claim.process.free_slots.append(claim.slot)
        if claim.process is self._process and not self.in_flight:
            self._enter(WorkerState.IDLE)

    async def keep_alive(self) -> None:
        """Replace the process whenever it dies, and ask it now and then whether it has."""
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await asyncio.wait_for(self._down.wait(), self.timeouts.ping)
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

    def bury(self, process: WorkerProcess) -> None:
        """Give up a process that died, or of which nobody knows what it is at. For `Claim`."""
        process.kill()
        if process is self._process:
            self._process = None
            self._enter(WorkerState.DOWN)

    async def _answers(self) -> bool:
        process = self._process
        if process is None:
            return False
        try:
            return isinstance(await process.ask(Ping(), self.timeouts.ping), Pong)
        except WorkerDied as death:
            logger.warning("%s; it was idle", death)
            self.bury(process)
            return False

    def _enter(self, state: WorkerState) -> None:
        if state is self._state:
            return
        assert state in _NEXT_STATES[self._state], f"a worker cannot go from {self._state} to {state}"
        self._state = state
        self._down.set() if state is WorkerState.DOWN else self._down.clear()
        self.on_change()


@dataclass(frozen=True)
class Claim:
    """On a worker, to run one batch. It ends with `run`."""

    worker: Worker
    process: WorkerProcess
    slot: Slot

    async def run(self, tasks: Sequence[Task], inputs: Sequence[Arrays]) -> tuple[list[Result], float] | RunFailed:
        """Have tasks carried out together; return their results in order, and the seconds that it took.

        Raises:
            NeverBegun: the worker ended before it came to them.
            WorkerDied: it ended over them, or took too long and was ended.
            MemoryError: the inputs do not fit in memory.
        """
        try:
            refs = self.slot.inputs.write(inputs)
            try:
                reply = await self.process.ask(Run(self.slot.number, tuple(tasks), refs), self.worker.timeouts.batch)
            except Exception as error:
                logger.warning("%s; it had %d task(s)", error, len(tasks))
                self.worker.bury(self.process)
                raise
            if isinstance(reply, RunFailed):
                return reply
            assert isinstance(reply, Ran)
            # Copies, since the block is the next batch's: whoever is slow to read them holds up no worker.
            return [
                {name: np.array(self.slot.outputs.view(ref)) for name, ref in outcome.items()}
                if isinstance(outcome, dict)
                else outcome
                for outcome in reply.outcomes
            ], reply.seconds
        finally:
            self.worker.give_back(self)


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
