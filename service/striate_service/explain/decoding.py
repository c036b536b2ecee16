"""From a request's images to one array, in threads of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.explain.images import DecodedImage, Fit, GivenImage, GivenImages, Opened, View, decode, open_image
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics


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
    """Opens images, which checks them, then decodes them in threads."""

    def __init__(self, settings: Settings, threads: Executor, metrics: Metrics) -> None:
        self._max_pixels = settings.max_pixels_per_image
        self._threads = threads
        self._metrics = metrics

    def open(self, given: Sequence[GivenImage]) -> list[Opened]:
        """Read the headers of files.

        Raises:
            InvalidArgument: one of them is no image, or too large.
        """
        return [open_image(image, self._max_pixels) for image in given]

    async def decode(self, opened: Sequence[Opened], given: GivenImages, model: ModelDescription) -> DecodedImages:
        """Return images as one array.

        Args:
            opened: what `open` returned for them.

        Raises:
            InvalidArgument: one of them cannot be read.
        """
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, self._decode, each, image.field, model, given.fit)
                for each, image in zip(opened, given.images, strict=True)
            )
        )
        self._metrics.images.labels(model=model.name).inc(len(decoded))
        pixels = decoded[0].pixels[None] if len(decoded) == 1 else np.stack([each.pixels for each in decoded])
        return DecodedImages(pixels, [each.view for each in decoded])

    async def pixels_or_reason(self, image: GivenImage, model: ModelDescription, fit: Fit) -> NDArray[np.generic] | str:
        """Return an image's pixels, as `ImageTask` takes them, or why there are none."""
        try:
            given = GivenImages([image], fit)
            decoded = await self.decode(self.open(given.images), given, model)
        except InvalidArgument as error:
            return error.problem
        pixels: NDArray[np.generic] = decoded.pixels[0]
        return pixels

    def _decode(self, opened: Opened, field: str, model: ModelDescription, fit: Fit) -> DecodedImage:
        with self._metrics.decode_seconds.time():
            return decode(opened, field, model.preprocessing, fit)
