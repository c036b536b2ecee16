"""On a GPU the answers are those of the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fragile
import numpy as np
import pytest
import striate
import torch
from conftest import executor_of, settings
from striate_service.config import EMBEDDED, ModelSettings, PreprocessingSettings
from striate_service.device.compiled import compiled_network
from striate_service.device.precision import set_tf32
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw
from striate_service.models.loading import load_model
from striate_service.techniques.targets import Embedding, Output
from striate_service.techniques.tasks.activations import ActivationsTask
from striate_service.techniques.tasks.base import Work
from striate_service.techniques.tasks.dictionary import DictionaryTask
from striate_service.techniques.tasks.examples import IndexTask
from striate_service.techniques.tasks.groups import FactorizeLayersTask, FactorizeTask

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


@pytest.mark.promise("a kernel asserts on a GPU", "its worker ends and is replaced; the next request is answered")
def test_a_device_assert_ends_the_worker_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(fragile.__file__).parent), prepend=os.pathsep)
    torch.save(fragile.factory().state_dict(), tmp_path / "fragile.pth")
    model = ModelSettings(
        name="fragile",
        architecture="fragile:factory",
        weights=str(tmp_path / "fragile.pth"),
        preprocessing=PreprocessingSettings(resize=fragile.SIDE, crop=fragile.SIDE),
    )
    own = settings(tmp_path, devices=("cuda:0",), models=[model])
    with LocalServer(own) as server, striate.Client(server.target, timeout=120) as client:
        with pytest.raises(striate.InternalError, match="every worker that takes this request dies"):
            client.activations(fragile.image(fragile.BREAKING), "layer")
        assert client.activations(fragile.image(), "layer").predictions


def test_activations_agree(clients: tuple[striate.Client, striate.Client], photos: list[np.ndarray]) -> None:
    on_cpu, on_gpu = (client.activations(photos, ["mixed3b", "mixed4d", "mixed5b"]) for client in clients)
    for layer in on_cpu:
        error = np.linalg.norm(on_cpu[layer] - on_gpu[layer]) / np.linalg.norm(on_cpu[layer])
        assert error < 1e-5


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
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


def test_a_graph_is_replayed_and_compared_when_a_network_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    replays = 0
    replay = torch.cuda.CUDAGraph.replay

    def count(graph: torch.cuda.CUDAGraph) -> None:
        nonlocal replays
        replays += 1
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count)
    set_tf32("float32")  # as a worker does
    model = load_model(EMBEDDED, "cuda:0")
    compiled_network(model.network, ["mixed3b", "mixed4d"], model.description.input_shape, "float32")
    assert replays >= 1


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


def test_tasks_that_explain_and_tasks_that_do_not_share_a_batch() -> None:
    """In more images than a forward takes, too: everything of a batch is on the device."""
    pictures = np.stack([draw(seed, "dog").image for seed in range(5)])
    works = [
        Work(ActivationsTask("parts", (), 3, ("mixed4d",)), pictures[:1]),
        Work(FactorizeTask("parts", (), 4, "mixed4d", 5, False), pictures),
        Work(DictionaryTask("parts", (), 4, "mixed4d", 6, "path", 8, vectors=(1,)), pictures[1:2]),
        Work(DictionaryTask("parts", (Output(2), Output(7)), 0, "mixed4a", 6), pictures[2:3]),
        Work(FactorizeLayersTask("parts", (), 2, ("mixed4a", "mixed4d"), 3, False), pictures[:2]),
        Work(IndexTask("parts", (), 0, ("mixed4a",)), pictures[3:]),
    ]
    set_tf32("float32")
    answers = [
        executor_of(load_model(EMBEDDED, device), device=device).run(works, images_at_once=limit)
        for device, limit in (("cpu", 64), ("cuda:0", 64), ("cuda:0", 2))
    ]
    for expected, *others in zip(*answers, strict=True):
        for got in others:
            assert type(got) is type(expected), got
    on_cpu, on_gpu, in_parts = (each[1] for each in answers)
    for groups in (on_gpu, in_parts):
        assert float(groups.relative_error) == pytest.approx(float(on_cpu.relative_error), rel=1e-2)
        assert groups.targets == on_cpu.targets
    np.testing.assert_allclose(answers[1][3].effects, answers[0][3].effects, rtol=1e-2, atol=1e-4)


def test_tokens_and_signed_layers_agree() -> None:
    """Semi-NMF, neurons of either sign, the path from 0, and a target that is no class, in a vision transformer."""
    pictures = np.stack([draw(seed, "dog").image for seed in range(3)])
    towards = np.random.default_rng(0).normal(size=20)
    embedding = Embedding((towards / np.linalg.norm(towards)).astype(np.float32))
    works = [
        Work(ActivationsTask("parts_vit", (), 3, ("blocks.1", "norm")), pictures),
        Work(FactorizeTask("parts_vit", (), 2, "blocks.2", 5, False), pictures),
        Work(FactorizeTask("parts_vit", (embedding,), 0, "norm", 4, False, "semi-nmf"), pictures[:2]),
        Work(DictionaryTask("parts_vit", (Output(2), embedding), 0, "blocks.1", 6, "path", 8), pictures[:1]),
        Work(DictionaryTask("parts_vit", (), 4, "norm", 6, vectors=(1,)), pictures[1:2]),
    ]
    set_tf32("float32")
    on_cpu, on_gpu = (
        executor_of(load_model(ModelSettings.parse("parts_vit"), device), device=device).run(works, images_at_once=64)
        for device in ("cpu", "cuda:0")
    )
    for expected, got in zip(on_cpu, on_gpu, strict=True):
        assert type(got) is type(expected), got
    for expected, got in zip(on_cpu[1:3], on_gpu[1:3], strict=True):
        assert (got.method, expected.method) == ("semi-nmf", "semi-nmf")
        assert expected.directions.min() < 0
        assert float(got.relative_error) == pytest.approx(float(expected.relative_error), rel=1e-2)
        assert got.targets == expected.targets
    for expected, got in zip(on_cpu[3:], on_gpu[3:], strict=True):
        np.testing.assert_allclose(got.magnitude, expected.magnitude, rtol=1e-3)
        assert expected.activations.min() < 0
        np.testing.assert_allclose(got.effects.sum((0, 1)), expected.effects.sum((0, 1)), rtol=1e-2, atol=1e-2)


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
