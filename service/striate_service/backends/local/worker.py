"""A worker process: loads the models on its device, then answers messages until the socket is closed.

`process.py` starts it as `python -m striate_service.backends.local.worker SOCKET {INPUTS OUTPUTS}...`: inherited
descriptors, two of them for each batch in flight. It is not forked, since CUDA and threads do not survive a fork. Nor
does it use multiprocessing's spawn, which would run the main script of the program that started the server again.
"""

from __future__ import annotations

import gc
import logging
import os
import platform
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from striate_service.backends.local.device_use import DeviceGauge
from striate_service.backends.local.messages import (
    Pong,
    Reply,
    Request,
    Run,
    RunEnded,
    Start,
    Started,
    StartFailed,
    read,
    write,
)
from striate_service.backends.local.niceness import NICENESS
from striate_service.backends.local.shared_memory import SharedBlock, Slot
from striate_service.backends.protocol import RunFailed
from striate_service.children import end_with_server
from striate_service.config import ModelSettings
from striate_service.device.compiled import CompileError, compiled_network
from striate_service.device.executor import Executor
from striate_service.device.exported import ExportError, exported_network, graph_file
from striate_service.device.networks import DeviceNetworks, ServedModel
from striate_service.device.precision import set_tf32
from striate_service.device.staging import EarlyCopy, prefetched
from striate_service.heap import return_freed
from striate_service.models.errors import in_short
from striate_service.models.loading import ModelError, load_model
from striate_service.monitoring import logs
from striate_service.techniques.factorization import compile_kernels
from striate_service.techniques.feature_visualization.registry import ObjectiveError, import_objectives
from striate_service.techniques.tasks.base import Work
from striate_service.techniques.torch_errors import breaks_device, is_out_of_memory

logger = logging.getLogger(__name__)

_BROKEN = 70  # exit status: EX_SOFTWARE of sysexits.h


class DeviceBroken(Exception):
    """The device computes nothing more for this process: only a new one may be able to use it."""


def main(socket_descriptor: int, *descriptors: int) -> None:
    end_with_server()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of the terminal; the server decides
    server = Server(socket.socket(fileno=socket_descriptor))
    blocks = list(map(SharedBlock, descriptors))
    slots = [Slot(number, *pair) for number, pair in enumerate(zip(blocks[::2], blocks[1::2], strict=True))]
    try:
        executor = _start(server)
        if executor is None:
            return
        gauge = DeviceGauge(executor.networks.device)
        requests = _requests(server, executor, slots)
        if executor.copies_early:
            requests = prefetched(requests)
        for request, works, copied in requests:
            if isinstance(request, Run):
                server.answer(_run(request, works, copied, executor, slots, gauge))
            else:
                server.answer(_pong(executor, gauge))
    except DeviceBroken as error:
        logger.critical("the worker ends, since its device is broken: %s", error)
        os._exit(_BROKEN)  # a driver in that state may hang while it is unloaded
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the server closed the socket, or is gone


