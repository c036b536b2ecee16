"""Names for neurons and groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from striate.v1 import common_pb2 as pb

from striate_service.models.description import ModelDescription
from striate_service.servicers import encoding
from striate_service.stores.examples import ExampleStore
from striate_service.stores.labels import LabelStore

# A class names a neuron when it receives more of the neuron's effect than all other classes together.
_MAJORITY = 0.5


class Namer:
    """Names neurons: as somebody or dissection named them, else by the class of the indexed images that excite them,
    else by the class that they push most, else not at all."""

    def __init__(self, labels: LabelStore, examples: ExampleStore) -> None:
        self._labels = labels
        self._examples = examples

    async def named(self, model: ModelDescription, layer: str, channels: Sequence[int]) -> dict[int, pb.Label]:
        """Return the labels of those channels that have a name, whatever the answer at hand."""
        stored = await asyncio.to_thread(self._labels.of_channels, model.version, layer, channels)
        labels = {channel: encoding.label(label) for channel, label in stored.items()}
        indexed = await asyncio.to_thread(self._examples.get, model.version, layer)
        if indexed is not None:
            for channel in channels:
                if channel not in labels and (number := int(indexed.named_class[channel])) >= 0:
                    labels[channel] = pb.Label(
                        text=indexed.classes[number],
                        source=pb.LABEL_SOURCE_EXAMPLES,
                        score=float(indexed.name_score[channel]),
                    )
        return labels

    async def neurons(
        self, model: ModelDescription, layer: str, effects: dict[int, NDArray[np.float32]], classes: Sequence[int]
    ) -> dict[int, pb.Label]:
        """Return a label for each channel.

        Args:
            effects: by channel, [M], on `classes`.
        """
        named = await self.named(model, layer, list(effects))
        return {
            channel: named[channel] if channel in named else _class_label(model, effect, classes)
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
        """Return a label for each group: that of a direction like it, else the name that its channels share most weight
        of, else a class.

        Args:
            directions: [K, C].
            effects: [K, M], on `classes`.
        """
        channels = range(directions.shape[1])
        named = await self.named(model, layer, channels)
        alike = await asyncio.to_thread(self._labels.of_directions, model.version, layer, directions)
        labels = []
        for direction, stored, effect in zip(directions, alike, effects, strict=True):
            if stored is not None:
                labels.append(encoding.label(stored))
                continue
            weights: dict[str, float] = {}
            for channel, label in named.items():
                weights[label.text] = weights.get(label.text, 0.0) + float(direction[channel])
            text = max(weights, key=weights.__getitem__, default="")
            if text and weights[text] > 0:
                best = max(
                    (item for item in named.items() if item[1].text == text), key=lambda item: direction[item[0]]
                )
                labels.append(best[1])
            else:
                labels.append(_class_label(model, effect, classes))
        return labels


def _class_label(model: ModelDescription, effect: NDArray[np.float32], classes: Sequence[int]) -> pb.Label:
    total = float(np.abs(effect).sum())
    if not total or (share := float(effect.max()) / total) <= _MAJORITY:
        return pb.Label()
    name = model.classes[classes[int(effect.argmax())]]
    return pb.Label(text=name, source=pb.LABEL_SOURCE_CLASS_EFFECT, score=share)
