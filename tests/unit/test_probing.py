"""How layers hold maps is measured, on networks of every layout, with random weights."""

from __future__ import annotations

import logging

import pytest
import tiny_networks
import torch
from striate_service.config import ModelSettings
from striate_service.models.description import LayerDescription, Layout, Tokens
from striate_service.models.layers import Examination, capture, examine
from striate_service.models.layouts import prefix_of, replaced, to_map
from striate_service.models.sources import source_of
from striate_service.models.sources.extras import import_extra
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

_SHAPE = (3, tiny_networks.SIZE, tiny_networks.SIZE)


def examined(network: nn.Module, shape: tuple[int, int, int] = _SHAPE) -> Examination:
    return examine(network.eval().requires_grad_(False), shape)


def by_path(found: Examination) -> dict[str, LayerDescription]:
    return {layer.path: layer for layer in found.layers}


def torchvisions(name: str) -> nn.Module:
    torch.manual_seed(0)
    return import_torchvision().models.get_model(
        name, num_classes=7, **({"init_weights": True} if name == "googlenet" else {})
    )


@pytest.mark.parametrize(
    ("name", "height", "width"), [("squeezenet1_1", 96, 160), ("googlenet", 224, 224), ("regnet_y_400mf", 160, 96)]
)
def test_what_convolutions_compute_are_maps_with_channels_first(name: str, height: int, width: int) -> None:
    network = torchvisions(name)
    layers = by_path(examined(network, (3, height, width)))
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d) and path in layers:
            layer = layers[path]
            assert layer.layout is Layout.CHW, path
            assert (layer.channels, *layer.grid) == layer.shape


def test_a_vision_transformer_has_tokens_and_names_the_one_before_them() -> None:
    found = examined(tiny_networks.vit())
    layers = by_path(found)
    for path in ("encoder.dropout", "encoder.layers.encoder_layer_1.mlp.0", "encoder.ln"):
        assert (layers[path].layout, layers[path].grid, layers[path].prefix_tokens) == (Layout.TOKENS, (4, 4), ("cls",))
    assert layers["conv_proj"].layout is Layout.CHW
    assert layers["heads.head"].layout is Layout.VECTOR
    assert found.left_out["encoder.layers.encoder_layer_0.self_attention"] == "it returns no tensor of numbers"
    assert layers["encoder.layers.encoder_layer_0.ln_1"].signed


def test_inside_swin_and_convnext_channels_are_last() -> None:
    layers = by_path(examined(tiny_networks.swin()))
    assert (layers["features.1.0"].layout, layers["features.1.0"].grid) == (Layout.HWC, (8, 8))
    assert (layers["features.3.0.mlp.1"].layout, layers["features.3.0.mlp.1"].channels) == (Layout.HWC, 128)
    assert layers["permute"].layout is Layout.CHW
    layers = by_path(examined(tiny_networks.convnext()))
    assert layers["features.1.0.block.3"].layout is Layout.HWC
    assert layers["features.1.0.block.5"].map_shape == (16, 8, 8)
    assert layers["features.1.0"].layout is Layout.CHW


def test_equal_extents_are_told_apart() -> None:
    torch.manual_seed(0)
    layers = by_path(examined(tiny_networks.Equal(), (3, 28, 28)))
    assert layers["first"].shape == layers["last"].shape == (14, 14, 14)
    assert layers["first"].layout is Layout.CHW
    assert layers["last"].layout is Layout.HWC


