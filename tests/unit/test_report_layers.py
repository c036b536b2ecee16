"""The layers that a report chooses, of real architectures as a server describes them."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_networks
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
        (torchvision.models.vgg11, 96, 1000, ["features.14", "features.19"]),
        (lambda: timm.create_model("tf_efficientnet_lite0"), 96, 1000, ["blocks.4.2", "blocks.6.0"]),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64), 64, 1000, ["blocks.5", "blocks.10"]),
        (tiny_networks.swin, 32, 5, ["features.1.1", "features.3.0"]),
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
