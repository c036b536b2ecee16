"""Exported networks compute what the network computes, and what is wrong with them is found before they serve."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from branching import Branching
from striate_service.device import exported as device_exported
from striate_service.device.exported import ExportedNetwork, ExportError, exported_network
from striate_service.models.layers import capture
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

_SHAPE = (3, 16, 16)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Branching().eval().requires_grad_(False)


_LAYERS = ["stem.0", "stem.1", "stem", "left", "right", "relu", "fc"]


@pytest.mark.parametrize("layers", [["stem.0"], ["left", "stem.1"], ["relu"], []])
def test_any_layers_are_as_the_network_computes_them(network: nn.Module, tmp_path: Path, layers: list[str]) -> None:
    exported = exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx")
    for count in (1, 5):
        images = torch.randn(count, *_SHAPE)
        expected = capture(network, images, layers, logits=True)
        got = exported.capture(images, layers, logits=True)
        torch.testing.assert_close(got.layers, expected.layers, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-6)


def test_an_image_is_answered_to_the_bit_the_same_alone_and_among_others(network: nn.Module, tmp_path: Path) -> None:
    exported = exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx")
    images = torch.randn(7, *_SHAPE)
    together = exported.capture(images, ["relu"], logits=True)
    for number in range(7):
        alone = exported.capture(images[number : number + 1], ["relu"], logits=True)
        assert torch.equal(alone.layers["relu"][0], together.layers["relu"][number])
        assert alone.logits is not None
        assert together.logits is not None
        assert torch.equal(alone.logits[0], together.logits[number])


def test_it_is_answered_to_the_bit_the_same_on_any_number_of_threads(network: nn.Module, tmp_path: Path) -> None:
    exported = exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx")
    images = torch.randn(2, *_SHAPE)
    one = exported.capture(images, _LAYERS, logits=True, threads=1)
    for threads in (2, 3):
        several = exported.capture(images, _LAYERS, logits=True, threads=threads)
        assert all(torch.equal(several.layers[layer], one.layers[layer]) for layer in _LAYERS)
        assert several.logits is not None
        assert one.logits is not None
        assert torch.equal(several.logits, one.logits)


def test_what_was_exported_is_found_again_unless_it_is_damaged_or_another_network(
    network: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "n.onnx"
    exported_network(network, _LAYERS, _SHAPE, file)
    written = file.stat().st_mtime_ns
    exported_network(network, _LAYERS, _SHAPE, file)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:100])
    exported_network(network, _LAYERS, _SHAPE, file)
    network.get_parameter("fc.bias").data += 1
    images = torch.randn(2, *_SHAPE)
    again = exported_network(network, _LAYERS, _SHAPE, file).capture(images, [], logits=True)
    torch.testing.assert_close(again.logits, network(images), rtol=1e-5, atol=1e-6)


def test_nobody_waits_for_a_session_where_another_computes_more(network: nn.Module, tmp_path: Path) -> None:
    """And what it answers is what a session of its own answers, but for rounding."""
    fresh, used = (exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx") for _ in range(2))
    images = torch.randn(1, *_SHAPE)
    used.capture(images, ["stem.1", "relu"], logits=True)
    waited = used.sessions.seconds_of_waiting
    assert waited > 0
    for layers, threads in ((["relu"], 1), (["stem.1"], 1), (["relu", "stem.1"], 2)):
        found = used.capture(images, layers, threads=threads).layers
        torch.testing.assert_close(found, fresh.capture(images, layers).layers, rtol=1e-5, atol=1e-6)
    assert used.sessions.seconds_of_waiting == waited
    used.capture(images, ["left"])
    assert used.sessions.seconds_of_waiting > waited


class Residual(nn.Module):
    """A residual sum and batch normalizations, both of which ONNX Runtime fuses into convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv, self.bn2 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.block, self.fc = nn.ReLU(), nn.Linear(16, 5)
        for norm in (self.bn1, self.bn2):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.bn1(self.stem(images)).relu()
        return self.fc(self.block(self.bn2(self.conv(maps)) + maps).mean((2, 3)))


