"""Compiled networks compute what the network computes; what would compute something else is found."""

from __future__ import annotations

import pytest
import torch
from branching import Branching
from conftest import needs_compiler
from striate_service.device.compiled import CompiledNetwork, CompileError, compare, compiled_network
from striate_service.models.layers import LayersAndLogits, capture
from torch import Tensor, nn

_SHAPE = (3, 16, 16)
_LAYERS = ["stem", "left"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Branching().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def compiled(network: nn.Module) -> CompiledNetwork:
    return compiled_network(network, _LAYERS, _SHAPE, "float32")


@needs_compiler
@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize(("layers", "logits"), [(["stem"], True), (["left", "stem"], False), ([], True)])
def test_its_layers_are_as_the_network_computes_them(
    network: nn.Module, compiled: CompiledNetwork, layers: list[str], logits: bool, count: int
) -> None:
    images = torch.randn(count, *_SHAPE)
    assert compiled.has(layers)
    got, expected = compiled.capture(images, layers, logits=logits), capture(network, images, layers, logits=logits)
    torch.testing.assert_close(got.layers, expected.layers, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-6)


@needs_compiler
def test_other_layers_are_not_its_business(compiled: CompiledNetwork) -> None:
    assert not compiled.has(["stem", "right"])


class _Random(nn.Module):
    """A network that computes something else each time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return (self.stem(images) * torch.rand(1, 8, 1, 1, device=images.device)).mean((2, 3))


@needs_compiler
def test_what_computes_something_else_is_not_used() -> None:
    with pytest.raises(CompileError, match="off"):
        compiled_network(_Random().eval().requires_grad_(False), ["stem"], _SHAPE, "float32")


def test_what_is_replayed_is_compared_too(network: nn.Module) -> None:
    """As CUDA graphs are: the first run computes, the second is recorded, further ones replay what was recorded."""
    forward, recorded = LayersAndLogits(network, _LAYERS), []

    def run(images: Tensor, replays: bool) -> list[Tensor]:
        recorded.append(list(forward(images)))
        return recorded[1] if replays and len(recorded) > 2 else recorded[-1]

    shape = (2, *_SHAPE)
    compare(CompiledNetwork(lambda images: run(images, False), _LAYERS), network, _LAYERS, shape, "float32")
    recorded.clear()
    with pytest.raises(CompileError, match="off"):  # the recorded images' layers, not those of the third run
        compare(CompiledNetwork(lambda images: run(images, True), _LAYERS), network, _LAYERS, shape, "float32")
