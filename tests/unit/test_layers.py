"""Layers are what their modules compute, whichever way round a network keeps its maps."""

from __future__ import annotations

import pytest
import torch
from striate_service.models.layers import capture, describe_layers
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.techniques.activations import select


@pytest.mark.parametrize(
    ("architecture", "layer", "shape", "channels", "spatial"),
    [
        ("swin_t", "features.1.0", (56, 56, 96), 96, False),
        ("swin_t", "features.7", (7, 7, 768), 768, False),
        ("convnext_tiny", "features.1.0.block.2", (56, 56, 96), 96, False),
        ("convnext_tiny", "features.1", (96, 56, 56), 96, True),
    ],
)
def test_channels_are_found_where_the_network_keeps_them(
    architecture: str, layer: str, shape: tuple[int, ...], channels: int, spatial: bool
) -> None:
    network = import_torchvision().models.get_model(architecture, weights=None).eval().requires_grad_(False)
    described = {each.path: each for each in describe_layers(network, (3, 224, 224))}[layer]
    assert (described.shape, described.channels, described.is_spatial) == (shape, channels, spatial)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    maps = capture(network, images, [layer]).layers[layer]
    expected = maps.mean((2, 3) if spatial else (1, 2))
    torch.testing.assert_close(select(maps, reduction="mean"), expected)
    torch.testing.assert_close(select(maps, reduction="mean", channels=[5, 1]), expected[:, [5, 1]])
