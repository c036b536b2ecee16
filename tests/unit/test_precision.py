"""Forwards in lower precision answer nearly what float32 answers."""

from __future__ import annotations

import numpy as np
import pytest
from striate_service.config import EMBEDDED
from striate_service.device.executor import Executor
from striate_service.device.served import ServedModel
from striate_service.models.embedded.pictures import draw
from striate_service.models.loading import load_model
from striate_service.techniques.tasks import ActivationsTask, DictionaryTask

LAYERS = ("mixed3b", "mixed4d", "mixed5b")


@pytest.fixture(scope="module")
def answers() -> dict[str, list[dict[str, np.ndarray]]]:
    """By precision: the activations of two pictures, and the dictionary of one of them."""
    model = load_model(EMBEDDED)
    served = ServedModel(model.description, model.network)
    pictures = np.stack([draw(seed, name).image for seed, name in ((0, "dog"), (1, "house"))])
    model_name = model.description.name
    activations = ActivationsTask(model_name, (), 3, LAYERS, "none", (), half=False)
    dictionary = DictionaryTask(model_name, (), 3, "mixed4d", 4)
    found = {}
    for precision in ("float32", "bfloat16"):
        executor = Executor([served], "cpu", precision)  # type: ignore[arg-type]
        found[precision] = executor.run([activations, dictionary], [{"images": pictures}, {"images": pictures[:1]}])
        assert all(isinstance(each, dict) for each in found[precision])
    return found  # type: ignore[return-value]


def test_activations_agree_within_the_precision(answers: dict[str, list[dict[str, np.ndarray]]]) -> None:
    exact, lower = answers["float32"][0], answers["bfloat16"][0]
    for layer in LAYERS:
        assert lower[layer].dtype == np.float32
        error = np.linalg.norm(lower[layer] - exact[layer]) / np.linalg.norm(exact[layer])
        assert 0 < error < 0.03, layer
    np.testing.assert_array_equal(lower["predicted"][:, 0], exact["predicted"][:, 0])


def test_effects_agree_within_the_precision(answers: dict[str, list[dict[str, np.ndarray]]]) -> None:
    exact, lower = answers["float32"][1], answers["bfloat16"][1]
    assert lower["effects"].dtype == np.float32
    same = (lower["channels"] == exact["channels"]) & (exact["activations"] > 0)
    assert same.mean() > 0.5
    # Gradients go through twenty layers of 8-bit mantissas: 0.984 with the present weights.
    assert np.corrcoef(lower["effects"][same].ravel(), exact["effects"][same].ravel())[0, 1] > 0.97
