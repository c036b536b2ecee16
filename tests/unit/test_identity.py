"""Networks are told from each other by what they compute, wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.models.description import Preprocessing
from striate_service.models.identity import identity_of
from striate_service.models.loading import load_model
from torch import Tensor, nn

SHAPE = (3, 16, 16)
PREPROCESSING = Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    """A network whose activation and stride stand in its code alone."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = torch.relu, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=stride)
        self.fc = nn.Linear(4, 3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.activation(self.conv(x)).mean((2, 3)))


class Insists(Net):
    """A network that writes down a precision, as some of Hugging Face's do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(torch.float32).softmax(1).to(x.dtype)


class Mixes(Net):
    """A network that does not run in double precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) @ torch.ones(3, 3)


def identity(network: nn.Module, preprocessing: Preprocessing = PREPROCESSING, architecture: str = "net") -> str:
    return identity_of(network.eval(), architecture, preprocessing, SHAPE)


@pytest.mark.parametrize("kind", [Net, Insists, Mixes])
def test_the_same_network_has_the_same_identity(kind: type[Net]) -> None:
    first = identity(kind())
    assert identity(kind()) == first
    network = kind()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert identity(network.to(memory_format=torch.channels_last)) == first
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)  # the network is as it was
    assert all(not value.is_inference() for value in network.parameters())


@pytest.mark.parametrize("kind", [Net, Insists, Mixes])
def test_code_that_computes_something_else_is_another_network(kind: type[Net]) -> None:
    found = [
        identity(kind()),
        identity(kind(torch.abs)),
        identity(kind(nn.functional.gelu)),
        identity(kind(), PREPROCESSING.__class__(16, 16, "bicubic", (0.5,) * 3, (0.25,) * 3)),
        identity(kind(), architecture="other"),
    ]
    assert len(set(found)) == len(found)


def test_small_differences_of_processors_do_not_matter() -> None:
    """Differences in the last bits of every number do not change an identity."""

    class Noisy(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * (1 + 1e-14)) * (1 - 1e-13)

    Noisy.__name__ = "Net"
    assert identity(Noisy()) == identity(Net())


def two(activation: str) -> nn.Module:
    return Net(torch.relu if activation == "relu" else torch.abs)


def test_two_factories_with_one_weights_file_are_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    torch.save(Net().state_dict(), tmp_path / "net.pth")
    versions = {
        load_model(
            ModelSettings(
                name="net",
                architecture="test_identity:two",
                weights=str(tmp_path / "net.pth"),
                arguments={"activation": activation},
                preprocessing=PreprocessingSettings(resize=16, crop=16),
            )
        ).description.version
        for activation in ("relu", "abs", "relu")
    }
    assert len(versions) == 2
