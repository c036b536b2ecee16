"""torchvision's networks, by torchvision's names, with the weights that torchvision publishes or a file."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing
from striate_service.models.detectors import as_network
from striate_service.models.errors import ModelError
from striate_service.models.sources.heads import count_classes
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.models.weights import StateDict, Weights, file_version

# Two architectures have auxiliary classifiers, which are used only in training. Their published weights were trained on
# inputs of another normalization, which the network then makes of the usual one (`transform_input`); nobody else's
# were.
_AUXILIARY_CLASSIFIERS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""The names in the weights that torchvision publishes for its DenseNets: denselayer1.norm.1 for denselayer1.norm1."""
_SSDS = {
    "ssd300_vgg16": (300, (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
    "ssdlite320_mobilenet_v3_large": (320, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Side, mean and std of what they see, as their own code makes images ready; other detectors' are alike."""
_NOT_SERVED = {
    "video": "takes videos, and only images can be given.",
    "optical_flow": "takes two images, and only one can be given.",
    "quantization": "is quantized, and gives no gradients: serve the network that it was made from.",
}
"""By the folder of torchvision that has them."""


def owns(_model: ModelSettings) -> bool:
    """Own every name, so that `find` refuses a mistyped one and suggests similar names."""
    return True


def find(model: ModelSettings) -> Architecture:
    name = model.architecture
    _check_is_served(name)
    models = import_torchvision().models
    auxiliary = _AUXILIARY_CLASSIFIERS.get(name, ())
    is_detector = name in _detectors()
    is_segmenter = name not in _classifiers() and not is_detector

    def build(weights: Weights) -> nn.Module:
        arguments: dict[str, Any] = {"weights": None}
        if auxiliary:
            transform = _published(name, weights) is not None
            arguments |= {"aux_logits": False, "init_weights": False, "transform_input": transform}
        if is_detector:
            arguments |= {"weights_backbone": None}
        if is_segmenter:
            arguments |= {"weights_backbone": None, "aux_loss": any(key.startswith("aux_") for key in weights.state)}
        if side := _trained_side(weights.state):
            arguments |= {"image_size": side}
        arguments |= model.arguments
        if "num_classes" not in arguments:
            classes = count_classes(lambda count: models.get_model(name, num_classes=count, **arguments), weights.state)
            arguments |= {} if classes is None else {"num_classes": classes}
        network: nn.Module = models.get_model(name, **arguments)
        return as_network(network) if is_detector else network

    return Architecture(build, auxiliary, _with_present_names)


def own_weights(model: ModelSettings) -> Weights | None:
    """Return torchvision's default weights if the setting is "torchvision"; downloads them to torch.hub's folder."""
    if model.weights != "torchvision":
        return None
    if model.architecture not in [*_classifiers(), *_segmenters(), *_detectors()]:
        raise ModelError(f"torchvision publishes no weights for {model.architecture!r}, give a file.")
    published = import_torchvision().models.get_model_weights(model.architecture).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
    try:
        state = published.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"torchvision's weights for {model.architecture} could not be fetched ({reason}). Fetch {published.url} "
            f"elsewhere, and serve {model.architecture}:FILE.pth."
        ) from error
    return Weights(state, file)


def metadata(model: ModelSettings, weights: Weights) -> Metadata:
    """Return what torchvision publishes with these weights; for others, with its default weights."""
    name = model.architecture
    if name not in _classifiers():
        names = import_torchvision().models.get_model_weights(name).DEFAULT.meta["categories"]
        return Metadata(_preset_of_detector(name) if name in _detectors() else None, tuple(names))
    entries = import_torchvision().models.get_model_weights(model.architecture)
    published = _published(model.architecture, weights) or entries.DEFAULT
    preset = _preset(published)
    if side := _trained_side(weights.state):
        preset = replace(preset, resize=side, crop=side) if preset.crop != side else preset
    return Metadata(preset, tuple(published.meta["categories"]))


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes, in the usual order."""
    return tuple(import_torchvision().models.ResNet18_Weights.DEFAULT.meta["categories"])


def _check_is_served(name: str) -> None:
    models = import_torchvision().models
    known = [*_classifiers(), *_segmenters(), *_detectors()]
    if name in known:
        return
    for kind, problem in _NOT_SERVED.items():
        if name in models.list_models(module=getattr(models, kind)):
            raise ModelError(f"{name} {problem}")
    close = difflib.get_close_matches(name, known, n=3)
    advice = f"did you mean {' or '.join(close)}?" if close else "use package.module:factory for one of your own."
    raise ModelError(f"torchvision has no network called {name!r}: {advice}")


def _classifiers() -> list[str]:
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models)
    return names


def _segmenters() -> list[str]:
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models.segmentation)
    return names


def _detectors() -> list[str]:
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models.detection)
    return names


def _with_present_names(state: StateDict, _network: nn.Module) -> StateDict:
    if not any(_OLD_DENSENET.search(name) for name in state):
        return state
    return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in state.items()}


def _published(name: str, weights: Weights) -> Any:
    """Return torchvision's entry of the weights that it publishes, if these are such; None: they are somebody's own.

    Names of its files end in the first 8 digits of the file's SHA-256: resnet18-f37072fd.pth.
    """
    if weights.file is None:
        return None
    digits = file_version(weights.file)[:8]
    entries = import_torchvision().models.get_model_weights(name)
    return next((entry for entry in entries if entry.url.rpartition("-")[2][:8] == digits), None)


def _trained_side(state: StateDict) -> int | None:
    """Return the side of the pictures that torchvision's ViTs were trained on, by their position embeddings.

    Its weights of one architecture differ in it: vit_h_14's are of 518 and of 224.
    """
    ends = ("encoder.pos_embedding", "conv_proj.weight")
    found = [next((value for key, value in state.items() if key.endswith(end)), None) for end in ends]
    positions, patches = found
    if positions is None or patches is None or positions.dim() != 3 or patches.dim() != 4:
        return None
    return math.isqrt(max(positions.shape[1] - 1, 0)) * patches.shape[-1] or None


def _preset(published: Any) -> Preprocessing:
    preset = published.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    return Preprocessing(resize, crop, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))


def _preset_of_detector(name: str) -> Preprocessing:
    """Return what a detector does with images by itself, but for padding: SSDs distort them."""
    if name in _SSDS:
        side, mean, std = _SSDS[name]
        return Preprocessing((side, side), (side, side), "bilinear", mean, std)
    side = 320 if "_320_" in name else 800
    return Preprocessing(side, side, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
