"""Names of neurons and of groups: which one to show, of those that people, pictures and effects give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.distinct_names import told_apart
from striate_service.explain.labels import NO_LABEL, UNAVAILABLE, Label
from striate_service.explain.optional_labels import OptionalLabels
from striate_service.models.description import ModelDescription
from striate_service.monitoring.metrics import Metrics
from striate_service.stores.examples import ExampleStore
from striate_service.stores.labels import LabelSource, LabelStore
from striate_service.techniques.directions import channel_shares

# A channel's name fits a group if it stands for this share of the squared length of the group's direction. Of the
# article's groups in GoogLeNet's mixed4d, and of SqueezeNet's in features.5 to 12, the strongest channel has 5 to 44%.
_LEAST_SHARE = 0.05
# And for this share of what its strongest channel has: a group is not called after what is minor in it.
_LEAST_OF_STRONGEST = 0.5
# A class names a neuron when it receives more of the neuron's effect than all other classes together.
_MAJORITY = 0.5


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
        self, model: ModelDescription, layer: str, effects: Mapping[int, NDArray[np.float32]], classes: Sequence[str]
    ) -> dict[int, Label]:
        """Return a label for each channel.

        Args:
            effects: by channel, [M].
            classes: the names of what they are on; "" of what names no neuron.
        """
        named = await self.named(model, layer, list(effects))
        return {
            channel: named[channel] if channel in named else _class_label(effect, classes)
            for channel, effect in effects.items()
        }

    async def groups(
        self,
        model: ModelDescription,
        layer: str,
        directions: NDArray[np.float32],
        effects: NDArray[np.float32],
        classes: Sequence[str],
    ) -> list[Label]:
        """Return a label for each group: that of a direction like it, else the name that its strongest channels have,
        if that stands for enough of the direction, else a class. No two have the same text.

        Args:
            directions: [K, C].
            effects: [K, M].
            classes: the names of what they are on; "" of what names no group.
        """
        shares = [channel_shares(direction) for direction in directions]
        named = await self.named(model, layer, sorted({channel for each in shares for channel in each}))
        of_directions = await self._labels.of_directions(model.version, layer, directions)
        if of_directions is None or UNAVAILABLE in named.values():
            return [UNAVAILABLE] * len(directions)
        labels = [
            Label.of(stored) if stored else _channels_label(named, own) or _class_label(effect, classes)
            for own, stored, effect in zip(shares, of_directions, effects, strict=True)
        ]
        names = [
            [
                (channel, named[channel].text if channel in named and share >= _LEAST_SHARE else "")
                for channel, share in own.items()
            ]
            for own in shares
        ]
        return told_apart(labels, names, own=[stored is not None for stored in of_directions])


def _channels_label(named: Mapping[int, Label], shares: Mapping[int, float]) -> Label | None:
    """Return the name that a group's channels give it; None: no name stands for enough of the group.

    Args:
        shares: the group's strongest channels, strongest first, and their shares of its direction.
    """
    by_text: dict[str, float] = {}
    for channel, share in shares.items():
        if channel in named:
            text = named[channel].text
            by_text[text] = by_text.get(text, 0.0) + share
    text = max(by_text, key=by_text.__getitem__, default="")
    if not text or by_text[text] < max(_LEAST_SHARE, _LEAST_OF_STRONGEST * max(shares.values())):
        return None
    return next(named[channel] for channel in shares if channel in named and named[channel].text == text)


def _class_label(effect: NDArray[np.float32], classes: Sequence[str]) -> Label:
    total = float(np.abs(effect).sum())
    if not total or (share := float(effect.max()) / total) <= _MAJORITY:
        return NO_LABEL
    name = classes[int(effect.argmax())]
    return Label(name, LabelSource.CLASS_EFFECT, share) if name else NO_LABEL
