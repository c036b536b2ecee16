"""Semantic dictionaries: what each position of a layer means, in icons, names and effects of its strongest neurons."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from striate_service.explain.icons import NO_ICON, Icon, IconFinder, IconOptions
from striate_service.explain.image_runner import ImageRunner
from striate_service.explain.images import GivenImages, View
from striate_service.explain.labels import Label
from striate_service.explain.names import Namer
from striate_service.explain.target_names import class_names
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.stores.examples import ExampleStore, StoredExample
from striate_service.techniques.objective import Channel, Direction, Objective
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.base import Array
from striate_service.techniques.tasks.dictionary import DictionaryResult, DictionaryTask


@dataclass(frozen=True)
class DictionaryQuestion:
    model: ModelDescription
    image: GivenImages
    """One."""
    layer: LayerDescription
    neurons: int
    """K: how many of each position."""
    by_magnitude: bool
    """The strongest neurons are those farthest from 0. False: the most active."""
    positions: NDArray[np.int32]
    """[P, 2]: row and column."""
    prefix_tokens: tuple[int, ...]
    """The tokens before the first position that are explained too."""
    targets: tuple[Target, ...]
    """Explain these. Empty: the logits of the most probable classes."""
    class_count: int
    """How many of the most probable classes to predict and, where `targets` is empty, to explain."""
    attribution: Literal["gradient", "path", "none"]
    steps: int
    """On the path."""
    smooth_max_pool: bool
    """Let gradients pass max pools as `techniques.max_pooling` says."""
    examples: int
    """How many natural examples of each neuron."""
    position_icons: bool
    """Whether to show what each position's whole activation vector looks for."""
    icons: IconOptions


@dataclass(frozen=True)
class Word:
    """One neuron of the dictionary."""

    channel: int
    label: Label
    icon: Icon
    """Of its positive direction; NO_ICON where it is mentioned for negative activations only."""
    negative_icon: Icon | None
    """Of its negative direction, where it is mentioned for a negative activation."""
    examples: Sequence[StoredExample]
    """Strongest first."""


@dataclass(frozen=True)
class Dictionary:
    """P positions, and after them prefix tokens, with K neurons each, and their effects on M targets."""

    result: DictionaryResult
    """Of all positions."""
    view: View
    channels: Array
    """int32 [P, K], strongest first."""
    activations: Array
    """[P, K]"""
    effects: Array
    """[P, K, M]; M is 0 where nothing is explained."""
    words: Sequence[Word]
    """Of all channels that `channels` holds, in ascending order."""
    position_icons: Sequence[Icon]
    """[P], or none where they were not asked for."""


class SemanticDictionaries:
    def __init__(self, runner: ImageRunner, icons: IconFinder, namer: Namer, examples: ExampleStore) -> None:
        self._runner = runner
        self._icons = icons
        self._namer = namer
        self._examples = examples

    async def answer(self, question: DictionaryQuestion, terms: Terms) -> Dictionary:
        model, layer = question.model, question.layer
        decoded, result = await self._runner.run(_task(question), model, question.image, terms)
        places = _places(question)
        channels = result.channels[places]
        effects = np.zeros((*channels.shape, 0), np.float32)
        if result.effects is not None:
            effects = result.effects[places].astype(np.float32, copy=False)
        activations = result.activations[places]
        mentioned = np.unique(channels).tolist()
        excited, silenced = (
            _by_share(channels[chosen], activations[chosen]) for chosen in (activations >= 0, activations < 0)
        )
        by_channel = _effects_by_channel(channels, effects, layer.channels)
        labels = await self._namer.neurons(model, layer.path, by_channel, class_names(model, result.targets))
        objectives: list[Objective] = [
            *_directions(result.vectors),
            *map(Channel, excited),
            *(_away_from(channel, layer.channels) for channel in silenced),
        ]
        icons = iter(await self._icons.icons(model, layer.path, objectives, question.icons, terms))
        of_positions = _position_icons(result.vectors, icons)
        positive = {channel: next(icons) for channel in excited}
        negative = {channel: next(icons) for channel in silenced}
        examples = await self._examples_of(model, layer, mentioned, question.examples)
        return Dictionary(
            result=result,
            view=decoded.views[0],
            channels=channels,
            activations=activations,
            effects=effects,
            words=[
                Word(
                    channel,
                    labels[channel],
                    positive.get(channel, NO_ICON),
                    negative.get(channel),
                    examples.get(channel, ()),
                )
                for channel in mentioned
            ],
            position_icons=of_positions,
        )

    async def _examples_of(
        self, model: ModelDescription, layer: LayerDescription, channels: Sequence[int], most: int
    ) -> dict[int, Sequence[StoredExample]]:
        """Return at most so many natural examples of each channel; none where the layer has not been indexed."""
        indexed = await asyncio.to_thread(self._examples.get, model.version, layer.path) if most else None
        return {channel: indexed.of_channel(channel)[:most] for channel in channels} if indexed else {}


