"""IndexExamples: a stream of images is run through a model once, and what it shows of some layers is kept."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from striate.v1 import common_pb2 as pb
from striate.v1 import examples_pb2 as messages

from striate_service.backends.local.shared_memory import Arrays
from striate_service.errors import InvalidArgument
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.servicers import encoding, validation
from striate_service.servicers.decoding import ImageDecoder
from striate_service.servicers.streams import in_order
from striate_service.stores.examples import ExampleStore, LayerExamples, StoredExample
from striate_service.techniques import crops, naming
from striate_service.techniques.example_statistics import QUANTILES, LayerStatistics
from striate_service.techniques.tasks import IndexTask

MAX_EXAMPLES = 16  # of a channel
_USUAL_EXAMPLES = 5
_MAX_CLASSES = 10_000  # a mean peak of each is kept for each channel: 20 MB a layer of 512
_BATCHES_PER_WORKER = 2  # that are worked on at a time: one computes while the next is decoded
_WEBP = {"quality": 80, "method": 2}  # at 96 pixels: about 2 KB, and quick, since most crops are replaced later


@dataclass(frozen=True)
class _Batch:
    """Images that have been through the network."""

    images: NDArray[np.int64]
    """[N]: their numbers in the stream."""
    pixels: NDArray[np.uint8]
    """[N, H, W, 3]"""
    arrays: Arrays
    given: Sequence[messages.LabelledImage]
    skipped: Sequence[messages.SkippedImage]


class Indexing:
    def __init__(self, engine: Engine, decoder: ImageDecoder, store: ExampleStore, threads: Executor) -> None:
        self._engine = engine
        self._decoder = decoder
        self._store = store
        self._threads = threads

    async def index(
        self, requests: AsyncIterator[messages.IndexExamplesRequest], terms: Terms
    ) -> AsyncGenerator[messages.IndexExamplesResponse, None]:
        """Take in a stream, saying how far it is, and store what it showed once it has ended."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "start":
            raise InvalidArgument("start", "is missing; the first message says which model and layers to index.")
        model = validation.find_model(self._engine.models, first.start.model)
        layers = validation.find_layers(model, first.start.layers)
        wanted = first.start.examples if first.start.HasField("examples") else _USUAL_EXAMPLES
        index = _Index(model, layers, validation.in_range(wanted, "examples", 1, MAX_EXAMPLES))
        loop = asyncio.get_running_loop()
        async with aclosing(self._seen(requests, index, first.start.fit, terms)) as batches:
            async for batch in batches:
                await loop.run_in_executor(self._threads, index.add, batch)
                yield messages.IndexExamplesResponse(indexed=index.indexed, skipped=batch.skipped)
        if not index.indexed:
            raise InvalidArgument("images", "are none that could be read; nothing was indexed.")
        found = await loop.run_in_executor(self._threads, index.finish)
        for layer, examples in found.items():
            await asyncio.to_thread(self._store.put, model.version, layer.path, examples)
        yield messages.IndexExamplesResponse(
            indexed=index.indexed,
            layers=[
                messages.IndexedLayer(layer=encoding.layer(layer), named_channels=examples.named_channels)
                for layer, examples in found.items()
            ],
        )

    def _seen(
        self, requests: AsyncIterator[messages.IndexExamplesRequest], index: _Index, fit: pb.Fit, terms: Terms
    ) -> AsyncGenerator[_Batch, None]:
        """Run images through the network, a few batches at a time, and yield them in the order in which they came."""
        number = 0

        async def see(request: messages.IndexExamplesRequest) -> _Batch:
            nonlocal number
            given, first = self._checked(request), number
            number += len(given)
            return await self._see(given, first, index, fit, terms)

        return in_order(requests, see, _BATCHES_PER_WORKER * self._engine.worker_count)

    def _checked(self, request: messages.IndexExamplesRequest) -> Sequence[messages.LabelledImage]:
        if request.WhichOneof("part") != "images":
            raise InvalidArgument("images", "are missing; every message but the first one brings some.")
        self._decoder.check_count(len(request.images.images), "images")
        for number, each in enumerate(request.images.images):
            validation.text(each.class_name, f"images[{number}].class_name")
            validation.text(each.name, f"images[{number}].name")
            if each.image.WhichOneof("source") == "preprocessed":
                raise InvalidArgument(f"images[{number}].image", "is preprocessed and cannot be shown; send a file.")
        return request.images.images

    async def _see(
        self, given: Sequence[messages.LabelledImage], number: int, index: _Index, fit: pb.Fit, terms: Terms
    ) -> _Batch:
        """Run one message's images through the network, but for those that cannot be read."""
        model = index.model
        async with self._engine.admission(
            IndexTask.__name__, model.name, len(given), preprocessed=False, terms=terms
        ) as place:
            decoded = await asyncio.gather(*(self._decoder.pixels_or_reason(each.image, model, fit) for each in given))
            good = [position for position, pixels in enumerate(decoded) if not isinstance(pixels, str)]
            skipped = [
                messages.SkippedImage(name=each.name or str(number + position), reason=reason)
                for position, (each, reason) in enumerate(zip(given, decoded, strict=True))
                if isinstance(reason, str)
            ]
            side = model.preprocessing.crop
            pixels = np.stack([decoded[i] for i in good]) if good else np.empty((0, side, side, 3), np.uint8)
            arrays = await place.run(index.task, {"images": pixels}) if good else {}
        return _Batch(number + np.array(good, np.int64), pixels, arrays, [given[i] for i in good], skipped)


