"""`googlenet_bvlc`, the original GoogLeNet. Its weights do not ship with this package: the operator brings the file."""

from __future__ import annotations

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing
from striate_service.models.googlenet_bvlc import GoogLeNet
from striate_service.models.sources.heads import count_classes
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.sources.torchvision import imagenet_classes
from striate_service.models.weights import Weights

_IMAGENET = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_ALIASES = {"conv1": "conv2d0", "conv2_reduce": "conv2d1", "conv2": "conv2d2"}
"""The article's names of what comes before mixed3a."""


def owns(model: ModelSettings) -> bool:
    return model.architecture == "googlenet_bvlc"


def find(_model: ModelSettings) -> Architecture:
    return Architecture(lambda weights: GoogLeNet(count_classes(GoogLeNet, weights.state) or 1000), aliases=_ALIASES)


def own_weights(_model: ModelSettings) -> Weights | None:
    return None


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata(_IMAGENET, imagenet_classes())
