"""Monitors: making them, and taking in the images that they see."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate_service.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, storing
from striate_service.explain.bases import Library
from striate_service.explain.images import Fit
from striate_service.explain.monitoring.watched import Watched, watched
from striate_service.explain.streams import ImageStreams, MessageResult, SkippedImage, StreamedImage
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.stores.bases import StoredBasis
from striate_service.stores.monitors import MonitorStore, Observation, StoredMonitor
from striate_service.techniques.tasks.observing import ObserveResult

MAX_MONITORS = 64
_MAX_NUMBERS = 16_384  # of an image: what is kept of a monitor's images stays below 50 MB
_PICTURE = 112  # pixels: enough to see what an image shows, in about 3 KB
_WEBP = {"quality": 75, "method": 2}


@dataclass(frozen=True)
class ObservedImage(StreamedImage):
    """An image that a monitor sees; its name is the caller's own."""

    slice: str = ""
    taken: datetime | None = None
    """UTC. None: now."""


@dataclass(frozen=True)
class ObserveProgress:
    stored: int
    """Images of the stream that are kept now."""
    known: int
    """Of them, those that had been kept before."""
    skipped: Sequence[SkippedImage]
    """Since the progress before."""


@dataclass(frozen=True)
class MonitorPlan:
    name: str
    model: ModelDescription
    layers: Sequence[LayerDescription]
    bases: Sequence[StoredBasis]
    window: int
    reference_from_traffic: int
    omit_pictures: bool
    fit: Fit


class Monitors:
    def __init__(
        self, engine: Engine, streams: ImageStreams, library: Library, store: MonitorStore, threads: Executor
    ) -> None:
        """Take what computes and what keeps.

        Args:
            threads: for pictures.
        """
        self._engine = engine
        self._streams = streams
        self._library = library
        self._store = store
        self._threads = threads

    async def create(self, plan: MonitorPlan) -> StoredMonitor:
        """Make a monitor.

        Raises:
            AlreadyExists: there is one of that name.
            InvalidArgument: it would keep too much of each image.
            FailedPrecondition: there are as many monitors as there may be.
        """
        numbers = Watched(plan.model, plan.layers, plan.bases).numbers
        if numbers > _MAX_NUMBERS:
            raise InvalidArgument(
                "layers",
                f"would keep {numbers} numbers of each image, and at most {_MAX_NUMBERS} are; watch fewer layers.",
            )
        monitor = StoredMonitor(
            plan.name,
            plan.model.name,
            plan.model.version,
            tuple(layer.path for layer in plan.layers),
            tuple(basis.name for basis in plan.bases),
            plan.window,
            plan.reference_from_traffic,
            plan.omit_pictures,
            plan.fit.value,
        )
        with storing(f"the monitor {plan.name!r}"):
            try:
                return await asyncio.to_thread(self._store.create, monitor, MAX_MONITORS)
            except FileExistsError as error:
                raise AlreadyExists("monitor", plan.name, "delete it first, or choose another name") from error
            except OverflowError as error:
                raise FailedPrecondition(
                    "this server", f"has {MAX_MONITORS} monitors, as many as it keeps; delete one that nobody needs."
                ) from error

    async def find(self, name: str) -> StoredMonitor:
        """Return a monitor.

        Raises:
            NotFound: there is none.
        """
        monitor = await asyncio.to_thread(self._store.get, name)
        if monitor is None:
            known = [each.name for each in await self.list()]
            listing = f"there are {', '.join(known[:10])}" if known else "none has been made yet"
            raise NotFound.among("monitor", name, known, listing)
        return monitor

    async def list(self) -> list[StoredMonitor]:
        """Return all monitors, by name."""
        return await asyncio.to_thread(self._store.list)

    async def delete(self, name: str) -> None:
        """Remove a monitor with all that it keeps.

        Raises:
            NotFound: there is none.
        """
        if not await asyncio.to_thread(self._store.delete, name):
            await self.find(name)  # raises NotFound, which lists the names that there are

    async def observe(
        self, name: str, messages: AsyncIterator[Sequence[ObservedImage]], terms: Terms, *, reference: bool
    ) -> AsyncGenerator[ObserveProgress, None]:
        """Take in images, message by message; what is yielded is stored.

        Raises:
            NotFound: there is no such monitor, or it was deleted meanwhile.
            RequestError: a message is refused; those before it are stored.
        """
        monitor = await self.find(name)
        seen = await watched(monitor, self._engine.models, self._library)
        stored = known = 0
        async with aclosing(self._streams.run(messages, seen.task, seen.model, Fit(monitor.fit), terms)) as results:
            async for result in results:
                observations = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _observations, monitor, seen, result
                )
                try:
                    with storing(f"what the monitor {name!r} sees"):
                        known += await asyncio.to_thread(self._store.add, name, observations, reference=reference)
                except LookupError:
                    await self.find(name)  # raises NotFound
                stored += len(observations)
                yield ObserveProgress(stored, known, result.skipped)

    async def add_outcomes(self, name: str, outcomes: Sequence[tuple[str, int]]) -> int:
        """Say which classes images really are of, and return how many of them are kept.

        Args:
            outcomes: the images' own names, and the indices of their classes.
        """
        return await asyncio.to_thread(self._store.add_outcomes, name, outcomes)


def _observations(monitor: StoredMonitor, seen: Watched, message: MessageResult[ObserveResult]) -> list[Observation]:
    found = []
    for part in message.slices:
        codes, predictions = seen.codes(part.result), part.result.predictions
        novelty = np.mean([groups.novelty for groups in part.result.groups], axis=0) if part.result.groups else None
        for index, image in enumerate(part.images):
            assert isinstance(image, ObservedImage)
            found.append(
                Observation(
                    image.name,
                    codes[index],
                    -1 if predictions is None else int(predictions.classes[index, 0]),
                    None if novelty is None else float(novelty[index]),
                    b"" if monitor.omit_pictures else _picture(part.pixels[index]),
                    image.taken,
                    image.slice,
                )
            )
    return found


def _picture(pixels: NDArray[np.uint8]) -> bytes:
    """Return what the network saw as a small WebP file; empty where it is no picture."""
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        return b""
    image = Pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_PICTURE, _PICTURE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **_WEBP)
    return buffer.getvalue()