@dataclass
class _Index:
    """What a stream has shown so far. Grows with channels and classes, not with images."""

    model: ModelDescription
    layers: Sequence[LayerDescription]
    kept: int
    """Examples of a channel."""
    indexed: int = 0
    _classes: dict[str, int] = field(default_factory=dict)
    """Their numbers, in order of appearance."""
    _names: dict[int, str] = field(default_factory=dict)
    """What images are called that an example is of."""

    def __post_init__(self) -> None:
        self._statistics = {layer.path: LayerStatistics(layer.channels) for layer in self.layers}
        self._crops: dict[str, dict[tuple[int, int], bytes]] = {layer.path: {} for layer in self.layers}
        """By layer, then by image and position: channels share many."""

    @property
    def task(self) -> IndexTask:
        return IndexTask(self.model.name, (), 0, tuple(layer.path for layer in self.layers))

    def add(self, batch: _Batch) -> None:
        """Take in a batch; they come in order."""
        if not len(batch.images):
            return
        labels = np.array([self._class(each.class_name) for each in batch.given], np.int32)
        by_number = dict(zip(batch.images.tolist(), range(len(batch.images)), strict=True))
        for layer in self.layers:
            found = (batch.arrays[f"{layer.path} {name}"] for name in ("peaks", "positions", "bins", "counts"))
            statistics = self._statistics[layer.path]
            statistics.add(batch.images, labels, *found)
            wanted = {(image, position) for _, _, image, position in statistics.strongest(self.kept)}
            known = self._crops[layer.path]
            self._crops[layer.path] = {
                key: known.get(key) or _cut(batch.pixels[by_number[key[0]]], key[1], layer.shape) for key in wanted
            }
        self._names |= {number: each.name for number, each in zip(by_number, batch.given, strict=True)}
        shown = {image for kept in self._crops.values() for image, _ in kept}
        self._names = {number: name for number, name in self._names.items() if number in shown}
        self.indexed += len(batch.images)

    def finish(self) -> dict[LayerDescription, LayerExamples]:
        return {layer: self._examples(layer) for layer in self.layers}

    def _examples(self, layer: LayerDescription) -> LayerExamples:
        statistics, pictures = self._statistics[layer.path], self._crops[layer.path]
        classes = tuple(self._classes)
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
                for channel, rank, image, position in statistics.strongest(self.kept)
            ],
        )

    def _class(self, name: str) -> int:
        if not name:
            return -1
        number = self._classes.setdefault(name, len(self._classes))
        if number >= _MAX_CLASSES:
            raise InvalidArgument("images", f"are of more than {_MAX_CLASSES} classes; label them more coarsely.")
        return number


def _cut(pixels: NDArray[np.uint8], position: int, shape: Sequence[int]) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(crops.crop(pixels, position, shape)).save(buffer, "WEBP", **_WEBP)
    return buffer.getvalue()
