"""What a task says that it costs is what it takes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from conftest import executor_of
from striate_service.config import EMBEDDED
from striate_service.device.executor import Executor
from striate_service.models.description import ModelDescription
from striate_service.models.embedded.pictures import draw
from striate_service.models.loading import LoadedModel, load_model
from striate_service.techniques.costs import most_iterations
from striate_service.techniques.factorization import factorize
from striate_service.techniques.tasks.activations import ActivationsTask
from striate_service.techniques.tasks.base import ImageTask, Predictions, Work
from striate_service.techniques.tasks.dictionary import DictionaryTask
from striate_service.techniques.tasks.examples import IndexTask
from striate_service.techniques.tasks.groups import FactorizeActivationsTask, FactorizeLayersTask, FactorizeTask

POSITIONS = ((0, 1), (3, 2))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(EMBEDDED)


@pytest.fixture(scope="module")
def executor(model: LoadedModel) -> Executor:
    return executor_of(model)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([draw(seed, "cat").image for seed in range(3)])


def size(result: Any) -> int:
    """Return the bytes of all arrays in a result, but for the few of its predictions."""
    if isinstance(result, np.ndarray):
        return result.nbytes
    if isinstance(result, Predictions):
        return 0
    if isinstance(result, dict):
        return sum(map(size, result.values()))
    if isinstance(result, tuple):
        return sum(map(size, result))
    return sum(size(getattr(result, field.name)) for field in fields(result)) if is_dataclass(result) else 0


@pytest.mark.parametrize(
    "task",
    [
        ActivationsTask("parts", (), 3, ("mixed4a", "mixed5b")),
        ActivationsTask("parts", (), 0, ("mixed4a", "mixed5b"), "mean", half=True),
        ActivationsTask("parts", (), 0, ("mixed4a",), channels=(5, 1, 3), positions=POSITIONS),
    ],
)
def test_the_size_of_activations_is_known_exactly(
    task: ActivationsTask, executor: Executor, model: LoadedModel, images: np.ndarray
) -> None:
    (result,) = executor.run([Work(task, images)], images_at_once=8)
    assert size(result) == task.cost(model.description, len(images)).result_bytes


@pytest.mark.parametrize(
    ("task", "count"),
    [
        (DictionaryTask("parts", (), 5, "mixed4a", 6, vectors=(0, 17, 5)), 1),
        (DictionaryTask("parts", (), 3, "mixed4a", 2, "path", 4), 1),
        (DictionaryTask("parts", (), 3, "mixed4a", 2, "none"), 1),
        (FactorizeTask("parts", (), 5, "mixed4a", 6, False), 3),
        (FactorizeTask("parts", (), 0, "mixed4a", 6, False), 3),
        (FactorizeLayersTask("parts", (), 3, ("mixed4a", "mixed5b"), 4, False), 2),
    ],
)
def test_a_result_is_hardly_smaller_and_never_larger_than_its_cost_says(
    task: ImageTask[Any], count: int, executor: Executor, model: LoadedModel, images: np.ndarray
) -> None:
    (result,) = executor.run([Work(task, images[:count])], images_at_once=8)
    cost = task.cost(model.description, count)
    # Beside the maps: magnitudes, logits, errors and the like, a number a position or fewer.
    positions = count * sum(np.prod(model.description.layer_by_name[path].shape[1:]) for path in task.forward.layers)
    assert size(result) - 8 * positions - 1024 <= cost.result_bytes <= 1.05 * size(result) + 1024


def test_the_size_of_an_index_is_at_most_what_its_cost_says(
    executor: Executor, model: LoadedModel, images: np.ndarray
) -> None:
    task = IndexTask("parts", (), 0, ("mixed4a",))
    (result,) = executor.run([Work(task, images)], images_at_once=8)
    assert size(result) <= task.cost(model.description, len(images)).result_bytes


def test_memory_and_time_grow_with_what_makes_a_task_large(model: LoadedModel) -> None:
    described = model.description

    def grows(small: ImageTask[Any], large: ImageTask[Any], images: tuple[int, int] = (1, 1)) -> None:
        less, more = small.cost(described, images[0]), large.cost(described, images[1])
        assert less.forwards <= more.forwards
        assert less.memory_bytes < more.memory_bytes or less.forwards < more.forwards

    grows(dictionary(described, steps=32), dictionary(described, steps=256))
    grows(dictionary(described, classes=1), dictionary(described, classes=20))
    task = FactorizeTask("parts", (), 5, "mixed4a", 6, False)
    grows(task, task, images=(1, 64))
    open_number = FactorizeTask("parts", (), 5, "mixed4a", 0, False).cost(described, 8)
    assert open_number.other_seconds > 5 * task.cost(described, 8).other_seconds


def dictionary(model: ModelDescription, steps: int = 32, classes: int = 5) -> DictionaryTask:
    return DictionaryTask(model.name, (), classes, "mixed4a", 6, "path", steps)


def test_a_large_matrix_gets_fewer_iterations_and_a_small_one_as_many_as_it_likes() -> None:
    assert most_iterations(196, 528, 6) > 2000
    assert 20 <= most_iterations(245_760, 64, 64) < 50


def test_the_iterations_of_a_factorization_are_bounded_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("striate_service.techniques.costs._MOST_OPERATIONS", 1e6)
    x = torch.rand(200, 60, generator=torch.Generator().manual_seed(0))
    assert int(factorize(x, 5).iterations) <= most_iterations(200, 60, 5) == 20


def test_the_cost_of_activations_needs_no_model() -> None:
    task = FactorizeActivationsTask("", np.zeros((2, 8, 4, 4), np.float32), 3, False)
    assert task.cost(None, 1).forwards == 0
    assert task.cost(None, 1).memory_bytes > task.activations.nbytes