def _task(question: DictionaryQuestion) -> DictionaryTask:
    return DictionaryTask(
        model=question.model.name,
        targets=question.targets,
        class_count=question.class_count,
        layer=question.layer.path,
        neurons=question.neurons,
        attribution=question.attribution,
        steps=question.steps,
        prefix=bool(question.prefix_tokens),
        vectors=tuple(_places(question).tolist()) if question.position_icons else (),
        by_magnitude=question.by_magnitude,
        smooth_max_pool=question.smooth_max_pool,
    )


def _places(question: DictionaryQuestion) -> NDArray[np.int32]:
    """Return which of `DictionaryResult`'s positions and prefix tokens are asked for."""
    rows, columns = question.positions.T
    prefix = question.layer.positions + np.array(question.prefix_tokens, np.int32)
    return np.concatenate([rows * question.layer.grid[1] + columns, prefix]).astype(np.int32)


def _effects_by_channel(channels: Array, effects: Array, count: int) -> dict[int, NDArray[np.float32]]:
    """Return the effects [M] of each channel that is mentioned, summed over positions.

    Args:
        channels: [P, K], below `count`.
        effects: [P, K, M].
    """
    total = np.zeros((count, effects.shape[2]), np.float32)
    np.add.at(total, channels, effects)
    return {channel: total[channel] for channel in np.unique(channels).tolist()}


def _by_share(channels: Array, activations: Array) -> list[int]:
    """Return the channels that are mentioned, those first that explain most: by the size of their summed activations.

    Args:
        channels: of any shape.
        activations: of the same.
    """
    mentioned, place = np.unique(channels, return_inverse=True)
    total = np.bincount(place.ravel(), weights=np.abs(activations).ravel(), minlength=len(mentioned))
    ranked: list[int] = mentioned[np.argsort(-total, kind="stable")].tolist()
    return ranked


def _away_from(channel: int, channels: int) -> Direction:
    """Return a channel's negative direction. `-Channel(channel)` would have its score, but not the direction's cosine,
    by which an icon shows this one channel and not those that go with it.
    """
    components = np.zeros(channels)
    components[channel] = -1
    return Direction(tuple(components.tolist()))


def _directions(vectors: Array | None) -> list[Direction]:
    """Return the directions of activation vectors [P, C], but for those that are 0."""
    if vectors is None:
        return []
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # To 3 decimals, so that the same image finds its icons again: the 6th depends on whether torch or ONNX Runtime
    # computes it, and in what batch.
    unit = np.round(vectors / np.where(lengths > 0, lengths, 1), 3)
    return [Direction(tuple(each)) for each in unit.tolist() if any(each)]


def _position_icons(vectors: Array | None, icons: Iterator[Icon]) -> list[Icon]:
    """Return an icon for each of the activation vectors [P, C], from those of `_directions`."""
    return [next(icons) if vector.any() else NO_ICON for vector in (() if vectors is None else vectors)]
