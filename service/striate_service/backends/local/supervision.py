"""Supervise the worker of one device: start its process, and replace it when it dies. Knows no requests."""

from __future__ import annotations

import asyncio
import enum
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from striate_service.backends.local.devices import Device
from striate_service.backends.local.messages import (
    DeviceUse,
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
from striate_service.backends.protocol import NeverBegun, RunFailed, RunResult, StartError, WorkerDied
from striate_service.config import ModelSettings
from striate_service.models.description import ModelDescription
from striate_service.techniques.objective import Signature
from striate_service.techniques.tasks.base import Work

logger = logging.getLogger(__name__)

# A worker that cannot start (its GPU fell off the bus, say) or dies before it answers is retried at growing intervals.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 30.0  # seconds
_STOPS_WITHIN = 5.0  # seconds; the server does not wait longer for a process that a broken device holds


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
    """The worker of one device, whose process is replaced when it dies or its models change."""

    def __init__(
        self,
        device: Device,
        models: Sequence[ModelSettings],
        timeouts: Timeouts,
        options: Options,
    ) -> None:
        self.device = device
        self.models: dict[str, ModelDescription] = {}
        """The served models, by name."""
        self.engines: dict[str, str] = {}
        """Each model's engine, by name."""
        self.hardware = ""
        """The device's product name."""
        self.objectives: tuple[Signature, ...] = ()
        """Icon objectives that the operator registered."""
        self.on_restart: Callable[[], None] = lambda: None
        """Called when a dead process has been replaced."""
        self.on_start: Callable[[], None] = lambda: None
        """Called when the worker can take batches again."""
        self.on_failed_start: Callable[[], None] = lambda: None
        """Called when a dead process could not be replaced."""
        self.on_use: Callable[[DeviceUse], None] = lambda use: None
        """Called now and then with how much of a GPU is in use."""
        self.is_lost = False
        """Whether there is no process, and the last try to start one failed."""
        self.images_at_once: Callable[[str], int] = lambda model: sys.maxsize
        """Returns how many images one forward pass of a model takes, by its name."""
        self._start_message = Start(tuple(models), device.name, device.threads, options)
        self.timeouts = timeouts
        self._state = WorkerState.DOWN
        self._process: WorkerProcess | None = None
        self._replacing = asyncio.Lock()
        self._down = asyncio.Event()
        self._backoff = _FIRST_BACKOFF

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
        """The process id; None: no process runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start a process if none runs.

        Raises:
            StartError: it cannot load its models.
            WorkerDied: it died, or took too long.
        """
        async with self._replacing:
            if self._state is not WorkerState.DOWN:
                return
            self._enter(WorkerState.STARTING)
            try:
                self._serve_with(*await self._new_process(self._start_message))
            except BaseException:
                if not self.is_stopped:
                    self._enter(WorkerState.DOWN)
                raise

    async def change_models(self, change: Callable[[tuple[ModelSettings, ...]], tuple[ModelSettings, ...]]) -> None:
        """Serve other models: start a new process, which replaces the present one when it is ready.

        Running batches are not disturbed, even if this fails. Meanwhile the device holds the models twice.

        Raises:
            StartError: the models cannot be loaded. Nothing has changed.
            WorkerDied: the new process died, or took too long. Nothing has changed.
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
                former.kill()  # otherwise `give_back` kills it after its last batch

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
        self.is_lost = False
        self._enter(WorkerState.IDLE)
        self.on_start()

    @property
    def in_flight(self) -> int:
        """How many batches it runs or has queued."""
        return IN_FLIGHT - len(self._process.free_slots) if self._process else 0

    @property
    def has_room(self) -> bool:
        """Whether the process is alive and has a free slot."""
        return self._process is not None and bool(self._process.free_slots)

    def claim(self) -> Claim:
        """Reserve a slot for one batch."""
        assert self._process
        claim = Claim(self, self._process, self._process.free_slots.pop())
        self._enter(WorkerState.BUSY)
        return claim

    def give_back(self, claim: Claim) -> None:
        """Free a claim's slot, after its batch. For `Claim`."""
        process = claim.process
        process.free_slots.append(claim.slot)
        if len(process.free_slots) < IN_FLIGHT:
            return
        if process is self._process:
            self._enter(WorkerState.IDLE)
        else:  # a new process has replaced it
            process.kill()

    def note_answer(self) -> None:
        """Note that the process works: should it die, the next one is started at once. For `Claim`."""
        self._backoff = _FIRST_BACKOFF

    async def keep_alive(self) -> None:
        """Replace the process whenever it dies, and ping it while it is idle."""
        while True:
            try:
                await self._watch()
            except Exception:  # a mistake of ours must not end supervision
                logger.exception("the supervision of the worker of %s made a mistake", self.device.name)
                await asyncio.sleep(self._backoff)

    async def _watch(self) -> None:
        """Wait for the next ping or death, and do what it asks for."""
        try:
            await asyncio.wait_for(self._down.wait(), self.timeouts.ping)
        except asyncio.TimeoutError:
            if self._state is WorkerState.IDLE and await self._answers():
                self.note_answer()
            return
        await asyncio.sleep(self._backoff)
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF)
        try:
            await self.start()
        except (WorkerDied, StartError, OSError, MemoryError) as error:
            logger.error("the worker of %s does not start: %s", self.device.name, error)
            self.is_lost = not self.is_stopped
            self.on_failed_start()
        else:
            self.on_restart()

    async def stop(self) -> None:
        """Stop the process. Batches in flight are lost, so drain first."""
        if not self.is_stopped:
            self._enter(WorkerState.STOPPED)
            if process := self._process:
                self._process = None
                process.kill()
                await process.wait(_STOPS_WITHIN)

    def bury(self, process: WorkerProcess) -> None:
        """Discard a process that died, or whose state is unknown. For `Claim`."""
        process.kill()
        if process is self._process:
            self._process = None
            self._enter(WorkerState.DOWN)

    async def _answers(self) -> bool:
        process = self._process
        if process is None:
            return False
        try:
            reply = await process.ask(Ping(), self.timeouts.ping)
            assert isinstance(reply, Pong)
            if reply.use:
                self.on_use(reply.use)
            return True
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
    """Implements `backends.protocol.Claim`: a slot of a process."""

    worker: Worker
    process: WorkerProcess
    slot: Slot

    async def run(
        self, works: Sequence[Work], *, alone: bool = False, time_limit: float, images_at_once: int | None = None
    ) -> RunResult | RunFailed:
        """Run tasks as one batch.

        Args:
            alone: no other worker has work, so this one may use more of the machine's cores.
            time_limit: seconds from the start of the batch. A worker that takes longer is killed.
            images_at_once: images in one forward pass; None: the worker's batch limit.

        Raises:
            NeverBegun: the worker died before the batch began.
            WorkerDied: it died during the batch, or took too long and was killed.
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
            self.worker.note_answer()
            if reply.use:
                self.worker.on_use(reply.use)
            # Copies, since the next batch reuses the block: a slow reader does not hold up the worker.
            outcomes = self.slot.outputs.unpack(reply.outcomes, copy=True)
            return RunResult(outcomes, reply.began, reply.seconds, reply.seconds_once, self.process.pid)
        finally:
            self.worker.give_back(self)

    def _packed(self, works: Sequence[Work]) -> Packed:
        try:
            return self.slot.inputs.pack(tuple(works))
        except BlockClosed as error:
            self.worker.bury(self.process)
            raise NeverBegun(f"worker {self.process.pid} has ended") from error