@pytest.mark.parametrize(("height", "width"), [(32, 48), (64, 16)])
def test_grids_need_not_be_square(height: int, width: int) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.cls_token = nn.Conv2d(3, 16, 8, stride=8), nn.Parameter(torch.randn(1, 1, 16))
            self.reg_token, self.mix = nn.Parameter(torch.randn(1, 2, 16)), nn.Linear(16, 16)
            self.attend = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).mT
            own = [token.expand(len(images), -1, -1) for token in (self.cls_token, self.reg_token)]
            return self.mix(self.attend(torch.cat([*own, tokens], 1)))

    torch.manual_seed(0)
    layers = by_path(examined(Tokens(), (3, height, width)))
    for path in ("attend", "mix"):
        assert layers[path].grid == (height // 8, width // 8)
        assert layers[path].prefix_tokens == ("cls", "reg0", "reg1")
    assert layers["patches"].grid == (height // 8, width // 8)


def test_what_is_no_map_is_not_taken_for_one() -> None:
    torch.manual_seed(0)
    found = examined(tiny_networks.Attention())
    layers = by_path(found)
    assert (layers["qkv"].layout, layers["qkv"].grid) == (Layout.TOKENS, (4, 4))
    for path in ("q_norm", "k_norm", "weights"):
        assert layers[path].layout is Layout.NONE, path
    assert "does not depend on the image" in found.left_out["table"]
    assert "not one entry an image" in found.left_out["windows"]


def test_a_network_whose_answers_depend_on_the_batch_is_found() -> None:
    torch.manual_seed(0)
    found = examined(tiny_networks.BatchStatistics())
    assert found.mixes_images == "norm"
    assert by_path(found)["norm"].layout is Layout.CHW
    for factory in (tiny_networks.vit, tiny_networks.convnext, tiny_networks.Equal):
        assert examined(factory()).mixes_images == ""


def test_measuring_is_deterministic() -> None:
    network = tiny_networks.swin()
    assert examined(network) == examined(network)


@pytest.mark.parametrize(
    "factory", [tiny_networks.vit, tiny_networks.registers, tiny_networks.swin, tiny_networks.convnext]
)
def test_maps_go_back_to_what_they_were(factory: object) -> None:
    network = factory()  # type: ignore[operator]
    layers = [layer for layer in examined(network).layers if layer.is_map]
    images = torch.randn(2, *_SHAPE)
    outputs = capture(network.eval(), images, [layer.path for layer in layers], logits=True).layers
    for layer in layers:
        output = outputs[layer.path].detach()
        maps = to_map(output, layer)
        assert maps.shape == (2, *layer.map_shape)
        assert prefix_of(output, layer).shape == (2, layer.channels, len(layer.prefix_tokens))
        assert torch.equal(replaced(output, layer, maps), output)
        assert torch.equal(replaced(torch.zeros_like(output), layer, maps, prefix_of(output, layer)), output)


@pytest.mark.parametrize(
    ("told", "names"),
    [
        (Tokens((4, 4), ("summary",)), ("summary",)),
        (Tokens((4, 4)), ("cls",)),
        (Tokens((2, 8), ("summary",)), ("summary",)),  # of as many positions
        (Tokens((4, 4), ("one", "other")), ("cls",)),  # of more tokens than there are
    ],
)
def test_what_a_source_tells_holds_where_the_probes_agree(told: Tokens, names: tuple[str, ...]) -> None:
    layers = by_path(examine(tiny_networks.vit().eval(), _SHAPE, told))
    for path in ("encoder.dropout", "encoder.layers.encoder_layer_1.mlp.0", "encoder.ln"):
        assert (layers[path].layout, layers[path].grid, layers[path].prefix_tokens) == (Layout.TOKENS, (4, 4), names)


@pytest.mark.parametrize(
    ("name", "grid", "prefix"),
    [
        ("deit_tiny_distilled_patch16_224", (14, 14), ("cls", "distill")),
        ("vit_tiny_patch16_224", (14, 14), ("cls",)),
        ("vit_base_patch16_siglip_224", (14, 14), ()),
    ],
)
def test_timm_tells_how_its_tokens_lie(name: str, grid: tuple[int, int], prefix: tuple[str, ...]) -> None:
    timm, settings = import_extra("timm"), ModelSettings.parse(f"net=timm:{name}")
    network = timm.create_model(name, depth=1)
    assert source_of(settings).find(settings).tokens(network) == Tokens(grid, prefix)


def test_the_loader_says_that_a_network_mixes_images(caplog: pytest.LogCaptureFixture, tmp_path: object) -> None:
    from striate_service.config import ModelSettings
    from striate_service.models.loading import load_model

    file = tmp_path / "mixing.pth"  # type: ignore[operator]
    torch.save(tiny_networks.BatchStatistics().state_dict(), file)
    settings = ModelSettings(
        name="mixing",
        architecture="tiny_networks:BatchStatistics",
        weights=str(file),
        preprocessing={"resize": 32, "crop": 32},
    )
    with caplog.at_level(logging.WARNING):
        load_model(settings)
    assert "depends on the other images" in caplog.text
