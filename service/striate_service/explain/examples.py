"""Natural examples of channels, with their names and the classes that excite them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from striate_service.errors import NotFound
from striate_service.explain.labels import NO_LABEL, Label
from striate_service.explain.names import Namer
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.stores.examples import ExampleStore, LayerExamples, StoredExample


@dataclass(frozen=True)
class ClassResponse:
    """How a channel responds to images of a class."""

    class_name: str
    images: int
    mean_peak: float
    """The mean over them of the channel's largest activation."""


@dataclass(frozen=True)
class ChannelExamples:
    """What the indexed images have shown of a channel."""

    channel: int
    label: Label
    examples: Sequence[StoredExample]
    """Strongest first."""
    quantiles: Sequence[float]
    """One for each of `IndexedLayer.shares`."""
    classes: Sequence[ClassResponse]
    """Those that excite it most first."""


@dataclass(frozen=True)
class IndexedLayer:
    """What the indexed images have shown of some channels of a layer."""

    images: int
    """How many were indexed."""
    created: datetime
    """UTC."""
    shares: Sequence[float]
    """Of a channel's activations over all images and positions, that lie below its quantiles: 0 to 1."""
    channels: Sequence[ChannelExamples]


class Examples:
    def __init__(self, store: ExampleStore, namer: Namer) -> None:
        self._store = store
        self._namer = namer

    async def of_channels(
        self, model: ModelDescription, layer: LayerDescription, channels: Sequence[int], *, examples: int, classes: int
    ) -> IndexedLayer:
        """Return what the indexed images have shown of channels.

        Args:
            examples, classes: at most so many of each channel.

        Raises:
            NotFound: the layer has not been indexed.
        """
        found = await asyncio.to_thread(self._store.get, model.version, layer.path)
        if found is None:
            advice = f"send a folder of images: striate index FOLDER --layer {layer.path} --model {model.name}"
            raise NotFound("index of", layer.path, advice)
        labels = await self._namer.named(model, layer.path, channels)
        return IndexedLayer(
            found.images,
            found.created,
            found.shares,
            [
                ChannelExamples(
                    channel,
                    labels.get(channel, NO_LABEL),
                    found.of_channel(channel)[:examples],
                    found.quantiles[channel].tolist(),
                    _class_responses(found, channel, classes),
                )
                for channel in channels
            ],
        )


def _class_responses(found: LayerExamples, channel: int, count: int) -> list[ClassResponse]:
    means = found.class_means[channel]
    return [
        ClassResponse(found.classes[number], int(found.class_counts[number]), float(means[number]))
        for number in np.argsort(-means, kind="stable")[:count].tolist()
    ]
