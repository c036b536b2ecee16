"""Replacing what a layer computes, against what the layer would have computed."""

from __future__ import annotations

import pytest
import torch
from striate_service.models.description import LayerDescription, Layout
from striate_service.models.layers import can_be_cut, capture, logits_with
from striate_service.models.torchvision_compat import import_torchvision


@pytest.fixture(scope="module", params=["squeezenet1_1", "resnet18", "mobilenet_v3_small"])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    return import_torchvision().models.get_model(request.param, num_classes=7).eval().requires_grad_(False)


def convolutional(path: str) -> LayerDescription:
    return LayerDescription(path, "", (1, 1, 1), layout=Layout.CHW)


def layers_of(network: torch.nn.Module) -> list[LayerDescription]:
    return [convolutional(name) for name, _ in network.named_modules() if name.count(".") == 1][1::4]


def test_a_layers_own_output_changes_nothing(network: torch.nn.Module) -> None:
    images = torch.randn(3, 3, 64, 64)
    logits = network(images)
    for layer in layers_of(network):
        outputs = capture(network, images, [layer.path]).layers[layer.path]
        torch.testing.assert_close(logits_with(network, images, layer, outputs), logits)


def test_where_a_network_can_be_cut_one_input_is_enough(network: torch.nn.Module) -> None:
    images = torch.randn(4, 3, 64, 64)
    logits = network(images)
    cut = [layer for layer in layers_of(network) if can_be_cut(network, (3, 64, 64), layer)]
    assert cut
    for layer in cut:
        outputs = capture(network, images, [layer.path]).layers[layer.path]
        torch.testing.assert_close(logits_with(network, images[3:], layer, outputs), logits, rtol=1e-4, atol=1e-4)


def test_a_way_past_a_layer_is_noticed() -> None:
    torch.manual_seed(0)
    network = import_torchvision().models.resnet18(num_classes=7).eval()
    assert can_be_cut(network, (3, 64, 64), convolutional("layer2.0"))
    assert not can_be_cut(network, (3, 64, 64), convolutional("layer2.0.bn2")), "the shortcut leads past it"
