"""On a GPU the answers are those of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import striate
import torch
from conftest import settings
from striate_service.config import EMBEDDED
from striate_service.local import LocalServer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[striate.Client, striate.Client]]:
    """A client of a server on the CPU, and one of a server on the first GPU."""
    homes = [tmp_path_factory.mktemp(name) for name in ("cpu", "gpu")]
    with (
        LocalServer(settings(homes[0], devices=("cpu",))) as cpu,
        LocalServer(settings(homes[1], devices=("cuda:0",))) as gpu,
        striate.Client(cpu.target) as on_cpu,
        striate.Client(gpu.target) as on_gpu,
    ):
        yield on_cpu, on_gpu


def test_activations_agree(clients: tuple[striate.Client, striate.Client], photos: list[np.ndarray]) -> None:
    on_cpu, on_gpu = (client.activations(photos, ["mixed3b", "mixed4d", "mixed5b"]) for client in clients)
    for layer in on_cpu:
        error = np.linalg.norm(on_cpu[layer] - on_gpu[layer]) / np.linalg.norm(on_cpu[layer])
        assert error < 1e-3, "TF32 convolutions are allowed"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_agrees_within_its_tolerance(
    clients: tuple[striate.Client, striate.Client], photos: list[np.ndarray], tmp_path: Path, precision: str
) -> None:
    layers = ["mixed3b", "mixed4d", "mixed5b"]
    exact = clients[0].activations(photos, layers)
    own = {"devices": ("cuda:0",), "precision": precision, "max_batch_size": "auto"}
    with LocalServer(settings(tmp_path, **own)) as server, striate.Client(server.target) as client:
        lower = client.activations(photos, layers)
        assert client.model().batch_limits["cuda:0"] >= 1
    for layer in layers:
        error = np.linalg.norm(lower[layer] - exact[layer]) / np.linalg.norm(exact[layer])
        assert error < 0.03, layer
    assert [each[0][0] for each in lower.predictions] == [each[0][0] for each in exact.predictions]


def test_a_compiled_network_agrees(
    clients: tuple[striate.Client, striate.Client],
    photos: list[np.ndarray],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Batches of several sizes, each replayed: the second and the third answer are of a CUDA graph."""
    model = EMBEDDED.model_copy(update={"compiled_layers": ("mixed3b", "mixed4d")})
    own = {"devices": ("cuda:0",), "models": [model]}
    with LocalServer(settings(tmp_path, **own)) as server, striate.Client(server.target) as client:
        for images in (photos[:1], photos, photos[:1] * 9, photos):
            expected, *answers = (each.activations(images, "mixed4d") for each in (clients[0], client, client, client))
            for got in answers:
                error = np.linalg.norm(got["mixed4d"] - expected["mixed4d"]) / np.linalg.norm(expected["mixed4d"])
                assert error < 1e-3
                assert [each[0][0] for each in got.predictions] == [each[0][0] for each in expected.predictions]
    assert "not compiled" not in capfd.readouterr().err


def test_images_that_are_copied_ahead_are_explained_as_others(
    clients: tuple[striate.Client, striate.Client], photos: list[np.ndarray], tmp_path: Path
) -> None:
    """Enough callers that a batch is always under way, whose images must not be another's."""
    own = {"devices": ("cuda:0",), "copy_ahead": True, "max_batch_size": 2}
    expected = [clients[1].activations(photo, "mixed4d") for photo in photos]
    with (
        LocalServer(settings(tmp_path, **own)) as server,
        striate.Client(server.target) as client,
        ThreadPoolExecutor(16) as callers,
    ):
        numbers = list(range(len(photos))) * 40
        answers = callers.map(lambda number: client.activations(photos[number], "mixed4d"), numbers)
        for number, got in zip(numbers, answers, strict=True):
            layer = expected[number]["mixed4d"]
            assert np.linalg.norm(got["mixed4d"] - layer) / np.linalg.norm(layer) < 1e-3


def test_dictionaries_agree(clients: tuple[striate.Client, striate.Client], photo: np.ndarray) -> None:
    on_cpu, on_gpu = (client.semantic_dictionary(photo, "mixed4d", icons=False) for client in clients)
    np.testing.assert_allclose(on_cpu.magnitude, on_gpu.magnitude, rtol=1e-2)
    assert on_cpu.predictions[0][0] == on_gpu.predictions[0][0]


def test_groups_agree(clients: tuple[striate.Client, striate.Client], photos: list[np.ndarray]) -> None:
    on_cpu, on_gpu = (client.factorize(photos, "mixed4d", components=6, icons=False) for client in clients)
    assert on_gpu.relative_error == pytest.approx(on_cpu.relative_error, rel=1e-2)


def test_icons_are_rendered(clients: tuple[striate.Client, striate.Client]) -> None:
    finished = [n for update in clients[1].render_icons("conv2", channels=[0, 1, 2]) for n in update.neurons]
    assert {neuron.icon_file.status for neuron in finished} == {"ready"}


def test_the_devices_are_in_the_metrics(tmp_path: Path) -> None:
    import urllib.request

    with LocalServer(settings(tmp_path, devices=("cuda:0",))) as server:
        text = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    assert 'striate_workers{device="cuda:0",state="idle"} 1.0' in text
