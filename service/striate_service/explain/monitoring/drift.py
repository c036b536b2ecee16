"""GetDrift: what a network sees more or less of than in the reference, with names and pictures of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from striate_service.errors import FailedPrecondition, NotFound
from striate_service.explain.bases import Library
from striate_service.explain.icons import IconFinder, IconOptions, RecipeChoice
from striate_service.explain.labels import NO_LABEL
from striate_service.explain.monitoring.comparison import (
    BasisDrift,
    ChannelDrift,
    ClassDrift,
    Comparison,
    ConceptDrift,
    Drift,
    GroupDrift,
    LayerDrift,
)
from striate_service.explain.monitoring.monitors import Monitors
from striate_service.explain.monitoring.watched import Watched, watched
from striate_service.explain.names import Namer
from striate_service.scheduling.engine import Engine, Terms
from striate_service.stores.monitors import MonitorStore, Observations, StoredMonitor
from striate_service.techniques import drift
from striate_service.techniques.objective import Channel, Direction

_CACHED_REFERENCES = 8  # with what was resampled from them
_PRESENT = 200  # the code of a class that is predicted; 0: it is not


@dataclass(frozen=True)
class DriftQuestion:
    monitor: str
    items: int = 20
    """How many channels and groups."""
    pictures: int = 3
    """How many of each."""
    slice: str = ""
    """Only of this slice. Empty: of all."""
    omit_icons: bool = False


@dataclass(frozen=True)
class SliceSummary:
    slice: str
    images: int
    outcomes: int
    accuracy: float


@dataclass(frozen=True)
class DriftAnswer:
    monitor: StoredMonitor
    watched: Watched
    images: int
    reference_images: int
    enough: bool
    significant: bool
    layers: Sequence[LayerDrift]
    bases: Sequence[BasisDrift]
    channels: Sequence[ChannelDrift]
    groups: Sequence[GroupDrift]
    classes: Sequence[ClassDrift]
    confidence: Drift | None
    slices: Sequence[SliceSummary]
    concepts: Sequence[ConceptDrift] = ()


class DriftReports:
    def __init__(
        self,
        engine: Engine,
        monitors: Monitors,
        library: Library,
        store: MonitorStore,
        namer: Namer,
        icons: IconFinder,
        recipes: RecipeChoice,
        threads: Executor,
    ) -> None:
        """Take what knows monitors, names and icons.

        Args:
            threads: for statistics.
        """
        self._engine = engine
        self._monitors = monitors
        self._library = library
        self._store = store
        self._namer = namer
        self._icons = icons
        self._recipes = recipes
        self._threads = threads
        self._references: dict[tuple[str, int, bytes], drift.Reference] = {}

    async def report(self, question: DriftQuestion, terms: Terms) -> DriftAnswer:
        """Compare the newest images of traffic with the reference, and add names and icons.

        Args:
            terms: of the call.

        Raises:
            As `compare`.
        """
        monitor = await self._monitors.find(question.monitor)
        seen = await watched(monitor, self._engine.models, self._library)
        names = {}
        for layer in seen.layers:
            labels = await self._namer.named(seen.model, layer.path, range(layer.channels))
            names[layer.path] = {channel: label.text for channel, label in labels.items() if label.text}
        return await self._described(await self.compare(question, names), question, terms)

    async def compare(
        self, question: DriftQuestion, names: Mapping[str, Mapping[int, str]] | None = None
    ) -> DriftAnswer:
        """Compare the newest images of traffic with the reference, without labels and icons.

        Args:
            names: of channels, by layer: those of one name are a concept.

        Raises:
            NotFound: there is no such monitor or slice.
            FailedPrecondition: the reference, or traffic, has no image yet.
        """
        monitor = await self._monitors.find(question.monitor)
        seen = await watched(monitor, self._engine.models, self._library)
        if question.slice and question.slice not in monitor.slices:
            listing = f"there are {', '.join(monitor.slices)}" if monitor.slices else "images have none"
            raise NotFound.among("slice", question.slice, monitor.slices, listing)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._compared, monitor, seen, question, names or {})

    def _compared(
        self, monitor: StoredMonitor, seen: Watched, question: DriftQuestion, names: Mapping[str, Mapping[int, str]]
    ) -> DriftAnswer:
        before = self._store.observations(monitor.name, reference=True)
        now = self._store.observations(monitor.name, reference=False)
        if question.slice:
            now = _chosen(now, np.equal(now.slices, question.slice))
        for found, what, advice in (
            (before, "the reference", "send its images first"),
            (now, "traffic", "observe some"),
        ):
            if not len(found.codes):
                raise FailedPrecondition(f"the monitor {monitor.name!r}", f"has no image of {what} yet; {advice}.")
        classes = np.unique(np.concatenate([before.predicted, now.predicted])) if seen.model.classes else np.array([])
        reference = self._reference(monitor, before, classes)
        comparison = Comparison(reference, _with_classes(now, classes), seen, now, classes.astype(int).tolist())
        channels = comparison.channels(question.items)
        groups = comparison.groups(question.items)
        concepts = comparison.concepts(names, question.items)
        if question.pictures and not monitor.omit_pictures:
            columns = [comparison.column_of(each) for each in channels]
            columns += [comparison.column_of(each) for each in groups]
            columns += [comparison.column_of(each.most_drifted) for each in concepts]
            pairs = iter(_pictures(self._store, before, now, columns, question.pictures))
            channels = [
                replace(each, reference_pictures=old, window_pictures=new)
                for each, (old, new) in zip(channels, islice(pairs, len(channels)), strict=True)
            ]
            groups = [
                replace(each, reference_pictures=old, window_pictures=new)
                for each, (old, new) in zip(groups, islice(pairs, len(groups)), strict=True)
            ]
            concepts = [
                replace(
                    each,
                    most_drifted=replace(each.most_drifted, reference_pictures=old, window_pictures=new),
                )
                for each, (old, new) in zip(concepts, pairs, strict=True)
            ]
        return DriftAnswer(
            monitor=monitor,
            watched=seen,
            images=len(now.codes),
            reference_images=len(before.codes),
            enough=comparison.found.enough,
            significant=bool(comparison.found.significant.any()),
            layers=comparison.layers(),
            bases=comparison.bases(),
            channels=channels,
            groups=groups,
            classes=comparison.classes(question.items),
            confidence=None if seen.confidence is None else comparison.drift(seen.confidence),
            slices=_summaries(now),
            concepts=concepts,
        )

    def _reference(
        self, monitor: StoredMonitor, observations: Observations, classes: NDArray[np.integer]
    ) -> drift.Reference:
        """Return the reference; the one before, with what was resampled from it, where it is still the same."""
        key = (monitor.name, hash(observations.ids.tobytes()), classes.tobytes())
        found = self._references.pop(key, None) or drift.Reference(_with_classes(observations, classes))
        self._references[key] = found
        while len(self._references) > _CACHED_REFERENCES:
            self._references.pop(next(iter(self._references)))
        return found

    async def _described(self, answer: DriftAnswer, question: DriftQuestion, terms: Terms) -> DriftAnswer:
        """Add names and icons."""
        model = answer.watched.model
        options = IconOptions(self._recipes.choose("", model), omit=question.omit_icons, wait=False)
        concepts = answer.concepts
        channels = [*answer.channels, *(each.most_drifted for each in concepts)]
        for path in answer.watched.peaks:
            places = [place for place, each in enumerate(channels) if each.layer == path]
            numbers = [channels[place].channel for place in places]
            labels = await self._namer.named(model, path, numbers)
            icons = await self._icons.icons(model, path, [Channel(number) for number in numbers], options, terms)
            for place, number, icon in zip(places, numbers, icons, strict=True):
                channels[place] = replace(channels[place], label=labels.get(number, NO_LABEL), icon=icon)
        groups = list(answer.groups)
        for basis in answer.watched.bases:
            places = [place for place, each in enumerate(groups) if each.basis == basis.name]
            directions = basis.directions[[groups[place].group for place in places]]
            named = await self._namer.groups(model, basis.layer, directions, directions[:, :0], [])
            shown = [Direction(tuple(direction.tolist())) for direction in directions]
            icons = await self._icons.icons(model, basis.layer, shown, options, terms)
            for place, label, icon in zip(places, named, icons, strict=True):
                groups[place] = replace(groups[place], label=label, icon=icon)
        shown_channels, of_concepts = channels[: len(answer.channels)], channels[len(answer.channels) :]
        concepts = [replace(each, most_drifted=most) for each, most in zip(concepts, of_concepts, strict=True)]
        return replace(answer, channels=shown_channels, groups=groups, concepts=concepts)


def _pictures(
    store: MonitorStore, before: Observations, now: Observations, columns: Sequence[int], count: int
) -> list[tuple[list[bytes], list[bytes]]]:
    """Return for each column pictures of the reference and of traffic: those where it is largest."""
    wanted = [tuple(_largest(each, column, count) for each in (before, now)) for column in columns]
    pictures = store.pictures(sorted({row for pair in wanted for rows in pair for row in rows}))
    shown = [[[pictures[row] for row in rows if row in pictures] for rows in pair] for pair in wanted]
    return [(old, new) for old, new in shown]


def _largest(observations: Observations, column: int, count: int) -> list[int]:
    """Return the rows of the images in which a number is largest."""
    order = np.argsort(-observations.codes[:, column].astype(int), kind="stable")[:count]
    return [int(row) for row in observations.ids[order]]


def _with_classes(observations: Observations, classes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the numbers of images, and for each class whether it is predicted: [N, F + classes]."""
    predicted = (observations.predicted[:, None] == classes[None]).astype(np.uint8) * np.uint8(_PRESENT)
    return np.concatenate([observations.codes, predicted.reshape(len(observations.codes), -1)], axis=1)


def _chosen(observations: Observations, chosen: NDArray[np.bool_]) -> Observations:
    return Observations(
        observations.ids[chosen],
        observations.codes[chosen],
        observations.predicted[chosen],
        observations.outcomes[chosen],
        observations.slices[chosen],
    )


def _summaries(window: Observations) -> list[SliceSummary]:
    found = []
    for name in np.unique(window.slices).tolist():
        chosen: NDArray[np.bool_] = np.equal(window.slices, name)
        found.append(SliceSummary(name, int(chosen.sum()), *window.accuracy(chosen)))
    return found