_RESIDUAL = ["stem", "bn1", "conv", "bn2", "block"]


@pytest.mark.parametrize(
    ("make", "layers", "tolerance"),
    [
        (
            lambda: import_torchvision().models.squeezenet1_1(num_classes=5),
            ["features.0", "features.3.squeeze", "features.4", "features.7", "features.12"],
            0,
        ),
        (Residual, _RESIDUAL, 1e-5),
    ],
    ids=["squeezenet", "residual"],
)
def test_whatever_was_asked_for_before_answers_are_the_same(
    make: Callable[[], nn.Module], layers: list[str], tolerance: float, tmp_path: Path
) -> None:
    """To the bit where no residual sum and no batch normalization is fused, else but for rounding."""
    torch.manual_seed(0)
    shape = (3, 48, 48)
    exported = exported_network(make().eval().requires_grad_(False), layers, shape, tmp_path / "n.onnx")
    images = torch.randn(2, *shape)
    for asked in layers:
        exported.sessions.clear()
        own = exported.capture(images, [asked]).layers[asked]
        for before in (layers, [asked, layers[-1]], [layers[0], asked]):
            exported.sessions.clear()
            exported.capture(images, before, logits=True)
            found = exported.capture(images, [asked]).layers[asked]
            assert len(exported.sessions) == 1, "the earlier session answered"
            assert float((found - own).abs().max()) <= tolerance * float(own.abs().max())


def test_an_own_session_is_made_beside_when_that_pays(network: nn.Module, tmp_path: Path) -> None:
    fresh, used = (exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx") for _ in range(2))
    images = torch.randn(8, *_SHAPE)
    used.capture(images, _LAYERS, logits=True)
    waited, kept = used.sessions.seconds_of_waiting, len(used.sessions)
    for count in (8, 7):
        used.capture(images[:count], ["relu"])
    used.sessions.wait()
    assert len(used.sessions) == kept == 1
    used.capture(images[:1], ["relu"])
    used.sessions.wait()
    assert len(used.sessions) == 2
    assert torch.equal(used.capture(images, ["relu"]).layers["relu"], fresh.capture(images, ["relu"]).layers["relu"])
    assert used.sessions.seconds_of_waiting == waited


def test_what_is_kept_for_sets_of_layers_is_bounded(network: nn.Module, tmp_path: Path) -> None:
    exported = exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx")
    images = torch.randn(1, *_SHAPE)
    for count in range(1, len(_LAYERS)):  # each computes more than those before, and needs a session
        for threads in (1, 2):
            exported.capture(images, _LAYERS[:count], threads=threads)
    exported.capture(images, _LAYERS, logits=True)
    assert len(exported.sessions) == 7
    for chosen in itertools.combinations(_LAYERS, 3):
        exported.capture(images, chosen)
    assert len(exported.sessions) <= 8


def test_a_layer_that_the_graph_computes_wrong_is_left_to_the_network(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = device_exported._wrong_outputs
    monkeypatch.setattr(device_exported, "_wrong_outputs", lambda *given: [*whole(*given), "left"])
    exported = exported_network(network, _LAYERS, _SHAPE, tmp_path / "n.onnx")
    assert not exported.has(["left"])
    assert exported.has(["stem", "right", "relu"])
    assert not ExportedNetwork((tmp_path / "n.onnx").read_bytes()).has(["left"])


def test_a_network_that_cannot_be_exported_says_why(tmp_path: Path) -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            means = images.mean((2, 3))
            return self.a(means) if float(means.sum()) > 0 else self.b(means)

    with pytest.raises(ExportError, match=r"\w+"):
        exported_network(Chooses().eval(), ["a"], _SHAPE, tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()