class Server:
    """The server's end: one message after the other, each answered once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rwb")
        self._read = self._answered = 0

    def read(self) -> Any:
        """Return the next message, waiting for it.

        Raises:
            EOFError: the server has closed the connection.
        """
        message = read(self._stream)
        self._read += 1
        return message

    def answer(self, reply: Reply | Started | StartFailed) -> None:
        write(self._stream, reply)
        self._answered += 1

    def waits(self) -> bool:
        """Return whether there is another message than the one that is worked on, read already or not."""
        return self._read > self._answered + 1 or bool(select.select([self._connection], [], [], 0)[0])


def _start(server: Server) -> Executor | None:
    start: Start = server.read()
    logs.configure(start.options.log_format, start.options.log_level, waits=True)  # what takes long at a start, says so
    logging.getLogger().setLevel(logging.WARNING)
    torch.set_num_threads(start.threads)
    set_tf32(start.options.precision)
    compiling = threading.Thread(target=compile_kernels, daemon=True)
    if start.device == "cpu" and start.options.compiled is not None:
        compiling.start()  # while models are loaded
    try:
        objectives = import_objectives(start.options.objectives)
        loaded = [load_model(settings, start.device) for settings in start.models]
        if compiling.ident is not None:
            compiling.join()
        # Only now: while tracing a network, torch replaces functions of `math`, which makes numba fail.
        models = [
            _with_faster_network(ServedModel(model.description, model.network), settings, start)
            for model, settings in zip(loaded, start.models, strict=True)
        ]
    except (ModelError, ObjectiveError) as error:
        server.answer(StartFailed(str(error)))
        return None
    except Exception as error:  # whoever waits for the worker learns why, and does not only see it end
        logger.exception("the worker of %s cannot start", start.device)
        server.answer(StartFailed(f"starting failed: {type(error).__name__}: {in_short(error)}"))
        return None
    _trim_memory()
    engines = tuple(_engine(model, start) for model in models)
    server.answer(Started(tuple(model.description for model in models), engines, _hardware(start), objectives))
    networks = DeviceNetworks(models, start.device, start.options.precision, server.waits)
    return Executor(networks, copies_early=start.options.copy_early)


def _hardware(start: Start) -> str:
    if start.device.startswith("cuda"):
        return torch.cuda.get_device_name(start.device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor() or platform.machine())}, {start.threads} thread(s)"


def _engine(model: ServedModel, start: Start) -> str:
    if model.exported:
        return "onnx"
    return f"torch {start.options.precision}" + (", compiled" if model.compiled else "")


def _with_faster_network(model: ServedModel, settings: ModelSettings, start: Start) -> ServedModel:
    """Return the model with an exported or compiled network for forward passes without gradients, where possible."""
    if start.device == "cpu" and start.options.exports is not None and start.options.precision in ("float32", "tf32"):
        model = _exported(model, start, start.options.exports)
    if settings.compiled_layers and not model.exported:
        model = _compiled(model, settings.compiled_layers, start)
    return model


def _compiled(model: ServedModel, layers: Sequence[str], start: Start) -> ServedModel:
    description = model.description
    for name in layers:
        if name not in description.layer_by_name:
            raise ModelError(f"{description.name}: compiled_layers names {name!r}, which is no layer of it.")
    paths = [description.layer_by_name[name].path for name in layers]
    logger.info("compiling %s, which takes some minutes", description.name)
    try:
        compiled = compiled_network(model.network, paths, description.input_shape, start.options.precision)
    except CompileError as error:
        logger.warning("%s runs as it is, not compiled, which would be faster: %s", description.name, error)
        return model
    return replace(model, compiled=compiled)


def _exported(model: ServedModel, start: Start, folder: Path) -> ServedModel:
    description = model.description
    paths = [layer.path for layer in description.layers]
    file = graph_file(folder, description.version, paths, description.input_shape)
    if not file.is_file():
        logger.info("exporting %s for ONNX Runtime, first start only", description.name)
    try:
        exported = exported_network(model.network, paths, description.input_shape, file)
    except ExportError as error:
        logger.warning("%s runs as it is, without ONNX Runtime, which would be faster: %s", description.name, error)
        return model
    return replace(model, exported=exported)


def _trim_memory() -> None:
    """Return freed memory to the kernel after loading. The allocator keeps it otherwise, which suits only batches.

    Measured after exporting vit_b_16: 3.9 GB before, 1.2 GB after.
    """
    gc.collect()
    return_freed()


def _requests(
    server: Server, executor: Executor, slots: Sequence[Slot]
) -> Iterator[tuple[Request, Sequence[Work], EarlyCopy | None]]:
    """Yield requests with their works and, where `copies_early`, the images on their way to the device."""
    while True:
        request: Request = server.read()
        works: Sequence[Work] = ()
        copied = None
        if isinstance(request, Run):
            works = slots[request.slot].inputs.unpack(request.works, copy=False)
            copied = executor.copy_early(works)
        yield request, works, copied


def _run(
    run: Run,
    works: Sequence[Work],
    copied: EarlyCopy | None,
    executor: Executor,
    slots: Sequence[Slot],
    gauge: DeviceGauge,
) -> Reply:
    began, waited = time.monotonic(), executor.networks.seconds_of_waiting()
    try:
        outcomes = executor.run(works, images_at_once=run.images_at_once, threads=run.threads, copied=copied)
        packed = slots[run.slot].outputs.pack(tuple(outcomes))
    except Exception as error:
        if breaks_device(error):
            raise DeviceBroken(str(error)) from error
        if not is_out_of_memory(error):
            return RunFailed(f"{type(error).__name__}: {error}", out_of_memory=False)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return RunFailed(str(error), out_of_memory=True)
    seconds, once = time.monotonic() - began, executor.networks.seconds_of_waiting() - waited
    return RunEnded(packed, began, seconds, once, gauge.read_now_and_then())


def _pong(executor: Executor, gauge: DeviceGauge) -> Pong:
    """Answer a ping, after the device has shown that it computes."""
    try:
        executor.networks.check_device()
    except Exception as error:
        if not is_out_of_memory(error):
            raise DeviceBroken(str(error)) from error
    return Pong(gauge.read_now_and_then())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
