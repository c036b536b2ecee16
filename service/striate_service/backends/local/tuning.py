"""Measure how many images a forward pass should take, on the worker itself, once per model, device and engine.

Larger batches use a device better up to a knee; beyond it they only make callers wait longer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from striate_service.backends.local.supervision import Worker
from striate_service.backends.protocol import BatchLimit, RunFailed, WorkerDied
from striate_service.config import Settings
from striate_service.models.description import ModelDescription
from striate_service.stores.files import write_whole
from striate_service.techniques.tasks.activations import ActivationsTask
from striate_service.techniques.tasks.base import Work

logger = logging.getLogger(__name__)

BATCH_LIMITS = "batch_limits"
"""The folder in STRIATE_HOME."""
_FORMAT = 1  # of its files; those before it had no number
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RUNS = 3  # of each size, after a warm-up run; the median counts
_MIN_GAIN = 1.05  # in images/s, from doubling the size; the search ends after two sizes without it
_NEAR_BEST = 0.97  # of the best rate: the smallest batch that reaches it is chosen, since callers wait less
_MAX_BATCH_SECONDS = 0.25  # an interactive request may wait that long for the running batch
_DEFAULT_IMAGES = 8  # for a model that was loaded into a running server, until the next start measures it
# Images, unless they take longer than that: each batch also costs the server's process 2 to 3 ms on the same cores,
# which a measurement on the worker does not include. Images/s with batches of 1, 2, 4, 8 and 16, 32 callers:
# squeezenet1_0 132, 140, 145, 148, 145; googlenet with 4, 8 and 16: 100, 101, 100.
_MIN_IMAGES = 8


async def find_batch_limit(run: Callable[[int], Awaitable[float | None]]) -> BatchLimit:
    """Return the knee: the smallest batch within 3 % of the best rate, or `_MIN_IMAGES` if that is larger.

    Args:
        run: runs a batch of the given number of images and returns its seconds; None: it is too large.
    """
    rates: dict[int, float] = {}
    without_gain = 0
    for size in _SIZES:
        seconds = [await run(size) for _ in range(1 + _RUNS)][1:]
        if None in seconds:
            break
        typical = statistics.median(each for each in seconds if each is not None)
        if rates and typical > _MAX_BATCH_SECONDS:
            break
        without_gain = without_gain + 1 if rates and size / typical < _MIN_GAIN * max(rates.values()) else 0
        rates[size] = size / typical
        if without_gain >= 2 and size >= _MIN_IMAGES:
            break
    if not rates:
        return BatchLimit(1)
    knee = next(size for size, rate in rates.items() if rate >= _NEAR_BEST * max(rates.values()))
    images = max(knee, max(size for size in rates if size <= _MIN_IMAGES))
    return BatchLimit(images, rates[images])


class BatchLimits:
    """The limits of all workers and models: from the settings, else from the folder, else measured."""

    def __init__(self, by_hand: int | None, folder: Path, time_limit: float = 120.0) -> None:
        """Begin without limits.

        Args:
            by_hand: the limit of every worker and model. None: measure.
            folder: where measured limits are saved.
            time_limit: seconds after which a batch is too slow, and its worker is killed.
        """
        self._by_hand = by_hand
        self._folder = folder
        self._time_limit = time_limit
        self._limits: dict[str, BatchLimit] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> BatchLimits:
        by_hand = None if settings.max_batch_size == "auto" else settings.max_batch_size
        return cls(by_hand, settings.home / BATCH_LIMITS, settings.batch_timeout)

    def get(self, worker: Worker, model: str) -> BatchLimit:
        """Return the limit of a model that the worker serves."""
        if self._by_hand is not None:
            return BatchLimit(self._by_hand)
        return self._limits.get(_key(worker, worker.models[model]), BatchLimit(_DEFAULT_IMAGES))

    def lower(self, worker: Worker, model: str, images: int) -> None:
        """Lower the limit to `images`, since more do not fit."""
        if self._by_hand is None and images < self.get(worker, model).images:
            logger.warning("%s takes %d images at a time from now on: more do not fit", model, images)
            self._limits[_key(worker, worker.models[model])] = BatchLimit(images)

    async def measure(self, workers: Iterable[Worker], *, anew: bool = False) -> None:
        """Measure unknown limits. The workers should be idle.

        Args:
            anew: also measure limits that the folder has.
        """
        if self._by_hand is not None:
            return
        for worker in workers:
            if not anew:
                self.recall(worker)
            for model in worker.models.values():
                key = _key(worker, model)
                if key not in self._limits:
                    self._limits[key] = await self._measure(key, worker, model)

    def recall(self, worker: Worker) -> None:
        """Read the limits that an earlier start measured."""
        for model in worker.models.values():
            key = _key(worker, model)
            if key not in self._limits and (known := self._read(key)):
                self._limits[key] = known

    async def _measure(self, key: str, worker: Worker, model: ModelDescription) -> BatchLimit:
        started = time.monotonic()
        limit = await find_batch_limit(lambda images: _batch_seconds(worker, model, images, self._time_limit))
        if not limit.images_per_second:
            logger.warning("no batch limit could be measured for %s on %s", model.name, worker.device.name)
            return limit
        record = {"format": _FORMAT} | asdict(limit) | {"device": worker.hardware, "engine": worker.engines[model.name]}
        write_whole(self._file(key), json.dumps(record | {"model_version": model.version}, indent=2).encode())
        logger.info(
            "%s on %s: %d images a batch, %.1f images/s (measured in %.1f s)",
            model.name,
            worker.hardware,
            limit.images,
            limit.images_per_second,
            time.monotonic() - started,
        )
        return limit

    def _read(self, key: str) -> BatchLimit | None:
        try:
            record = json.loads(self._file(key).read_bytes())
            if record.get("format", 0) > _FORMAT:
                return None
            return BatchLimit(int(record["images"]), float(record["images_per_second"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing or damaged: it is measured again
            return None

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _key(worker: Worker, model: ModelDescription) -> str:
    return _file_name(model.version, f"{worker.hardware} {worker.engines[model.name]} {model.input_shape}")


@lru_cache  # called several times per batch
def _file_name(version: str, configuration: str) -> str:
    return f"{version[:16]}-{hashlib.sha256(configuration.encode()).hexdigest()[:16]}"


async def _batch_seconds(worker: Worker, model: ModelDescription, images: int, time_limit: float) -> float | None:
    """Return the seconds of a batch through the whole network, with the transfer both ways; None: too large."""
    layers = () if model.classes else (model.layers[-1].path,)
    task = ActivationsTask(model=model.name, targets=(), class_count=min(5, len(model.classes)), layers=layers)
    channels, height, width = model.input_shape
    pixels = np.zeros((1, height, width, channels), np.uint8)
    if not worker.has_room:  # a larger batch has just killed it, and it is restarting
        return None
    started = time.perf_counter()
    try:
        works = [Work(task, pixels)] * images
        reply = await worker.claim().run(works, time_limit=time_limit, images_at_once=images)
    except (MemoryError, WorkerDied):
        return None
    return None if isinstance(reply, RunFailed) else time.perf_counter() - started
