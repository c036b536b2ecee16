"""Streams of images: a few messages are worked on at a time, and their results come in the order of the messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from striate_service.config import Settings
from striate_service.explain.concurrency import run_concurrently
from striate_service.explain.decoding import ImageDecoder
from striate_service.explain.images import Fit, GivenImage
from striate_service.models.description import ModelDescription
from striate_service.monitoring.requests import spending
from striate_service.scheduling.engine import Engine, Terms
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.techniques.tasks.base import ImageTask

R = TypeVar("R")

_MESSAGES_PER_WORKER = 2  # that are worked on at a time: one computes while the next is decoded


@dataclass(frozen=True)
class StreamedImage:
    """An image of a stream, as it came."""

    source: GivenImage | str
    """Not preprocessed; or the reason why it cannot be used."""
    name: str = ""
    """What the caller calls it. Empty: it is called by its number in the stream."""
    class_name: str = ""
    """Empty: unknown."""

    @property
    def size(self) -> int:
        """In bytes, as it came."""
        return 0 if isinstance(self.source, str) else self.source.size


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Slice(Generic[R]):
    """N images that went through the network together."""

    images: Sequence[StreamedImage]
    numbers: NDArray[np.int64]
    """[N]: their numbers in the stream, from 0."""
    pixels: NDArray[np.uint8]
    """[N, H, W, 3], of the network's input size."""
    result: R


@dataclass(frozen=True)
class MessageResult(Generic[R]):
    """What became of the images of one message."""

    slices: Sequence[Slice[R]]
    skipped: Sequence[SkippedImage]


class ImageStreams:
    """Runs streams of images through the workers, in slices that one forward takes."""

    def __init__(self, engine: Engine, decoder: ImageDecoder, memory: RequestMemory, settings: Settings) -> None:
        self._engine = engine
        self._decoder = decoder
        self._memory = memory
        self._max_memory_bytes = settings.max_task_bytes
        self._max_result_bytes = settings.max_message_bytes

    def run(
        self,
        messages: AsyncIterator[Sequence[StreamedImage]],
        task: ImageTask[R],
        model: ModelDescription,
        fit: Fit,
        terms: Terms,
    ) -> AsyncGenerator[MessageResult[R], None]:
        """Carry out a task on all images that can be read; yield the results message by message, in order.

        Raises:
            RequestError: a slice is refused, expires or fails; the stream ends there.
        """

        async def run_message(
            message: tuple[int, Sequence[StreamedImage]], placed: Callable[[], None]
        ) -> MessageResult[R]:
            first, images = message
            results = []
            size = self._slice_size(task)
            with self._memory.hold_anyway(sum(image.size for image in images)):
                for start in range(0, len(images), size):
                    chosen = images[start : start + size]
                    results.append(
                        await self._run_slice(first + start, chosen, task, model, fit, replace(terms, placed=placed))
                    )
            return MessageResult(
                [each for each, _ in results if each], [image for _, skipped in results for image in skipped]
            )

        window = _MESSAGES_PER_WORKER * self._engine.worker_count
        return run_concurrently(_numbered(messages), run_message, window, without_place=window, in_order=True)

    def _slice_size(self, task: ImageTask[R]) -> int:
        """Return how many images a forward takes, or fewer where a task on so many would be too large."""
        model = self._engine.catalogue.model(task.model)

        def fits(images: int) -> bool:
            cost = task.cost(model, images)
            return cost.memory_bytes <= self._max_memory_bytes and cost.result_bytes <= self._max_result_bytes

        size = self._engine.batch_limit(model.name)
        while size > 1 and not fits(size):
            size //= 2
        return size

    async def _run_slice(
        self,
        first: int,
        images: Sequence[StreamedImage],
        task: ImageTask[R],
        model: ModelDescription,
        fit: Fit,
        terms: Terms,
    ) -> tuple[Slice[R] | None, Sequence[SkippedImage]]:
        """Run images through the network, but for those that cannot be read."""
        async with self._engine.admission(task, len(images), preprocessed=False, terms=terms) as place:
            with spending("decode"):
                decoded = await asyncio.gather(*(self._pixels_or_reason(each.source, model, fit) for each in images))
            readable = [index for index, pixels in enumerate(decoded) if not isinstance(pixels, str)]
            skipped = [
                SkippedImage(image.name or str(first + index), reason)
                for index, (image, reason) in enumerate(zip(images, decoded, strict=True))
                if isinstance(reason, str)
            ]
            if not readable:
                return None, skipped
            pixels = np.stack([decoded[index] for index in readable])
            result = await place.run(pixels)
        return Slice([images[index] for index in readable], first + np.array(readable), pixels, result), skipped

    async def _pixels_or_reason(
        self, source: GivenImage | str, model: ModelDescription, fit: Fit
    ) -> NDArray[np.generic] | str:
        return source if isinstance(source, str) else await self._decoder.pixels_or_reason(source, model, fit)


async def _numbered(
    messages: AsyncIterator[Sequence[StreamedImage]],
) -> AsyncGenerator[tuple[int, Sequence[StreamedImage]], None]:
    """Yield each message with the number of its first image in the stream."""
    number = 0
    async for images in messages:
        yield number, images
        number += len(images)
