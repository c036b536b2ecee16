"""What the image-based RPCs share: from images to arrays, icons in time, and names for neurons and groups."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from striate.v1 import common_pb2 as pb

from striate_service.config import Settings
from striate_service.errors import InvalidArgument
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.rendering import IconRenderer, Rendering
from striate_service.servicers import encoding, images
from striate_service.stores.labels import LabelStore
from striate_service.techniques.recipe import Objective

# Waiting for icons ends this long before the caller's deadline, so that the reply still arrives: a fixed part for the
# reply itself, and a share for a caller with little time.
_REPLY_SECONDS, _REPLY_SHARE = 1.0, 0.1

# A class names a neuron when it receives more of the neuron's effect than all other classes together.
_MAJORITY = 0.5


@dataclass(frozen=True)
class DecodedImages:
    pixels: NDArray[np.generic]
    """[N, ...], as `workers.tasks.ImageTask` takes them."""
    views: list[pb.View]


class ImageDecoder:
    """Checks images, then decodes them in threads of its own."""

    def __init__(self, settings: Settings, threads: Executor, metrics: Metrics) -> None:
        self._settings = settings
        self._threads = threads
        self._metrics = metrics

    def check(self, given: Sequence[pb.Image], field: str, model: ModelDescription) -> None:
        """Look at what costs nothing to look at: how many images there are, and their headers.

        Raises:
            InvalidArgument: there are none, or too many, or of different kinds, or one of them is no image.
        """
        most = self._settings.max_images_per_request
        if not given:
            raise InvalidArgument(field, f"is empty; send 1 to {most} images.")
        if len(given) > most:
            raise InvalidArgument(field, f"holds {len(given)} images; send at most {most} in one request.")
        if len({image.WhichOneof("source") == "preprocessed" for image in given}) > 1:
            raise InvalidArgument(field, "mixes preprocessed images with others; send them in requests of their own.")
        for image, name in zip(given, _names(field, len(given)), strict=True):
            images.check(image, name, model.preprocessing, self._settings.max_pixels_per_image)

    async def decode(
        self, given: Sequence[pb.Image], field: str, model: ModelDescription, fit: pb.Fit
    ) -> DecodedImages:
        """Return images that passed `check` as one array.

        Raises:
            InvalidArgument: one of them cannot be read.
        """
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, self._decode, image, name, model, fit)
                for image, name in zip(given, _names(field, len(given)), strict=True)
            )
        )
        self._metrics.images.labels(model=model.name).inc(len(decoded))
        return DecodedImages(np.stack([each.pixels for each in decoded]), [each.view for each in decoded])

    def _decode(self, image: pb.Image, field: str, model: ModelDescription, fit: pb.Fit) -> images.Decoded:
        with self._metrics.decode_seconds.time():
            return images.decode(image, field, model.preprocessing, fit)


def _names(field: str, count: int) -> list[str]:
    return [field] if field == "image" else [f"{field}[{number}]" for number in range(count)]


class IconFinder:
    """Gets icons for a reply, as far as the caller wants to wait for them."""

    def __init__(self, renderer: IconRenderer) -> None:
        self._renderer = renderer

    async def icons(
        self,
        model: ModelDescription,
        layer: str,
        objectives: Sequence[Objective],
        *,
        omit: bool,
        wait: bool,
        deadline: float,
    ) -> list[pb.Icon]:
        """Return one icon an objective. What is not ready in time is marked, and goes on being rendered."""
        if omit:
            return [pb.Icon(status=pb.ICON_STATUS_NOT_REQUESTED) for _ in objectives]
        renderings = await self._renderer.request(model, layer, objectives, urgent=wait)
        if wait:
            remaining = deadline - time.monotonic()
            timeout = None if remaining == math.inf else remaining - max(_REPLY_SECONDS, _REPLY_SHARE * remaining)
            await asyncio.wait([rendering.icon for rendering in renderings], timeout=timeout and max(0.0, timeout))
        return [icon(rendering) for rendering in renderings]


def icon(rendering: Rendering) -> pb.Icon:
    """Return an icon as it stands."""
    if not rendering.icon.done():
        return pb.Icon(status=pb.ICON_STATUS_QUEUED)
    if rendering.icon.cancelled() or rendering.icon.exception():
        return pb.Icon(status=pb.ICON_STATUS_FAILED)
    return pb.Icon(status=pb.ICON_STATUS_READY, data=rendering.icon.result())


class Namer:
    """Names neurons: as somebody named them, else by the class that they push most, else not at all."""

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels

    async def neurons(
        self, model: ModelDescription, layer: str, effects: dict[int, NDArray[np.float32]], classes: Sequence[int]
    ) -> dict[int, pb.Label]:
        """Return a label for each channel.

        Args:
            effects: by channel, [M], on `classes`.
        """
        named = await asyncio.to_thread(self._labels.of_channels, model.version, layer, list(effects))
        return {
            channel: encoding.label(named[channel]) if channel in named else _class_label(model, effect, classes)
            for channel, effect in effects.items()
        }

    async def groups(
        self,
        model: ModelDescription,
        layer: str,
        directions: NDArray[np.float32],
        effects: NDArray[np.float32],
        classes: Sequence[int],
    ) -> list[pb.Label]:
        """Return a label for each group: the name that its channels share most weight of, else a class.

        Args:
            directions: [K, C].
            effects: [K, M], on `classes`.
        """
        channels = range(directions.shape[1])
        named = await asyncio.to_thread(self._labels.of_channels, model.version, layer, channels)
        labels = []
        for direction, effect in zip(directions, effects, strict=True):
            weights: dict[str, float] = {}
            for channel, stored in named.items():
                weights[stored.text] = weights.get(stored.text, 0.0) + float(direction[channel])
            text = max(weights, key=weights.__getitem__, default="")
            if text and weights[text] > 0:
                best = max(
                    (stored for stored in named.items() if stored[1].text == text), key=lambda item: direction[item[0]]
                )
                labels.append(encoding.label(best[1]))
            else:
                labels.append(_class_label(model, effect, classes))
        return labels


def _class_label(model: ModelDescription, effect: NDArray[np.float32], classes: Sequence[int]) -> pb.Label:
    total = float(np.abs(effect).sum())
    if not total or (share := float(effect.max()) / total) <= _MAJORITY:
        return pb.Label()
    name = model.classes[classes[int(effect.argmax())]]
    return pb.Label(text=name, source=pb.LABEL_SOURCE_CLASS_EFFECT, score=share)
