"""The embedded model's architecture and, where they are, its weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from striate_service.config import EMBEDDED
from striate_service.models.embedded import CLASSES, ICONS, INPUT_SIZE, LABELS, MEAN, STD, WEIGHTS
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import PARTS, SCENERY, draw
from striate_service.models.layers import capture, describe_layers
from striate_service.models.loading import load_model
from striate_service.stores.folder import Folder
from striate_service.stores.icons import IconAddress, IconStore
from striate_service.techniques.objective import Channel
from striate_service.techniques.recipe import SOFT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_GOOGLENET_OPERATIONS = 3.0e9  # floating-point operations of torchvision's googlenet for one picture of 224 x 224
_MIXED = ("mixed3a", "mixed3b", "mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed5a", "mixed5b")

needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="the weights have not been trained yet")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return parts().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval().requires_grad_(False)


def test_layers_have_googlenets_names_and_resolutions(network: nn.Module) -> None:
    layers = {layer.path: layer for layer in describe_layers(network, (3, INPUT_SIZE, INPUT_SIZE))}
    assert {"conv1", "conv2", "conv3", *_MIXED, "fc"} <= layers.keys()
    for path, positions in (("mixed3b", 28), ("mixed4d", 14), ("mixed5b", 7)):
        assert layers[path].shape[1:] == (positions, positions)


def test_a_forward_costs_less_than_a_quarter_of_googlenets(network: nn.Module) -> None:
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE))
    assert counter.get_total_flops() < _GOOGLENET_OPERATIONS / 4


def test_it_fits_its_size(network: nn.Module) -> None:
    assert 2 * sum(tensor.numel() for tensor in network.state_dict().values()) < 3 * 2**20


def test_relus_leave_captured_layers_alone(network: nn.Module) -> None:
    images = torch.randn(1, 3, INPUT_SIZE, INPUT_SIZE)
    paths = ["conv1.conv", "conv1"]
    captured = capture(network, images, paths).layers
    assert captured["conv1.conv"].min() < 0 <= captured["conv1"].min()


def test_other_sizes_work(network: nn.Module) -> None:
    assert network(torch.zeros(2, 3, 160, 128)).shape == (2, len(CLASSES))


@needs_weights
def test_the_weights_recognize_fresh_pictures(trained: nn.Module) -> None:
    drawn = [draw(np.random.default_rng([2**31, i])) for i in range(100)]
    images = torch.from_numpy(np.stack([picture.image for picture in drawn])).permute(0, 3, 1, 2) / 255
    inputs = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    right = trained(inputs).argmax(1) == torch.tensor([picture.label for picture in drawn])
    assert right.float().mean() >= 0.95


@pytest.mark.skipif(not LABELS.exists(), reason="the names have not been made yet")
def test_the_names_are_those_of_these_weights() -> None:
    shipped = json.loads(LABELS.read_text(encoding="utf-8"))
    assert shipped["model_version"] == load_model(EMBEDDED).description.version
    assert {label["text"] for label in shipped["labels"]} <= {*PARTS, *SCENERY}
    assert {label["layer"] for label in shipped["labels"]} <= set(_MIXED)


def test_icons_ship_with_the_weights_and_are_found_as_if_rendered_here(network: nn.Module, tmp_path: Path) -> None:
    store = IconStore(Folder(tmp_path), [ICONS])
    version = load_model(EMBEDDED).description.version
    layers = {layer.path: layer for layer in describe_layers(network, (3, INPUT_SIZE, INPUT_SIZE))}
    for layer in _MIXED:
        for channel in range(layers[layer].channels):
            icon = store.get(IconAddress(version, layer, Channel(channel).text, SOFT.text))
            assert icon is not None, (layer, channel)
    assert sum(file.stat().st_size for file in ICONS.rglob("*.webp")) < 4 * 2**20
