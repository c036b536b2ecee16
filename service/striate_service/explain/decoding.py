"""From a request's images to one array, in threads of their own. Nothing else reads a caller's bytes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from striate_service.config import MEBIBYTE, Settings
from striate_service.errors import InvalidArgument
from striate_service.explain.byte_budget import ByteBudget
from striate_service.explain.decoding_process import decode_apart
from striate_service.explain.images import (
    DecodedImage,
    Fit,
    GivenImage,
    GivenImages,
    OpenedImage,
    Target,
    View,
    decode,
    open_image,
)
from striate_service.explain.stoppable import Stop
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.monitoring.requests import current

T = TypeVar("T")

_ORDINARY_BYTES = 32 * MEBIBYTE
"""What takes no more, such as 8 megapixels of RGB, is decoded in the step that opens it: no more of these than threads
lie in memory."""


@dataclass(frozen=True)
class DecodedImages:
    pixels: NDArray[np.generic]
    """[N, ...], as `ImageTask` takes them."""
    views: list[View]
    """One an image."""


def decode_threads(count: int, niceness: int) -> ThreadPoolExecutor:
    """Return threads that leave the processor to the server's main thread.

    Args:
        niceness: added to that of the process, on Linux.
    """
    return ThreadPoolExecutor(count, thread_name_prefix="decode", initializer=_add_niceness, initargs=(niceness,))


def _add_niceness(niceness: int) -> None:
    if sys.platform == "linux":  # elsewhere niceness is a whole process's
        os.nice(niceness)


class ImageDecoder:
    """Makes pixels of images. Large ones wait until there is memory for them, over all requests."""

    def __init__(self, settings: Settings, threads: Executor, metrics: Metrics) -> None:
        self._max_pixels = settings.max_pixels_per_image
        self._exact = settings.exact_decoding
        self._budget = ByteBudget(settings.max_decoding_bytes)
        self._threads = threads
        self._metrics = metrics

    async def decode(self, given: GivenImages, model: ModelDescription) -> DecodedImages:
        """Return images as one array.

        Raises:
            InvalidArgument: one of them is no image, is too large, or cannot be decoded.
        """
        target = Target(model.preprocessing, given.fit, self._exact)
        decoded = await _all([self._decode(image, target) for image in given.images])
        self._metrics.images.labels(model=model.name).inc(len(decoded))
        if request := current():
            request.images += len(decoded)
        pixels = decoded[0].pixels[None] if len(decoded) == 1 else np.stack([each.pixels for each in decoded])
        return DecodedImages(pixels, [each.view for each in decoded])

    async def pixels_or_reason(self, image: GivenImage, model: ModelDescription, fit: Fit) -> NDArray[np.generic] | str:
        """Return an image's pixels, as `ImageTask` takes them, or why there are none."""
        try:
            decoded = await self.decode(GivenImages([image], fit), model)
        except InvalidArgument as error:
            return error.problem
        pixels: NDArray[np.generic] = decoded.pixels[0]
        return pixels

    async def _decode(self, image: GivenImage, target: Target) -> DecodedImage:
        """Decode an image in a thread; where this is cancelled, the thread stops soon."""
        stop = Stop()
        try:
            return await self._decode_unless(stop, image, target)
        finally:
            stop.set()

    async def _decode_unless(self, stop: Stop, image: GivenImage, target: Target) -> DecodedImage:
        loop = asyncio.get_running_loop()

        def pixels(opened: OpenedImage) -> DecodedImage:
            with self._metrics.decode_seconds.time():
                if opened.in_one_go:
                    return decode_apart(image, self._max_pixels, target, stop)
                return decode(opened, image.field, target, stop)

        def open_or_decode() -> OpenedImage | DecodedImage:
            opened = open_image(image, self._max_pixels, target)
            return opened if opened.bytes > _ORDINARY_BYTES else pixels(opened)

        step = await loop.run_in_executor(self._threads, open_or_decode)
        if isinstance(step, DecodedImage):
            return step
        size = step.bytes
        await self._budget.take(size)
        work = self._threads.submit(pixels, step)
        # When the thread has ended, which is a little after the caller has gone.
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._budget.give_back, size))
        return await asyncio.wrap_future(work)


async def _all(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all; the first error ends the others, of which those that no thread has begun are never begun."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
