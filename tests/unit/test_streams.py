"""A stream of images goes through the network in slices that one forward takes, and keeps its order and its names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from striate_service.config import Settings
from striate_service.explain.images import Fit, GivenImage
from striate_service.explain.streams import ImageStreams, MessageResult, StreamedImage
from striate_service.models.description import ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.techniques.tasks.activations import ActivationsTask

SIDE = 4


class FakeEngine:
    """Admits everything and returns each slice's first pixel of every image."""

    worker_count = 1

    def __init__(self, batch_limit: int) -> None:
        self._batch_limit = batch_limit
        layer = SimpleNamespace(shape=(1024, 64, 64), channels=1024)  # 16 MiB an image in float32
        self.catalogue = SimpleNamespace(model=lambda name: SimpleNamespace(name=name, layer_by_name={"layer": layer}))
        self.admitted: list[int] = []

    def batch_limit(self, model: str) -> int:
        return self._batch_limit

    @asynccontextmanager
    async def admission(self, task: Any, images: int, *, preprocessed: bool, terms: Terms) -> AsyncIterator[Any]:
        self.admitted.append(images)

        async def run(pixels: np.ndarray) -> list[int]:
            return [int(each[0, 0, 0]) for each in pixels]

        yield SimpleNamespace(run=run)


class FakeDecoder:
    async def pixels_or_reason(self, image: GivenImage, model: ModelDescription, fit: Fit) -> np.ndarray | str:
        return np.asarray(image.source)


def image(number: int, name: str = "") -> StreamedImage:
    return StreamedImage(GivenImage(np.full((SIDE, SIDE, 3), number, np.uint8), "image"), name)


async def run(
    engine: FakeEngine, messages: Sequence[Sequence[StreamedImage]], **changes: int
) -> list[MessageResult[Any]]:
    async def sent() -> AsyncIterator[Sequence[StreamedImage]]:
        for message in messages:
            yield message

    streams = ImageStreams(engine, FakeDecoder(), RequestMemory(2**30), Settings(**changes))  # type: ignore[arg-type]
    task = ActivationsTask("model", (), 0, ("layer",), half=True)
    results = streams.run(sent(), task, SimpleNamespace(name="model"), Fit.CROP, Terms())  # type: ignore[arg-type]
    return [each async for each in results]


async def test_a_message_goes_in_slices_of_the_batch_limit_and_in_order() -> None:
    engine = FakeEngine(batch_limit=4)
    first, second = await run(engine, [[image(number) for number in range(10)], [image(10), image(11)]])
    assert sorted(engine.admitted) == [2, 2, 4, 4]
    assert [part.result for part in first.slices] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [part.numbers.tolist() for part in second.slices] == [[10, 11]]


@pytest.mark.parametrize("limit", [{"max_message_bytes": 2**24}, {"max_task_bytes": 2**26}])
async def test_a_slice_is_no_larger_than_one_task_may_be(limit: dict[str, int]) -> None:
    engine = FakeEngine(batch_limit=16)
    await run(engine, [[image(number) for number in range(6)]], **limit)
    assert engine.admitted == [2, 2, 2]


async def test_what_cannot_be_read_is_told_by_its_name_or_number_and_costs_nothing_else() -> None:
    engine = FakeEngine(batch_limit=4)
    bad, named = StreamedImage("is damaged"), StreamedImage("is empty", "a.png")
    (first, second) = await run(engine, [[image(0), bad], [named, image(3)]])
    assert [(each.name, each.reason) for each in first.skipped] == [("1", "is damaged")]
    assert [(each.name, each.reason) for each in second.skipped] == [("a.png", "is empty")]
    assert [part.numbers.tolist() for result in (first, second) for part in result.slices] == [[0], [3]]


async def test_a_message_of_which_nothing_can_be_read_runs_nothing() -> None:
    (only,) = await run(FakeEngine(batch_limit=4), [[StreamedImage("is damaged")]])
    assert not only.slices
    assert len(only.skipped) == 1
