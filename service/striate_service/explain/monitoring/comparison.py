"""A window of traffic beside a reference: how much each channel, group and class has drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.icons import NO_ICON, Icon
from striate_service.explain.labels import NO_LABEL, Label
from striate_service.explain.monitoring.watched import Watched
from striate_service.stores.monitors import Observations
from striate_service.techniques import drift

_SLICE_IMAGES = 10  # fewer say nothing of a slice
_SHOWN_SLICES = 3

_Channel = tuple[str, int, bool, int]
Item = TypeVar("Item", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Drift:
    """How one number of an image is distributed in traffic, beside the reference: see `drift.FeatureDrift`."""

    score: float
    significant: bool
    p_value: float
    q_value: float
    effect: float
    before: float
    now: float
    standardized_difference: float
    population_stability: float
    wasserstein: float


@dataclass(frozen=True)
class SliceDrift:
    slice: str
    images: int
    effect: float


@dataclass(frozen=True)
class LayerDrift:
    layer: str
    score: float
    significant_channels: int
    dead_channels: int
    newly_dead_channels: int
    saturated_channels: int
    newly_saturated_channels: int
    sparsity: Drift


@dataclass(frozen=True)
class BasisDrift:
    basis: str
    layer: str
    novelty: Drift
    novelty_before: float
    novelty_now: float


@dataclass(frozen=True)
class ChannelDrift:
    layer: str
    channel: int
    drift: Drift
    mean: bool
    """Of the mean over positions, not of the peak."""
    label: Label = NO_LABEL
    icon: Icon = NO_ICON
    reference_pictures: Sequence[bytes] = ()
    window_pictures: Sequence[bytes] = ()
    slices: Sequence[SliceDrift] = ()


@dataclass(frozen=True)
class ConceptDrift:
    """The channels of one name, of all layers."""

    name: str
    score: float
    """As `drift.joint_score`: beyond 1 it is significant at the same level."""
    channels: int
    most_drifted: ChannelDrift

    @property
    def significant(self) -> bool:
        return self.score > 1


@dataclass(frozen=True)
class Dominance:
    """The images of a window that use one group more than any other of its basis."""

    images: int
    outcomes: int
    """Of how many of them the outcome is known."""
    accuracy: float
    """Of those; 0 where there is none."""


@dataclass(frozen=True)
class GroupDrift:
    basis: str
    group: int
    drift: Drift
    dominant: Dominance
    label: Label = NO_LABEL
    icon: Icon = NO_ICON
    reference_pictures: Sequence[bytes] = ()
    window_pictures: Sequence[bytes] = ()
    slices: Sequence[SliceDrift] = ()


@dataclass(frozen=True)
class ClassDrift:
    index: int
    drift: Drift


class Comparison:
    """A window beside a reference, by channel, group, class and slice."""

    def __init__(
        self,
        reference: drift.Reference,
        codes: NDArray[np.uint8],
        seen: Watched,
        window: Observations,
        classes: Sequence[int],
    ) -> None:
        self.found = reference.compare(codes)
        self._seen = seen
        self._window = window
        self._classes = classes
        self._codes = codes
        self._reference = reference
        self._slices = self._effects_of_slices()

    def drift(self, column: int) -> Drift:
        found = self.found
        before, now = self._reference.codes[:, [column]], self._codes[:, [column]]
        return Drift(
            float(found.scores[column]),
            bool(found.significant[column]),
            float(found.p_values[column]),
            float(found.q_values[column]),
            float(found.effects[column]),
            float(found.before[column]),
            float(found.now[column]),
            float(drift.standardized_difference(before, now)[0]),
            float(drift.population_stability(before, now)[0]),
            float(drift.wasserstein(before, now)[0]),
        )

    def layers(self) -> list[LayerDrift]:
        found = []
        for path, peaks in self._seen.peaks.items():
            means = self._seen.means[path]
            both = np.maximum(self.found.scores[peaks], self.found.scores[means])
            significant = self.found.significant[peaks] | self.found.significant[means]
            dead = ~_excited(self._codes[:, peaks])
            newly = dead & _excited(self._reference.codes[:, peaks])
            most = max(int(codes[:, peaks].max()) for codes in (self._codes, self._reference.codes))
            saturated = _saturated(self._codes[:, means], most)
            newly_saturated = saturated & ~_saturated(self._reference.codes[:, means], most)
            sparsity = self.drift(self._seen.sparsity[path])
            found.append(
                LayerDrift(
                    path,
                    float(both.max()),
                    significant_channels=int(significant.sum()),
                    dead_channels=int(dead.sum()),
                    newly_dead_channels=int(newly.sum()),
                    saturated_channels=int(saturated.sum()),
                    newly_saturated_channels=int(newly_saturated.sum()),
                    sparsity=sparsity,
                )
            )
        return found

    def bases(self) -> list[BasisDrift]:
        values = drift.decoded()
        return [
            BasisDrift(
                basis.name,
                basis.layer,
                self.drift(column := self._seen.novelty[basis.name]),
                float(values[self._reference.codes[:, column]].mean()),
                float(values[self._codes[:, column]].mean()),
            )
            for basis in self._seen.bases
        ]

    def channels(self, count: int) -> list[ChannelDrift]:
        """Return at most so many channels of all layers, most drifted first."""
        return [self._channel(each) for each in self._most_drifted(self._channels, count)]

    def concepts(self, names: Mapping[str, Mapping[int, str]], count: int) -> list[ConceptDrift]:
        """Return at most so many names of channels, most drifted first.

        Args:
            names: of channels, by layer.
        """
        named: dict[str, list[_Channel]] = {}
        for each in self._channels:
            path, channel, *_ = each
            if name := names.get(path, {}).get(channel, ""):
                named.setdefault(name, []).append(each)
        found = []
        for name, members in named.items():
            score = drift.joint_score([float(self.found.scores[each[-1]]) for each in members])
            found.append((name, score, self._most_drifted(members, 1)[0], members))
        return [
            ConceptDrift(name, score, len(members), self._channel(first))
            for name, score, first, members in sorted(found, key=lambda each: -each[1])[:count]
        ]

    @cached_property
    def _channels(self) -> list[_Channel]:
        """Layer, channel, whether its mean has drifted more than its peak, and the column of the one that has."""
        scores = self.found.scores
        found = []
        for path, peaks in self._seen.peaks.items():
            means = self._seen.means[path]
            for channel in range(peaks.stop - peaks.start):
                is_mean = bool(scores[means.start + channel] > scores[peaks.start + channel])
                found.append((path, channel, is_mean, (means if is_mean else peaks).start + channel))
        return found

    def _channel(self, found: _Channel) -> ChannelDrift:
        path, channel, is_mean, column = found
        return ChannelDrift(path, channel, self.drift(column), is_mean, slices=self._slices_of(column))

    def groups(self, count: int) -> list[GroupDrift]:
        """Return at most so many groups of all bases, most drifted first."""
        found = [
            (name, group, uses.start + group)
            for name, uses in self._seen.uses.items()
            for group in range(uses.stop - uses.start)
        ]
        strongest = {name: _strongest(self._codes[:, uses]) for name, uses in self._seen.uses.items()}
        return [
            GroupDrift(
                name,
                group,
                self.drift(column),
                self._dominance(strongest[name] == group),
                slices=self._slices_of(column),
            )
            for name, group, column in self._most_drifted(found, count)
        ]

    def _dominance(self, chosen: NDArray[np.bool_]) -> Dominance:
        return Dominance(int(chosen.sum()), *self._window.accuracy(chosen))

    def classes(self, count: int) -> list[ClassDrift]:
        """Return at most so many of the classes that were predicted, most drifted first."""
        found = [(index, self._seen.numbers + place) for place, index in enumerate(self._classes)]
        return [ClassDrift(index, self.drift(column)) for index, column in self._most_drifted(found, count)]

    def _most_drifted(self, items: Sequence[Item], count: int) -> list[Item]:
        """Return at most so many items, whose last element is their column."""
        return sorted(items, key=lambda item: -self.found.scores[item[-1]])[:count]

    def column_of(self, item: ChannelDrift | GroupDrift) -> int:
        if isinstance(item, GroupDrift):
            return int(self._seen.uses[item.basis].start) + item.group
        return int((self._seen.means if item.mean else self._seen.peaks)[item.layer].start) + item.channel

    def _slices_of(self, column: int) -> list[SliceDrift]:
        found = [SliceDrift(name, count, float(effects[column])) for name, count, effects in self._slices]
        return sorted(found, key=lambda each: -abs(each.effect))[:_SHOWN_SLICES]

    def _effects_of_slices(self) -> list[tuple[str, int, NDArray[np.float32]]]:
        found = []
        for name in np.unique(self._window.slices).tolist():
            chosen: NDArray[np.bool_] = np.equal(self._window.slices, name)
            if name and (count := int(chosen.sum())) >= _SLICE_IMAGES:
                found.append((name, count, self._reference.effects(self._codes[chosen])))
        return found


def _excited(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which channels are positive in any image: [C]."""
    excited: NDArray[np.bool_] = codes.max(0) > drift.ZERO
    return excited


def _strongest(uses: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the group that each image uses most, -1 where it uses none: [N]."""
    found: NDArray[np.intp] = np.where(uses.max(1) > drift.ZERO, uses.argmax(1), -1)
    return found


def _saturated(means: NDArray[np.uint8], most: int) -> NDArray[np.bool_]:
    """Return which channels are at the upper end of their activation function (Glorot and Bengio 2010): [C].

    Their means over positions are, in at least half of the images, the layer's largest activation, to 16 to 30 %: to a
    bin of codes, since the upper end may lie at the edge of one, as tanh's does.
    Without an upper end, as ReLU has none, that is rare: where it happens, a channel is constant.
    """
    if most <= drift.ZERO:
        return np.zeros(means.shape[1], np.bool_)
    saturated: NDArray[np.bool_] = (means >= most - 1).mean(0) >= 0.5
    return saturated
