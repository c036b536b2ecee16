"""Forwards in lower precision answer nearly what float32 answers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import executor_of
from striate_service.config import EMBEDDED
from striate_service.models.embedded.pictures import draw
from striate_service.models.loading import load_model
from striate_service.techniques.tasks.activations import ActivationsResult, ActivationsTask
from striate_service.techniques.tasks.base import Work
from striate_service.techniques.tasks.dictionary import DictionaryResult, DictionaryTask

LAYERS = ("mixed3b", "mixed4d", "mixed5b")


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[ActivationsResult, DictionaryResult]]:
    """By precision: the activations of two pictures, and the dictionary of one of them."""
    model = load_model(EMBEDDED)
    pictures = np.stack([draw(seed, name).image for seed, name in ((0, "dog"), (1, "house"))])
    model_name = model.description.name
    works = [
        Work(ActivationsTask(model_name, (), 3, LAYERS), pictures),
        Work(DictionaryTask(model_name, (), 3, "mixed4d", 4), pictures[:1]),
    ]
    found = {}
    for precision in ("float32", "bfloat16"):
        activations, dictionary = executor_of(model, precision=precision).run(works, images_at_once=64)
        assert isinstance(activations, ActivationsResult)
        assert isinstance(dictionary, DictionaryResult)
        found[precision] = activations, dictionary
    return found


def test_activations_agree_within_the_precision(
    answers: dict[str, tuple[ActivationsResult, DictionaryResult]],
) -> None:
    exact, lower = answers["float32"][0], answers["bfloat16"][0]
    for layer in LAYERS:
        assert lower.layers[layer].dtype == np.float32
        error = np.linalg.norm(lower.layers[layer] - exact.layers[layer]) / np.linalg.norm(exact.layers[layer])
        assert 0 < error < 0.03, layer
    assert lower.predictions
    assert exact.predictions
    np.testing.assert_array_equal(lower.predictions.classes[:, 0], exact.predictions.classes[:, 0])


def test_effects_agree_within_the_precision(answers: dict[str, tuple[ActivationsResult, DictionaryResult]]) -> None:
    exact, lower = answers["float32"][1], answers["bfloat16"][1]
    assert lower.effects.dtype == np.float32
    same = (lower.channels == exact.channels) & (exact.activations > 0)
    assert same.mean() > 0.5
    # Gradients go through twenty layers of 8-bit mantissas: 0.984 with the present weights.
    assert np.corrcoef(lower.effects[same].ravel(), exact.effects[same].ravel())[0, 1] > 0.97
