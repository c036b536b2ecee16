"""Names of neurons and of groups: which one to show, of those that people, pictures and effects give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.optional_labels import OptionalLabels
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.stores.examples import ExampleStore
from striate_service.stores.labels import LabelSource, LabelStore, StoredLabel

# A class names a neuron when it receives more of the neuron's effect than all other classes together.
_MAJORITY = 0.5


@dataclass(frozen=True)
class Label:
    """The name of a neuron or of a group."""

    text: str = ""
    """Empty: nobody has named it."""
    source: LabelSource = LabelSource.NONE
    score: float | None = None
    """How good the name is by its source's own measure, at most 1. None: not measured."""
    author: str = ""

    @classmethod
    def of(cls, stored: StoredLabel) -> Label:
        return cls(stored.text, stored.source, stored.score, stored.author)


NO_LABEL = Label()
UNAVAILABLE = Label(source=LabelSource.UNAVAILABLE)


class Namer:
    """Names a neuron by what somebody or dissection called it, else by the class of the indexed images that excite it,
    else by the class that it pushes most, else not at all.

    While the label database does not answer every label is `UNAVAILABLE`: answers do without names, and say so.
    """

    def __init__(self, labels: LabelStore, examples: ExampleStore, metrics: Metrics) -> None:
        self._labels = OptionalLabels(labels, metrics)
        self._examples = examples

    async def named(self, model: ModelDescription, layer: str, channels: Sequence[int]) -> dict[int, Label]:
        """Return the labels of those channels that have a name, whatever their effects."""
        stored = await self._labels.of_channels(model.version, layer, channels)
        if stored is None:
            return dict.fromkeys(channels, UNAVAILABLE)
        labels = {channel: Label.of(label) for channel, label in stored.items()}
        indexed = await asyncio.to_thread(self._examples.get, model.version, layer)
        if indexed is not None:
            for channel in channels:
                if channel not in labels and (number := int(indexed.named_class[channel])) >= 0:
                    labels[channel] = Label(
                        indexed.classes[number], LabelSource.EXAMPLES, float(indexed.name_score[channel])
                    )
        return labels

    async def neurons(
        self, model: ModelDescription, layer: str, effects: Mapping[int, NDArray[np.float32]], classes: Sequence[int]
    ) -> dict[int, Label]:
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
    ) -> list[Label]:
        """Return a label for each group: that of a direction like it, else the name that has most weight among its
        channels, else a class.

        Args:
            directions: [K, C].
            effects: [K, M], on `classes`.
        """
        named = await self.named(model, layer, range(directions.shape[1]))
        of_directions = await self._labels.of_directions(model.version, layer, directions)
        if of_directions is None or UNAVAILABLE in named.values():
            return [UNAVAILABLE] * len(directions)
        return [
            Label.of(stored) if stored else _channels_label(named, direction) or _class_label(model, effect, classes)
            for direction, stored, effect in zip(directions, of_directions, effects, strict=True)
        ]


def _channels_label(named: Mapping[int, Label], direction: NDArray[np.float32]) -> Label | None:
    """Return the label whose text has most weight among the named channels of a direction, [C]; None: it has none."""
    weights: dict[str, float] = {}
    for channel, label in named.items():
        weights[label.text] = weights.get(label.text, 0.0) + float(direction[channel])
    text = max(weights, key=weights.__getitem__, default="")
    if not text or weights[text] <= 0:
        return None
    strongest = max((channel for channel in named if named[channel].text == text), key=lambda each: direction[each])
    return named[strongest]


def _class_label(model: ModelDescription, effect: NDArray[np.float32], classes: Sequence[int]) -> Label:
    total = float(np.abs(effect).sum())
    if not total or (share := float(effect.max()) / total) <= _MAJORITY:
        return NO_LABEL
    return Label(model.classes[classes[int(effect.argmax())]], LabelSource.CLASS_EFFECT, share)
