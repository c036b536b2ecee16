"""What each position of a layer means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate.results.icons import Icon, Illustrated
from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.neurons import Neuron
from striate.results.shown import Shown

_TELLING = 30  # neurons: in GoogLeNet's mixed4d, those of the strongest position of each of 6 regions


@dataclass(frozen=True)
class PrefixToken(Shown):
    """What a token before the first position means: a transformer's class token or register."""

    name: str
    """Its index, where it has no name."""
    magnitude: float
    """The length of its activation vector."""
    channels: NDArray[np.int32] = field(repr=False)
    """[K]: its strongest neurons, strongest first."""
    activations: NDArray[np.float32] = field(repr=False)
    """[K]"""
    effects: NDArray[np.float32] = field(repr=False)
    """[K, M]: of `channels` on the dictionary's classes."""
    icon: Icon | None = field(default=None, repr=False)
    """Of its whole activation vector, where position icons were asked for."""


@dataclass(frozen=True)
class SemanticDictionaryData(Illustrated):
    """What each position of a layer means, in neurons."""

    model: Model = field(repr=False)
    layer: Layer
    view: View = field(repr=False)
    predictions: Predictions
    magnitude: NDArray[np.float32] = field(repr=False)
    """[H, W]: the length of each position's activation vector."""
    positions: NDArray[np.int32] = field(repr=False)
    """[P, 2]: (row, column)."""
    channels: NDArray[np.int32] = field(repr=False)
    """[P, K]: the strongest neurons of each position, strongest first: those farthest from 0, unless `order` said
    otherwise."""
    activations: NDArray[np.float32] = field(repr=False)
    """[P, K]: the activations of `channels`; a negative one speaks of the neuron's negative direction."""
    classes: list[str]
    """What `effects` are on: classes, or the targets that were asked for, in words."""
    effects: NDArray[np.float32] = field(repr=False)
    """[P, K, M]: the effects of `channels` on `classes`."""
    neurons: dict[int, Neuron] = field(repr=False)
    """By channel: every neuron that is among the strongest at some position."""
    image: Pillow.Image | None = field(repr=False)
    """What the network saw; None if the image was preprocessed."""
    logits: dict[str, float] = field(default_factory=dict, repr=False)
    """By class; of other targets, their value."""
    baseline_logits: dict[str, float] = field(default_factory=dict, repr=False)
    """By class: the logits where the layer is 0, for integrated gradients. The effects of all neurons at all positions
    add up to `logits` minus these."""
    position_icons: list[Icon] = field(default_factory=list, repr=False)
    """One a position, where they were asked for: icons of the positions' whole activation vectors."""
    prefix_tokens: list[PrefixToken] = field(default_factory=list, repr=False)
    """The tokens before the first position that were asked for."""
    smooth_max_pool: bool = False
    """Whether `effects` passed max pools by the gradient that `smooth_max_pool` asks for."""

    def at(self, row: int, column: int) -> list[Neuron]:
        """Return the strongest neurons of a position, strongest first.

        Raises:
            IndexError: the position was not asked for, or is not in the layer.
        """
        index = self._index_by_position.get((row, column))
        if index is None:
            height, width = self.layer.grid
            raise IndexError(f"({row}, {column}) is not among the positions; the layer has {height} x {width}")
        return self._neurons(self.channels[index], self.activations[index], self.effects[index])

    def at_prefix(self, name: str) -> list[Neuron]:
        """Return the strongest neurons of a prefix token, strongest first.

        Args:
            name: as `prefix_tokens` has it.

        Raises:
            KeyError: it was not asked for.
        """
        for token in self.prefix_tokens:
            if token.name == name:
                return self._neurons(token.channels, token.activations, token.effects)
        raise KeyError(name)

    def _neurons(
        self, channels: NDArray[np.int32], activations: NDArray[np.float32], effects: NDArray[np.float32]
    ) -> list[Neuron]:
        return [
            replace(
                self.neurons[channel],
                activation=activation,
                effects=dict(zip(self.classes, on_classes, strict=True)),
            )
            for channel, activation, on_classes in zip(
                channels.tolist(), activations.tolist(), effects.tolist(), strict=True
            )
        ]

    def icon_at(self, row: int, column: int) -> Pillow.Image | None:
        """Return the icon of a position's whole activation vector; None while it is not rendered.

        Raises:
            IndexError: it was not asked for.
        """
        index = self._index_by_position.get((row, column))
        if index is None or not self.position_icons:
            raise IndexError(f"there is no icon of ({row}, {column}); ask for it with position_icons=True")
        return self.position_icons[index].image

    @property
    def icons(self) -> list[Icon]:
        """Those of positions and prefix tokens, those of the neurons that tell most, then the others. Neurons come by
        how much of the map each explains: its summed activations, whatever their sign."""
        telling = self._telling_channels(_TELLING)
        others = set(self.neurons) - telling
        return [*self._vector_icons, *self._icons_of([*self._ranked(telling), *self._ranked(others)])]

    @property
    def telling_icons(self) -> list[Icon]:
        """Those of positions, and of the neurons where most is going on: at the strongest position of each region, then
        at other strong ones, until they are about 30."""
        return self.most_telling_icons(_TELLING)

    def most_telling_icons(self, neurons: int) -> list[Icon]:
        """Return `telling_icons` for about so many neurons."""
        telling = self._telling_channels(neurons)
        return [*self._vector_icons, *self._icons_of(self._ranked(telling))]

    @property
    def _vector_icons(self) -> list[Icon]:
        return [*self.position_icons, *(token.icon for token in self.prefix_tokens if token.icon)]

    def _icons_of(self, channels: Iterable[int]) -> list[Icon]:
        neurons = (self.neurons[channel] for channel in channels)
        return [icon for neuron in neurons for icon in (neuron.icon_file, neuron.negative_icon_file) if icon]

    def _ranked(self, channels: Iterable[int]) -> list[int]:
        return sorted(channels, key=lambda channel: (-self._total_by_channel[channel], channel))

    def _telling_channels(self, count: int) -> set[int]:
        padded = np.pad(self.magnitude, 1, constant_values=-np.inf)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max((2, 3))
        rows, columns = self.positions.T
        strength, is_peak = self.magnitude[rows, columns], (self.magnitude >= around)[rows, columns]
        telling: set[int] = set()
        for index in np.lexsort((-strength, ~is_peak)):
            if len(telling) >= count:
                break
            telling |= set(self.channels[index].tolist())
        return telling

    @cached_property
    def _total_by_channel(self) -> dict[int, float]:
        total = dict.fromkeys(self.neurons, 0.0)
        for channel, activation in zip(self.channels.flat, self.activations.flat, strict=True):
            total[int(channel)] += abs(float(activation))
        return total

    @cached_property
    def _index_by_position(self) -> dict[tuple[int, int], int]:
        return {(row, column): index for index, (row, column) in enumerate(self.positions.tolist())}
