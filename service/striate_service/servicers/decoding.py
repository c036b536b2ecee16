"""From a request's images to one array, in threads of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from striate.v1 import common_pb2 as pb

from striate_service.backends.local.niceness import NICENESS
from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.servicers import images


@dataclass(frozen=True)
class DecodedImages:
    pixels: NDArray[np.generic]
    """[N, ...], as `workers.tasks.ImageTask` takes them."""
    views: list[pb.View]


def decode_threads(count: int) -> ThreadPoolExecutor:
    """Return threads that come after the server's own, as workers do."""
    return ThreadPoolExecutor(count, thread_name_prefix="decode", initializer=_give_way)


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere niceness is a whole process's
        os.nice(NICENESS)


class ImageDecoder:
    """Opens images, which checks them, then decodes them in threads of its own."""

    def __init__(self, settings: Settings, threads: Executor, metrics: Metrics) -> None:
        self._settings = settings
        self._threads = threads
        self._metrics = metrics

    def open(self, given: Sequence[pb.Image], field: str, model: ModelDescription) -> list[images.Opened]:
        """Look at what costs nothing to look at: how many images there are, and their headers.

        Raises:
            InvalidArgument: there are none, or too many, or of different kinds, or one of them is no image.
        """
        self.check_count(len(given), field)
        if len({image.WhichOneof("source") == "preprocessed" for image in given}) > 1:
            raise InvalidArgument(field, "mixes preprocessed images with others; send them in requests of their own.")
        return [
            images.open_image(image, name, model.preprocessing, self._settings.max_pixels_per_image)
            for image, name in zip(given, _names(field, len(given)), strict=True)
        ]

    def check_count(self, count: int, field: str) -> None:
        """Refuse no images, and more than one message may bring."""
        most = self._settings.max_images_per_request
        if not count:
            raise InvalidArgument(field, f"is empty; send 1 to {most} images.")
        if count > most:
            raise InvalidArgument(field, f"holds {count} images; send at most {most} in one request.")

    async def decode(
        self, opened: Sequence[images.Opened], field: str, model: ModelDescription, fit: pb.Fit
    ) -> DecodedImages:
        """Return images as one array.

        Raises:
            InvalidArgument: one of them cannot be read.
        """
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, self._decode, image, name, model, fit)
                for image, name in zip(opened, _names(field, len(opened)), strict=True)
            )
        )
        self._metrics.images.labels(model=model.name).inc(len(decoded))
        pixels = decoded[0].pixels[None] if len(decoded) == 1 else np.stack([each.pixels for each in decoded])
        return DecodedImages(pixels, [each.view for each in decoded])

    async def pixels_or_reason(
        self, image: pb.Image, model: ModelDescription, fit: pb.Fit
    ) -> NDArray[np.generic] | str:
        """Return an image's pixels, as `workers.tasks.ImageTask` takes them, or why there are none."""
        try:
            decoded = await self.decode(self.open([image], "image", model), "image", model, fit)
        except InvalidArgument as error:
            return error.problem
        pixels: NDArray[np.generic] = decoded.pixels[0]
        return pixels

    def _decode(self, opened: images.Opened, field: str, model: ModelDescription, fit: pb.Fit) -> images.Decoded:
        with self._metrics.decode_seconds.time():
            return images.decode(opened, field, model.preprocessing, fit)


def _names(field: str, count: int) -> list[str]:
    return [field] if field == "image" else [f"{field}[{number}]" for number in range(count)]
