"""How many images a forward should take: measured on the worker itself, once for a model, a device and an engine.

Larger batches make better use of a device up to a knee; beyond it they only let callers wait longer.
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
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RUNS = 3  # of each size, after one that warms up; their median counts
_GAIN = 1.05  # in images a second, by which doubling must pay; two sizes in a row that do not end the search
_WITHIN = 0.97  # of the best rate: the smallest batch that reaches it is as good, and lets callers wait less
_LONGEST = 0.25  # seconds a batch: an interactive call waits that long for the one before it
_UNMEASURED = 8  # images, of a model that was loaded while others were served, until the next start measures it
# Images, where so many take less than that: each batch costs the server's process 2 to 3 ms of the same cores, which no
# worker's own measure holds. Images/s at 1, 2, 4, 8 and 16 a batch, 32 callers: squeezenet1_0 132, 140, 145, 148, 145;
# googlenet at 4, 8 and 16: 100, 101, 100.
_LEAST = 8


async def find_batch_limit(run: Callable[[int], Awaitable[float | None]]) -> BatchLimit:
    """Return the knee: the smallest batch that is within 3 % of the best rate, or the server's own least, if larger.

    Args:
        run: runs a batch of so many images and returns the seconds that it took, or None where it was too large.
    """
    rates: dict[int, float] = {}
    worthless = 0
    for size in _SIZES:
        seconds = [await run(size) for _ in range(1 + _RUNS)][1:]
        if None in seconds:
            break
        typical = statistics.median(each for each in seconds if each is not None)
        if rates and typical > _LONGEST:
            break
        worthless = worthless + 1 if rates and size / typical < _GAIN * max(rates.values()) else 0
        rates[size] = size / typical
        if worthless >= 2 and size >= _LEAST:
            break
    if not rates:
        return BatchLimit(1)
    knee = next(size for size, rate in rates.items() if rate >= _WITHIN * max(rates.values()))
    images = max(knee, max(size for size in rates if size <= _LEAST))
    return BatchLimit(images, rates[images])


class BatchLimits:
    """Of every worker and model: set by hand, else found in the folder, else measured."""

    def __init__(self, by_hand: int | None, folder: Path, time_limit: float = 120.0) -> None:
        """Know of none.

        Args:
            by_hand: the limit of every worker and model. None: they are measured.
            folder: where measured ones are kept.
            time_limit: seconds after which a worker that is measured is ended.
        """
        self._by_hand = by_hand
        self._folder = folder
        self._time_limit = time_limit
        self._limits: dict[str, BatchLimit] = {}

    @classmethod
    def of_settings(cls, settings: Settings) -> BatchLimits:
        by_hand = None if settings.max_batch_size == "auto" else settings.max_batch_size
        return cls(by_hand, settings.home / BATCH_LIMITS, settings.batch_timeout)

    def of(self, worker: Worker, model: str) -> BatchLimit:
        """Return the limit of a model that the worker has."""
        if self._by_hand is not None:
            return BatchLimit(self._by_hand)
        return self._limits.get(_key(worker, worker.models[model]), BatchLimit(_UNMEASURED))

    def lower(self, worker: Worker, model: str, images: int) -> None:
        """Take less from now on: so many images are known to fit."""
        if self._by_hand is None and images < self.of(worker, model).images:
            logger.warning("%s takes %d images at a time from now on: more do not fit", model, images)
            self._limits[_key(worker, worker.models[model])] = BatchLimit(images)

    async def measure(self, workers: Iterable[Worker], *, anew: bool = False) -> None:
        """Find what is not known yet. The workers should have nothing else to do.

        Args:
            anew: also what the folder has.
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
        """Read what an earlier start has measured."""
        for model in worker.models.values():
            key = _key(worker, model)
            if key not in self._limits and (known := self._read(key)):
                self._limits[key] = known

    async def _measure(self, key: str, worker: Worker, model: ModelDescription) -> BatchLimit:
        started = time.monotonic()
        limit = await find_batch_limit(lambda images: _seconds(worker, model, images, self._time_limit))
        if not limit.images_per_second:
            logger.warning("no batch limit could be measured for %s on %s", model.name, worker.device.name)
            return limit
        record = asdict(limit) | {"device": worker.hardware, "engine": worker.engines[model.name]}
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
            return BatchLimit(int(record["images"]), float(record["images_per_second"]))
        except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: it is measured again
            return None

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _key(worker: Worker, model: ModelDescription) -> str:
    return _file_name(model.version, f"{worker.hardware} {worker.engines[model.name]} {model.input_shape}")


@lru_cache  # it is asked for several times a batch
def _file_name(version: str, where: str) -> str:
    return f"{version[:16]}-{hashlib.sha256(where.encode()).hexdigest()[:16]}"


async def _seconds(worker: Worker, model: ModelDescription, images: int, time_limit: float) -> float | None:
    """Return how long a whole network's classes of a batch take, with their way there and back."""
    task = ActivationsTask(model=model.name, classes=(), class_count=min(5, len(model.classes)), layers=())
    _, height, width = model.input_shape
    pixels = np.zeros((1, height, width, 3), np.uint8)
    if not worker.has_room:  # a larger batch has just killed it; it is being started again
        return None
    started = time.perf_counter()
    try:
        works = [Work(task, pixels)] * images
        reply = await worker.claim().run(works, time_limit=time_limit, images_at_once=images)
    except (MemoryError, WorkerDied):
        return None
    return None if isinstance(reply, RunFailed) else time.perf_counter() - started
