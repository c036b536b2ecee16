"""The embedded vision transformer: what it is, and what its weights know of pictures whose truth is known."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from striate_service.models.description import Layout
from striate_service.models.embedded import CLASSES, INPUT_SIZE, VIT_WEIGHTS, WEIGHTS
from striate_service.models.embedded.evaluation import fresh_pictures, to_inputs
from striate_service.models.embedded.train_vit import STEM
from striate_service.models.embedded.vit import parts_vit
from striate_service.models.layers import capture, describe_layers
from torch import nn

_LEAST_ACCURACY = 0.85


@pytest.fixture(scope="module")
def network() -> nn.Module:
    network = parts_vit()
    network.load_state_dict(load_file(VIT_WEIGHTS))
    return network.eval().requires_grad_(False)


def test_the_weights_recognize_fresh_pictures(network: nn.Module) -> None:
    pictures = fresh_pictures(100)
    right = network(to_inputs(pictures)).argmax(1) == torch.tensor([picture.label for picture in pictures])
    assert right.float().mean() >= _LEAST_ACCURACY


def test_blocks_hold_a_token_for_each_patch_and_no_other(network: nn.Module) -> None:
    layers = {layer.path: layer for layer in describe_layers(network, (3, INPUT_SIZE, INPUT_SIZE))}
    for path in ("blocks.0", "blocks.2", "blocks.3.mlp.1", "norm"):
        layer = layers[path]
        assert (layer.layout, layer.grid, layer.prefix_tokens, layer.signed) == (Layout.TOKENS, (14, 14), (), True)


def test_logits_are_the_mean_of_what_each_position_says(network: nn.Module) -> None:
    captured = capture(network, to_inputs(fresh_pictures(2)), ["norm"], logits=True)
    said = network.get_submodule("head")(captured.layers["norm"])
    torch.testing.assert_close(captured.logits, said.mean(1))


def test_other_sizes_work(network: nn.Module) -> None:
    assert network(torch.zeros(2, 3, 160, 128)).shape == (2, len(CLASSES))


def test_its_convolutions_are_those_of_parts_and_it_is_small(network: nn.Module) -> None:
    teacher = load_file(WEIGHTS)
    own = load_file(VIT_WEIGHTS)
    shared = [name for name in own if name.split(".")[0] in STEM]
    assert len(shared) == sum(name.split(".")[0] in STEM for name in teacher)
    for name in shared:
        torch.testing.assert_close(own[name], teacher[name], rtol=0, atol=0)
    assert VIT_WEIGHTS.stat().st_size < 3 * 2**20
