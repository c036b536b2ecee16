"""Servers for the tests: real ones, with worker processes, on free loopback ports."""

from __future__ import annotations

import inspect
import os
import shutil

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch and scikit-learn load: on few cores, more threads only collide

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import striate
import torch
from filelock import FileLock
from PIL import Image
from striate_service.config import ModelSettings, Precision, Settings, load
from striate_service.device.executor import Executor
from striate_service.device.networks import DeviceNetworks, ServedModel
from striate_service.local import LocalServer
from striate_service.models.loading import LoadedModel
from striate_service.models.torchvision_compat import import_torchvision

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
SQUEEZENET = SHARED / "models" / "squeezenet1_0_imagenet.pth"

torch.set_num_threads(1)

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


def settings(home: Path, **changes: object) -> Settings:
    """Return settings for a server that gets in nobody's way, and starts quickly: without exporting or compiling."""
    usual = {
        "host": "127.0.0.1",
        "port": 0,
        "metrics_port": 0,
        "home": home,
        "cpu_engine": "torch",
        "compile_ahead": False,
    }
    usual["max_batch_size"] = 16  # measuring it takes time
    return load(**{**usual, **changes})


def executor_of(*models: LoadedModel, device: str = "cpu", precision: Precision = "float32") -> Executor:
    """Return what a worker of a device would compute batches with, in this process."""
    served = [ServedModel(model.description, model.network) for model in models]
    return Executor(DeviceNetworks(served, device, precision))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared) is not here")
    return SHARED


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph, uint8 [427, 640, 3]."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"))


@pytest.fixture(scope="session")
def photos(photo: np.ndarray) -> list[np.ndarray]:
    """Five views of photographs."""
    from sklearn.datasets import load_sample_image

    flower = np.asarray(load_sample_image("flower.jpg"))
    return [photo, flower, photo[:, ::-1].copy(), flower[50:350, 100:500].copy(), photo[::2, ::2].copy()]


@pytest.fixture(scope="session")
def random_networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSettings]:
    """torchvision architectures with random weights, by name, saved as a user's own files would be."""
    folder = tmp_path_factory.mktemp("weights")
    models = import_torchvision().models
    torch.manual_seed(0)
    networks = {}
    for name in ("googlenet", "resnet18", "mobilenet_v2"):
        arguments = {"init_weights": True, "aux_logits": True} if name == "googlenet" else {}
        network = models.get_model(name, weights=None, num_classes=10, **arguments)
        for module in network.modules():  # batch statistics of random weights that keep activations alive
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        torch.save(network.state_dict(), folder / f"{name}.pth")
        networks[name] = ModelSettings(name=name, architecture=name, weights=str(folder / f"{name}.pth"))
    return networks


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `server`'s STRIATE_HOME."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exported networks, for all processes of this run: exporting takes half a minute."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "graphs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(home: Path, graphs: Path) -> Iterator[LocalServer]:
    """A server of the embedded model and, where it is here, of a real ImageNet network."""
    models = ["parts"]
    if SQUEEZENET.is_file():
        models.append(f"squeezenet=squeezenet1_0:{SQUEEZENET}")
    (home / "onnx").symlink_to(graphs)
    with ExitStack() as stack:
        with FileLock(graphs / "lock"):  # the first process exports, the second waits
            running = stack.enter_context(LocalServer(settings(home, models=models, cpu_engine="onnx")))
        yield running


@pytest.fixture
def client(server: LocalServer) -> Iterator[striate.Client]:
    with striate.Client(server.target, timeout=120) as connected:
        yield connected


@pytest.fixture
def squeezenet(server: LocalServer, shared: Path) -> torch.nn.Module:
    """The network that the server calls squeezenet, in this process."""
    network = import_torchvision().models.squeezenet1_0()
    network.load_state_dict(torch.load(SQUEEZENET, weights_only=True))
    return network.eval().requires_grad_(False)


def preprocess(image: np.ndarray, resize: int = 256, crop: int = 224) -> torch.Tensor:
    """Bring an image [H, W, 3] to [1, 3, crop, crop] as torchvision's own transforms do."""
    transforms = import_torchvision().transforms
    chain = transforms.Compose(
        [
            transforms.Resize(resize, antialias=True),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return chain(Image.fromarray(image))[None]


@pytest.fixture(params=["blocking", "awaited"])
async def either(request: pytest.FixtureRequest, server: LocalServer) -> AsyncIterator[Any]:
    """A client of either kind."""
    if request.param == "blocking":
        with striate.Client(server.target, timeout=120) as client:
            yield client
    else:
        async with striate.aio.Client(server.target, timeout=120) as client:
            yield client


async def answer(call: Any) -> Any:
    """Return what a call brings, of a client of either kind."""
    return await call if inspect.isawaitable(call) else call
