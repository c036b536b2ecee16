"""The batch limit is the knee of what was measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from striate_service.backends.local.tuning import BatchLimit, BatchLimits, _key, find_batch_limit


def limit(seconds: Callable[[int], float | None]) -> tuple[BatchLimit, list[int]]:
    """Return the limit for a device that takes so long for so many images, and the sizes that it was asked to run."""
    sizes: list[int] = []

    async def run(images: int) -> float | None:
        sizes.append(images)
        return seconds(images)

    return asyncio.run(find_batch_limit(run)), sizes


def test_a_device_that_fills_up_gets_the_batch_that_fills_it() -> None:
    found, sizes = limit(lambda images: 0.0001 * max(images, 32))
    assert found.images == 32
    assert found.images_per_second == pytest.approx(10_000)
    assert max(sizes) == 128


def test_a_device_that_gains_nothing_is_found_out_early_and_keeps_callers_waiting_for_few_others() -> None:
    found, sizes = limit(lambda images: 0.016 * images)
    assert found.images == 8
    assert max(sizes) == 8


def test_a_device_that_gains_nothing_and_is_slow_keeps_callers_waiting_for_fewer() -> None:
    assert limit(lambda images: 0.05 * images)[0].images == 4


def test_a_slow_network_makes_no_caller_wait_for_a_large_batch() -> None:
    found, _ = limit(lambda images: 0.1 + 0.05 * images)
    assert found.images == 2


def test_a_single_image_that_takes_long_is_still_taken() -> None:
    assert limit(lambda images: 3.0 * images)[0].images == 1


def test_what_does_not_fit_is_not_taken() -> None:
    found, _ = limit(lambda images: 0.001 if images <= 16 else None)
    assert found.images == 16


def test_where_nothing_fits_one_image_at_a_time_is_tried() -> None:
    assert limit(lambda images: None)[0].images == 1


def test_one_odd_measurement_does_not_end_the_search() -> None:
    seconds = iter([1.0, 1.0, 1.0, 1.0])  # the second size, all four runs
    found, _ = limit(lambda images: 0.01 + 0.001 * images + (next(seconds, 0.0) * 0.02 if images == 2 else 0.0))
    assert found.images >= 32


@pytest.mark.parametrize(("number", "known"), [(0, True), (1, True), (99, False)])
def test_a_limit_that_a_later_version_stored_is_not_used(tmp_path: Path, number: int, known: bool) -> None:
    model = SimpleNamespace(name="net", version="ab" * 32, input_shape=(3, 8, 8))
    worker: Any = SimpleNamespace(hardware="a CPU", models={"net": model}, engines={"net": "torch"})
    limits = BatchLimits(None, tmp_path)
    limits._file(_key(worker, worker.models["net"])).write_text(
        json.dumps({"images": 3, "images_per_second": 1.0} | ({"format": number} if number else {}))
    )
    limits.recall(worker)
    assert (limits.get(worker, "net") == BatchLimit(3, 1.0)) is known
