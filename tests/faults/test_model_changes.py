"""Models are loaded and unloaded while others are served, and nobody notices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import striate
import torch
from conftest import settings
from fragile import SECONDS, SIDE, SLOW, factory, image
from processes import workers
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.local import LocalServer

PREPROCESSING = {"resize": SIDE, "crop": SIDE}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("weights") / "fragile.pth"
    torch.save(factory().state_dict(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        yield file


def model(weights: Path, **changes: object) -> ModelSettings:
    own = {"name": "first", "architecture": "fragile:factory", "weights": str(weights)}
    return ModelSettings(**{**own, "preprocessing": PreprocessingSettings(**PREPROCESSING), **changes})


@pytest.fixture(scope="module")
def changeable(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of one model, as each test leaves it."""
    own = {"devices": ("cpu",), "models": [model(weights)], "allow_model_changes": True}
    with LocalServer(settings(tmp_path_factory.mktemp("home"), **own)) as running:
        yield running


@pytest.fixture
def client(changeable: LocalServer) -> Iterator[striate.Client]:
    with striate.Client(changeable.target) as connected:
        yield connected


def load(client: striate.Client, weights: Path, name: str = "second", **changes: object) -> striate.Model:
    return client.load_model(name, "fragile:factory", str(weights), **{"preprocessing": PREPROCESSING, **changes})


@pytest.mark.promise("models are loaded and unloaded under traffic", "every request is answered")
def test_loading_and_unloading_disturb_no_running_traffic(client: striate.Client, weights: Path) -> None:
    answers: list[np.ndarray] = []
    stop = threading.Event()
    failures: list[Exception] = []

    def traffic() -> None:
        while not stop.is_set():
            try:
                answers.append(client.activations(image(), "layer", timeout=30)["layer"])
            except Exception as error:
                failures.append(error)

    callers = [threading.Thread(target=traffic) for _ in range(3)]
    for caller in callers:
        caller.start()
    loaded = load(client, weights)
    before = len(answers)
    found = client.activations(image(), "layer", model="second")
    client.unload_model("second")
    stop.set()
    for caller in callers:
        caller.join()
    assert not failures
    assert before > 10
    expected = factory().layer(torch.from_numpy(image())[None]).detach().numpy()
    for answer in (answers[0], answers[-1], found["layer"]):
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)
    assert (loaded.name, loaded.default, [layer.name for layer in loaded.layers][-2:]) == (
        "second",
        False,
        ["layer", "fc"],
    )
    assert [each.name for each in client.models()] == ["first"]
    with pytest.raises(striate.NotFound):
        client.activations(image(), "layer", model="second")


@pytest.mark.promise("a model cannot be loaded", "the caller reads why, and nothing has changed")
def test_what_cannot_be_loaded_or_unloaded_says_why_and_changes_nothing(
    client: striate.Client, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), other)
    with pytest.raises(striate.AlreadyExists, match="first"):
        load(client, weights, name="first")
    with pytest.raises(striate.InvalidArgument, match=r"there is no weights file .*nowhere\.pth"):
        load(client, tmp_path / "nowhere.pth")
    with pytest.raises(striate.InvalidArgument, match="do not fit"):
        load(client, other)
    with pytest.raises(striate.InvalidArgument, match="this server has cpu") as refused:
        load(client, weights, devices=["cuda:7"])
    assert "devices" in refused.value.violations
    for name in ("", "no name"):
        with pytest.raises(striate.InvalidArgument) as refused:
            load(client, weights, name=name)
        assert list(refused.value.violations) == ["name"]
    with pytest.raises(striate.NotFound, match="did you mean 'first'"):
        client.unload_model("fist")
    with pytest.raises(striate.InvalidArgument, match="default model"):
        client.unload_model("first")
    (served,) = client.models()
    assert (served.name, served.batch_limits) == ("first", {"cpu": 16})  # as the settings say
    assert client.activations(image(), "layer").predictions


@pytest.mark.promise(
    "a caller goes away while a model is loaded or unloaded",
    "no process keeps a model that nobody serves",
    seen="an orphan kept its memory",
)
def test_a_change_of_models_that_nobody_waits_for_leaves_nothing(client: striate.Client, weights: Path) -> None:
    others = set(workers())
    with pytest.raises(striate.DeadlineExceeded):
        load(client, weights, timeout=1.0)
    wait_until(lambda: set(workers()) == others)
    load(client, weights)
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(client.activations, image(SLOW), "layer", model="second")
        time.sleep(SECONDS / 3)
        with pytest.raises(striate.DeadlineExceeded):
            client.unload_model("second", timeout=0.2)
        assert slow.result().predictions
    wait_until(lambda: [model.name for model in client.models()] == ["first"])
    load(client, weights)
    assert len(workers()) == len(others)
    client.unload_model("second")


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


async def test_a_server_that_does_not_allow_it_refuses(server: LocalServer, weights: Path) -> None:
    async with striate.aio.Client(server.target) as client:
        with pytest.raises(striate.PermissionDenied, match="allow_model_changes") as refused:
            await client.load_model("second", "fragile:factory", str(weights))
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(striate.PermissionDenied):
            await client.unload_model("parts")


def test_a_batch_limit_is_measured_once_or_by_command_and_shown(weights: Path, tmp_path: Path) -> None:
    own = {"devices": ("cpu",), "models": [model(weights)], "max_batch_size": "auto"}
    with LocalServer(settings(tmp_path, **own)) as server, striate.Client(server.target) as client:
        (images,) = client.model().batch_limits.values()
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read().decode()
    assert f'striate_batch_limit_images{{device="cpu",model="first"}} {float(images)}' in metrics
    (file,) = (tmp_path / "batch_limits").iterdir()
    record = json.loads(file.read_text())
    assert record["images"] == images
    assert record["images_per_second"] > 0
    assert record["format"] == 1
    file.write_text(json.dumps(record | {"images": 3}))
    with LocalServer(settings(tmp_path, **own)) as server, striate.Client(server.target) as client:
        assert client.model().batch_limits == {"cpu": 3}
    configuration = tmp_path / "striate.toml"
    configuration.write_text(
        f'home = "{tmp_path}"\ndevices = ["cpu"]\ncpu_engine = "torch"\ncompile_ahead = false\n'
        f'[[models]]\nname = "first"\narchitecture = "fragile:factory"\nweights = "{weights}"\n'
        f"preprocessing = {{ resize = {SIDE}, crop = {SIDE} }}\n"
    )
    command = [str(Path(sys.executable).with_name("striate")), "tune", "--config", str(configuration)]
    environment = os.environ | {"COLUMNS": "160"}  # with PYTHONPATH, by the fixture of the weights
    tuned = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert tuned.returncode == 0, tuned.stderr
    images = json.loads(file.read_text())["images"]
    assert images >= 4
    assert re.search(rf"first .* torch float32 .* {images} ", tuned.stdout), tuned.stdout
    refused = subprocess.run([*command, "--model", "nonsense"], capture_output=True, text=True, timeout=300)
    assert refused.returncode == 2
    assert "NAME=ARCHITECTURE:WEIGHTS" in " ".join(re.sub("[│╭╰─╮╯]", " ", refused.stderr).split())


def test_a_model_is_on_the_devices_that_it_names(weights: Path, tmp_path: Path) -> None:
    from striate_service.backends.protocol import StartError

    nowhere = {"devices": ("cpu",), "models": [model(weights), model(weights, name="gone", devices=("cuda:0",))]}
    with pytest.raises(StartError, match="gone"), LocalServer(settings(tmp_path, **nowhere)):
        pass
