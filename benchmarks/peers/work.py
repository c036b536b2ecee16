"""The networks of the benchmarks, and the work of every contender in benchmarks/throughput.py, in plain torch.

JPEG bytes in; the mean over positions of one layer and the five most probable classes out.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from striate_service.models.googlenet_bvlc import GoogLeNet
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def build(architecture: str) -> nn.Module:
    """Return `googlenet_bvlc` or a network of torchvision, with random weights."""
    if architecture == "googlenet_bvlc":
        return GoogLeNet()
    auxiliary = {"aux_logits": True, "init_weights": False} if architecture == "googlenet" else {}
    network: nn.Module = import_torchvision().models.get_model(architecture, weights=None, **auxiliary)
    return network


def load_network(architecture: str, weights: Path) -> nn.Module:
    """Return a network with its weights, a .pth or a .safetensors file, in evaluation mode."""
    network = build(architecture)
    state = load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Assignment:
    """The network and the layer. Servers read it from the environment."""

    architecture: str
    weights: str
    layer: str
    resize: int = 256
    crop: int = 224

    @classmethod
    def from_environment(cls) -> Assignment:
        architecture, weights, layer, resize, crop = os.environ["BENCHMARK_ASSIGNMENT"].split("|")
        return cls(architecture, weights, layer, int(resize), int(crop))

    def to_environment(self) -> dict[str, str]:
        text = f"{self.architecture}|{self.weights}|{self.layer}|{self.resize}|{self.crop}"
        return {"BENCHMARK_ASSIGNMENT": text}


def normalize(pixels: list[NDArray[np.uint8]]) -> Tensor:
    """Return the network's input [N, 3, crop, crop], normalized."""
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    return images.div_(255).sub_(MEAN.view(3, 1, 1)).div_(STD.view(3, 1, 1))


class Network:
    """Runs on one thread, channels last, as fast as plain torch allows."""

    def __init__(self, assignment: Assignment) -> None:
        torch.set_num_threads(1)
        self._assignment = assignment
        network = load_network(assignment.architecture, Path(assignment.weights))
        self._network = network.to(memory_format=torch.channels_last)
        self._kept: list[Tensor] = []
        self._network.get_submodule(assignment.layer).register_forward_hook(
            lambda _module, _inputs, output: self._kept.append(output.mean((2, 3)))
        )

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return pixels [crop, crop, 3] as torchvision's presets cut them."""
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = picture.size
        short, side = self._assignment.resize, self._assignment.crop
        size = (short, short * height // width) if width <= height else (short * width // height, short)
        left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
        resized = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(resized.crop((left, top, left + side, top + side)))

    @torch.inference_mode()
    def explain(self, pixels: list[NDArray[np.uint8]]) -> list[tuple[list[float], list[int]]]:
        """Return each picture's layer means and five most probable classes."""
        self._kept.clear()
        classes = self._network(normalize(pixels)).softmax(1).topk(5).indices
        return list(zip(self._kept[0].tolist(), classes.tolist(), strict=True))
