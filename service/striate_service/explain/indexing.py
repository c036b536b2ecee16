"""Indexing natural examples: a stream of images goes through a model once, and what it shows of some layers is kept."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from striate_service.errors import InvalidArgument, storing
from striate_service.explain.images import Fit
from striate_service.explain.streams import ImageStreams, SkippedImage, Slice, StreamedImage
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.stores.examples import ExampleStore, LayerExamples, StoredExample
from striate_service.techniques import crops, naming
from striate_service.techniques.example_statistics import QUANTILES, LayerStatistics
from striate_service.techniques.tasks.examples import IndexResult, IndexTask

MAX_EXAMPLES = 16  # of a channel
_MAX_CLASSES = 10_000  # a mean peak of each is kept for each channel: 20 MB a layer of 512
_WEBP = {"quality": 80, "method": 2}  # at 96 pixels: about 2 KB, and quick, since most crops are replaced later


@dataclass(frozen=True)
class IndexPlan:
    """What is to be indexed."""

    model: ModelDescription
    layers: Sequence[LayerDescription]
    examples: int
    """How many to keep of each channel, at most `MAX_EXAMPLES`."""
    fit: Fit


@dataclass(frozen=True)
class IndexProgress:
    """How far an index is."""

    indexed: int
    """Images so far."""
    skipped: Sequence[SkippedImage] = ()
    """Since the progress before."""
    stored: Mapping[LayerDescription, LayerExamples] | None = None
    """At the end: what was found of each layer."""


class ExampleIndexing:
    def __init__(self, streams: ImageStreams, store: ExampleStore, threads: Executor) -> None:
        """Take what computes and what keeps.

        Args:
            threads: for statistics and crops.
        """
        self._streams = streams
        self._store = store
        self._threads = threads

    async def index(
        self, plan: IndexPlan, messages: AsyncIterator[Sequence[StreamedImage]], terms: Terms
    ) -> AsyncGenerator[IndexProgress, None]:
        """Run a stream's images through the network, and store what they showed once it has ended.

        Raises:
            RequestError: nothing is stored, or not of all layers where the disk does not take it.
        """
        loop = asyncio.get_running_loop()
        found = _Findings(plan)
        task = IndexTask(plan.model.name, (), 0, tuple(layer.path for layer in plan.layers))
        async with aclosing(self._streams.run(messages, task, plan.model, plan.fit, terms)) as results:
            async for result in results:
                for part in result.slices:
                    await loop.run_in_executor(self._threads, found.add, part)
                yield IndexProgress(found.indexed, result.skipped)
        if not found.indexed:
            raise InvalidArgument("images", "are none that could be read; nothing was indexed.")
        examples = await loop.run_in_executor(self._threads, found.examples)
        for layer, of_layer in examples.items():
            with storing(f"the index of {layer.path}"):
                await asyncio.to_thread(self._store.put, plan.model.version, layer.path, of_layer)
        yield IndexProgress(found.indexed, stored=examples)


class _Findings:
    """What the images so far have shown of the layers; its memory does not grow with their number."""

    def __init__(self, plan: IndexPlan) -> None:
        self._plan = plan
        self.indexed = 0
        """Images so far."""
        self._class_numbers: dict[str, int] = {}
        """In the order of appearance."""
        self._statistics = {layer.path: LayerStatistics(layer.channels) for layer in plan.layers}
        self._crops: dict[str, dict[tuple[int, int], bytes]] = {layer.path: {} for layer in plan.layers}
        """By layer, then by image and position, since channels share many: WebP files."""
        self._names: dict[int, str] = {}
        """What images are called that a crop is of, by their numbers in the stream."""

    def add(self, part: Slice[IndexResult]) -> None:
        """Take in more images; they come in the order of the stream."""
        labels = np.array([self._class_number(image.class_name) for image in part.images], np.int32)
        indices = {number: index for index, number in enumerate(part.numbers.tolist())}
        for layer in self._plan.layers:
            excitation = part.result.layers[layer.path]
            statistics = self._statistics[layer.path]
            statistics.add(
                part.numbers, labels, excitation.peaks, excitation.positions, excitation.bins, excitation.counts
            )
            wanted = {(image, position) for _, _, image, position in statistics.strongest(self._plan.examples)}
            known = self._crops[layer.path]
            self._crops[layer.path] = {
                key: known.get(key) or _crop(part.pixels[indices[key[0]]], key[1], layer.grid) for key in wanted
            }
        self._names |= {number: part.images[index].name for number, index in indices.items()}
        shown = {image for of_layer in self._crops.values() for image, _ in of_layer}
        self._names = {number: name for number, name in self._names.items() if number in shown}
        self.indexed += len(part.images)

    def examples(self) -> dict[LayerDescription, LayerExamples]:
        """Return what is to be stored of each layer."""
        return {layer: self._layer_examples(layer) for layer in self._plan.layers}

    def _layer_examples(self, layer: LayerDescription) -> LayerExamples:
        statistics, pictures = self._statistics[layer.path], self._crops[layer.path]
        classes = tuple(self._class_numbers)
        named_class, name_score = statistics.class_names(len(classes))
        return LayerExamples(
            images=self.indexed,
            created=datetime.now(timezone.utc),
            classes=classes,
            class_counts=statistics.class_counts(len(classes)),
            class_means=statistics.class_means(len(classes)),
            shares=QUANTILES,
            quantiles=statistics.quantiles(),
            named_class=np.where(name_score >= naming.LEAST_SHARE, named_class, -1).astype(np.int32),
            name_score=name_score,
            examples=[
                StoredExample(
                    channel,
                    float(statistics.values[channel, rank]),
                    classes[label] if (label := int(statistics.labels[channel, rank])) >= 0 else "",
                    self._names[image],
                    pictures[image, position],
                )
                for channel, rank, image, position in statistics.strongest(self._plan.examples)
            ],
        )

    def _class_number(self, name: str) -> int:
        """Return the number of a class, -1 where it is unknown."""
        if not name:
            return -1
        number = self._class_numbers.setdefault(name, len(self._class_numbers))
        if number >= _MAX_CLASSES:
            raise InvalidArgument("images", f"are of more than {_MAX_CLASSES} classes; label them more coarsely.")
        return number


def _crop(pixels: NDArray[np.uint8], position: int, grid: Sequence[int]) -> bytes:
    """Return the surroundings of a position as a WebP file; see `crops.crop`."""
    buffer = io.BytesIO()
    Pillow.fromarray(crops.crop(pixels, position, grid)).save(buffer, "WEBP", **_WEBP)
    return buffer.getvalue()
