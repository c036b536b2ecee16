"""The worker of one device, through the lives of its processes: it knows these, and not requests."""

from __future__ import annotations

import asyncio
import enum
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from striate_service.backends.local.devices import Device
from striate_service.backends.local.messages import (
    Options,
    Ping,
    Pong,
    Run,
    RunEnded,
    Start,
    Started,
    StartFailed,
)
from striate_service.backends.local.process import IN_FLIGHT, WorkerProcess
from striate_service.backends.local.shared_memory import BlockClosed, Packed, Slot
from striate_service.backends.protocol import NeverBegun, Ran, RunFailed, StartError, WorkerDied
from striate_service.config import ModelSettings
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature
from striate_service.techniques.tasks.base import Work

logger = logging.getLogger(__name__)

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
    ping: float


class Worker:
    """The worker of one device, through the lives of its processes."""

    def __init__(
        self,
        device: Device,
        models: Sequence[ModelSettings],
        timeouts: Timeouts,
        options: Options,
    ) -> None:
        self.device = device
        self.models: dict[str, ModelDescription] = {}
        """What it serves, by name."""
        self.engines: dict[str, str] = {}
        """What runs each of them."""
        self.hardware = ""
        """What the device is, in its maker's words."""
        self.objectives: tuple[Signature, ...] = ()
        """Objectives of icons that the operator has added."""
        self.on_restart: Callable[[], None] = lambda: None
        """Called when a process has been replaced that died."""
        self.on_start: Callable[[], None] = lambda: None
        """Called when it can take work again."""
        self.images_at_once: Callable[[str], int] = lambda model: sys.maxsize
        """How many images of a model's, by its name, one forward takes."""
        self._start_message = Start(tuple(models), device.name, device.threads, options)
        self.timeouts = timeouts
        self._state = WorkerState.DOWN
        self._process: WorkerProcess | None = None
        self._replacing = asyncio.Lock()
        self._down = asyncio.Event()

    @property
    def device_name(self) -> str:
        return self.device.name

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def is_stopped(self) -> bool:
        return self._state is WorkerState.STOPPED

    @property
    def pid(self) -> int | None:
        """The process's id, while there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start a process, where there is none.

        Raises:
            StartError: it cannot load its models.
            WorkerDied: it ended, or took too long.
        """
        async with self._replacing:
            if self._state is not WorkerState.DOWN:
                return
            self._enter(WorkerState.STARTING)
            try:
                self._serve_with(*await self._new_process(self._start_message))
            except (StartError, WorkerDied):
                if not self.is_stopped:
                    self._enter(WorkerState.DOWN)
                raise

    async def change_models(self, change: Callable[[tuple[ModelSettings, ...]], tuple[ModelSettings, ...]]) -> None:
        """Serve other models: a new process takes over from the present one, which works until the new one is ready.

        So running traffic is not disturbed, whatever goes wrong; for that long the device holds the models twice.

        Raises:
            StartError: the models cannot be loaded. All is as it was.
            WorkerDied: the new process ended, or took too long. All is as it was.
        """
        async with self._replacing:
            message = replace(self._start_message, models=change(self._start_message.models))
            process, started = await self._new_process(message)
            former = self._process
            self._start_message = message
            if self._state is WorkerState.DOWN:
                self._enter(WorkerState.STARTING)
            self._serve_with(process, started)
            if former and len(former.free_slots) == IN_FLIGHT:
                former.kill()  # else it is ended when its last batch is

    async def _new_process(self, message: Start) -> tuple[WorkerProcess, Started]:
        process, reply = await WorkerProcess.start(message, self.timeouts.start)
        if isinstance(reply, StartFailed):
            process.kill()
            raise StartError(reply.reason)
        if self.is_stopped:
            process.kill()
            raise StartError("the server is stopping")
        return process, reply

    def _serve_with(self, process: WorkerProcess, started: Started) -> None:
        self._process = process
        process.on_death = lambda: self.bury(process)
        self.models = {model.name: model for model in started.models}
        self.engines = dict(zip(self.models, started.engines, strict=True))
        self.hardware = started.hardware
        self.objectives = started.objectives
        self._enter(WorkerState.IDLE)
        self.on_start()

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
        process = claim.process
        process.free_slots.append(claim.slot)
        if len(process.free_slots) < IN_FLIGHT:
            return
        if process is self._process:
            self._enter(WorkerState.IDLE)
        else:  # another has taken over
            process.kill()

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
                self.on_restart()
            except (WorkerDied, StartError) as error:
                logger.error("the worker of %s does not start: %s", self.device.name, error)

    def stop(self) -> None:
        """End the process. Whatever it was doing is lost, so drain first."""
        if not self.is_stopped:
            self._enter(WorkerState.STOPPED)
            if self._process:
                self._process.kill()
                self._process = None

    def bury(self, process: WorkerProcess) -> None:
        """Give up a process that died, or whose state is unknown. For `Claim`."""
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


@dataclass(frozen=True)
class Claim:
    """On a worker, to run one batch. It ends with `run`."""

    worker: Worker
    process: WorkerProcess
    slot: Slot

    async def run(
        self, works: Sequence[Work], *, alone: bool = False, time_limit: float, images_at_once: int | None = None
    ) -> Ran | RunFailed:
        """Have tasks carried out together.

        Args:
            alone: no other worker has anything to do, so that this one may take more of the machine's cores.
            time_limit: seconds from when the batch's turn comes. A worker that takes longer is ended.
            images_at_once: that one forward takes; as many as the worker takes by default.

        Raises:
            NeverBegun: the worker ended before it came to them.
            WorkerDied: it ended over them, or took too long and was ended.
            MemoryError: the inputs do not fit in memory.
        """
        device, model = self.worker.device, works[0].task.model
        try:
            run = Run(
                self.slot.number,
                self._packed(works),
                images_at_once or self.worker.images_at_once(model),
                device.threads_alone if alone else device.threads,
            )
            try:
                reply = await self.process.ask(run, time_limit)
            except Exception as error:
                logger.warning("%s; it had %d task(s)", error, len(works))
                self.worker.bury(self.process)
                raise
            if isinstance(reply, RunFailed):
                return reply
            assert isinstance(reply, RunEnded)
            # Copies, since the block is the next batch's: an answer that is read slowly holds up no worker.
            return Ran(self.slot.outputs.unpack(reply.outcomes, copy=True), reply.seconds)
        finally:
            self.worker.give_back(self)

    def _packed(self, works: Sequence[Work]) -> Packed:
        try:
            return self.slot.inputs.pack(tuple(works))
        except BlockClosed as error:
            self.worker.bury(self.process)
            raise NeverBegun(f"worker {self.process.pid} has ended") from error
