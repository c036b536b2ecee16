"""The layers that a report chooses, of real architectures as a server describes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from striate import Layer, Model, NotFound
from striate.calls.replies import read_layer
from striate.cli.report_layers import report_layers
from striate_service.models.googlenet_bvlc import GoogLeNet
from striate_service.models.layers import describe_layers
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.servicers import encoding
from torch import nn

torchvision = import_torchvision()
import timm  # noqa: E402  which imports torchvision


def plain() -> nn.Module:
    """Without blocks, as VGG is."""
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 12), (12, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def model(network: nn.Module, size: int, classes: int, **options: Any) -> Model:
    described = describe_layers(network.eval(), (3, size, size), **options)
    layers = tuple(read_layer(encoding.layer(each)) for each in described)
    return Model("network", "", classes=tuple(f"class {number}" for number in range(classes)), layers=layers)


@pytest.mark.parametrize(
    ("make", "size", "classes", "chosen"),
    [
        (GoogLeNet, 128, 1000, ["inception4e", "inception5b"]),
        (torchvision.models.squeezenet1_0, 128, 1000, ["features.10", "features.12"]),
        (torchvision.models.resnet18, 96, 1000, ["layer3.1", "layer4.1"]),
        (torchvision.models.efficientnet_b0, 96, 1000, ["features.5.2", "features.7.0"]),
        (plain, 32, 10, ["4", "7"]),
        (lambda: timm.create_model("tf_efficientnet_lite0"), 96, 1000, ["blocks.4.2", "blocks.6.0"]),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64), 64, 1000, ["blocks.5", "blocks.10"]),
        (torchvision.models.swin_t, 64, 1000, ["features.5.5", "features.7.1"]),
    ],
)
def test_a_report_is_about_blocks(make: Any, size: int, classes: int, chosen: list[str]) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        assert report_layers(model(make(), size, classes)) == chosen


def test_channels_that_are_classes_and_single_positions_are_no_maps_to_look_at() -> None:
    def layer(name: str, *shape: int) -> Layer:
        return Layer(name, "Conv2d", shape, layout="chw", grid=(shape[1], shape[2]))

    layers = (layer("stem", 8, 16, 16), layer("body", 12, 8, 8), layer("classes", 10, 8, 8), layer("mean", 12, 1, 1))
    classes = tuple(f"class {number}" for number in range(10))
    assert report_layers(Model("own", "", classes=classes, layers=layers)) == ["stem", "body"]
    assert report_layers(Model("own", "", layers=layers)) == ["stem", "classes"]
    with pytest.raises(NotFound):
        report_layers(Model("own", "", layers=layers[-1:]))
