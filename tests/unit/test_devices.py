"""Everything of a batch is on its device: the executor's whole path, with torch's meta device in a GPU's place.

That device computes shapes only, and refuses what mixes it with the CPU, as a GPU does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import executor_of
from striate_service.config import EMBEDDED
from striate_service.models.embedded.pictures import draw
from striate_service.models.loading import load_model
from striate_service.techniques.outcomes import Failure
from striate_service.techniques.targets import Output
from striate_service.techniques.tasks.activations import ActivationsTask
from striate_service.techniques.tasks.base import Work
from striate_service.techniques.tasks.dictionary import DictionaryTask
from striate_service.techniques.tasks.examples import IndexTask
from striate_service.techniques.tasks.groups import FactorizeLayersTask, FactorizeTask
from striate_service.techniques.tasks.observing import ObserveTask, WatchedGroups
from torch import Tensor

DIRECTIONS = np.eye(3, 160, dtype=np.float32)
CHOSEN = (Output(2), Output(7))
PICTURES = np.stack([draw(seed, "dog").image for seed in range(5)])
WORKS = {
    "activations": Work(ActivationsTask("parts", (), 3, ("mixed4d",)), PICTURES[:1]),
    "factorize": Work(FactorizeTask("parts", (), 4, "mixed4d", 5, False), PICTURES),
    "dictionary": Work(DictionaryTask("parts", (), 4, "mixed4d", 6, "path", 8, vectors=(1,)), PICTURES[1:2]),
    "dictionary of chosen classes": Work(
        DictionaryTask("parts", (Output(2), Output(7)), 0, "mixed4a", 6), PICTURES[2:3]
    ),
    "examples": Work(IndexTask("parts", (), 0, ("mixed4a", "mixed4d")), PICTURES[3:]),
    "observing": Work(
        ObserveTask("parts", (), 1, ("mixed4a",), (WatchedGroups("mixed4d", DIRECTIONS, "pca", False),)), PICTURES[:2]
    ),
    "flows": Work(FactorizeLayersTask("parts", (), 2, ("mixed4a", "mixed4d"), 3, False), PICTURES[:2]),
}


@pytest.fixture
def copied_as_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied from the meta device to the CPU is noise: it has shapes and no values."""
    copy = Tensor.cpu

    def noise(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return copy(tensor)
        generator = torch.Generator().manual_seed(0)
        if tensor.is_floating_point():
            return torch.rand(tensor.shape, generator=generator).to(tensor.dtype)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(Tensor, "cpu", noise)
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__"):  # which copy, too
        monkeypatch.setattr(Tensor, name, _of_the_copy(getattr(Tensor, name)))
    # What these return has a shape that depends on values, so that device cannot tell it.
    count, nonzero = torch.bincount, Tensor.nonzero
    monkeypatch.setattr(torch, "bincount", lambda bins, **sizes: count(bins.cpu(), **sizes).to(bins.device))
    monkeypatch.setattr(Tensor, "nonzero", lambda tensor: nonzero(tensor.cpu()).to(tensor.device))
    monkeypatch.setattr(torch, "allclose", lambda ours, theirs, **_: bool((ours == theirs).any()))


def _of_the_copy(method: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    return lambda tensor: method(tensor.cpu())


@pytest.mark.usefixtures("copied_as_noise")
@pytest.mark.parametrize("images_at_once", [64, 2])
@pytest.mark.parametrize("works", [list(WORKS), *([name] for name in WORKS)], ids=lambda names: " and ".join(names))
def test_nothing_of_a_batch_is_left_on_the_cpu(works: Sequence[str], images_at_once: int) -> None:
    executor = executor_of(load_model(EMBEDDED, "meta"), device="meta")
    outcomes = executor.run([WORKS[name] for name in works], images_at_once=images_at_once)
    assert [outcome for outcome in outcomes if isinstance(outcome, Failure)] == []
