"""timm's networks: timm:NAME, with a file of weights or, as the weights "timm", those that timm downloads.

timm knows of each network the size, normalization and crop of its images, and which of ImageNet's class lists it has.
"""

from __future__ import annotations

import difflib
import importlib
import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing, Tokens
from striate_service.models.errors import ModelError, in_short
from striate_service.models.fitting import fitted
from striate_service.models.sources.extras import import_extra
from striate_service.models.sources.heads import count_classes
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import StateDict, Weights

_PREFIX = "timm:"
_PUBLISHED = "timm"
_FILES = ("model.safetensors", "pytorch_model.bin")
"""How timm calls its weights on huggingface.co."""
_PATIENCE = 5
"""Seconds until huggingface.co must have answered before weights are fetched from there."""


def owns(model: ModelSettings) -> bool:
    return model.architecture.startswith(_PREFIX)


def find(model: ModelSettings) -> Architecture:
    name, timm = _name(model), import_extra("timm")
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        advice = f": did you mean {' or '.join(close)}?" if close else "."
        raise ModelError(f"timm has no model called {name!r}{advice}")

    def build(weights: Weights) -> nn.Module:
        arguments = dict(model.arguments)
        if "num_classes" not in arguments:
            classes = count_classes(lambda count: _create(name, arguments | {"num_classes": count}), weights.state)
            if classes is not None:
                arguments["num_classes"] = classes
            elif not _has_classifier(name, weights.state):
                arguments["num_classes"] = 0  # as of networks that were trained without classes
        return _create(name, arguments)

    return Architecture(build, translate=_with_present_names, tokens=_tokens)


def own_weights(model: ModelSettings) -> Weights | None:
    """Return the weights that timm publishes, from its cache or the network."""
    if model.weights != _PUBLISHED:
        return None
    if not owns(model):
        raise ModelError(f"timm publishes no weights for {model.architecture!r}, give a file.")
    timm, name = import_extra("timm"), _name(model)
    try:
        _check_reach(timm.get_pretrained_cfg(name).hf_hub_id)
        network = timm.create_model(name, pretrained=True, **model.arguments)
    except Exception as error:  # of several libraries for downloads
        raise ModelError(
            f"timm's weights for {name} could not be fetched ({in_short(_root(error), 100)}). Give this "
            f"machine access to huggingface.co, or fetch the file elsewhere and serve timm:{name}:FILE."
        ) from error
    return Weights(network.state_dict())


def metadata(model: ModelSettings, _weights: Weights) -> Metadata:
    timm = import_extra("timm")
    known = timm.get_pretrained_cfg(_name(model)).to_dict()
    size = model.arguments.get("img_size")
    given = {} if size is None else {"input_size": (3, *((size, size) if isinstance(size, int) else size))}
    config = timm.data.resolve_data_config(given, pretrained_cfg=known)
    subset = timm.data.infer_imagenet_subset(known)
    names = timm.data.ImageNetInfo(subset).label_descriptions() if subset else ()
    return Metadata(_preprocessing(config, model.arguments.get("in_chans")), _short(names))


def _short(names: Sequence[str]) -> tuple[str, ...]:
    """Return the first of each class's names ("tench" of "tench, Tinca tinca"), where no other class has it too."""
    first = [name.partition(",")[0] for name in names]
    count = Counter(first)
    return tuple(short if count[short] == 1 else name for short, name in zip(first, names, strict=True))


def _check_reach(repository: str | None) -> None:
    """Raise what keeps this machine from huggingface.co, at once: its client tries again and again for 90 seconds."""
    hub = importlib.import_module("huggingface_hub")
    if repository is None:  # weights at another address
        return
    name, _, revision = repository.partition("@")
    cached = (hub.try_to_load_from_cache(name, file, revision=revision or None) for file in _FILES)
    if not any(isinstance(file, str) for file in cached):
        hub.utils.get_session().head(hub.constants.ENDPOINT, timeout=_PATIENCE)


def _root(error: BaseException) -> BaseException:
    cause = error.__cause__ or error.__context__
    return error if cause is None else _root(cause)


def _create(name: str, arguments: dict[str, Any]) -> nn.Module:
    network: nn.Module = import_extra("timm").create_model(name, pretrained=False, **arguments)
    return network


def _name(model: ModelSettings) -> str:
    return model.architecture.removeprefix(_PREFIX)


def _has_classifier(name: str, state: StateDict) -> bool:
    classifiers = import_extra("timm").get_pretrained_cfg(name).classifier or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    return any(f"{each}.{kind}" in state for each in names for kind in ("weight", "bias", "fc.weight"))


def _with_present_names(state: StateDict, network: nn.Module) -> StateDict:
    """Have timm's own filter rename what others published, such as the authors' weights, where the names do not fit."""
    state = fitted(state, network.state_dict().keys())
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translate is None or state.keys() == network.state_dict().keys():
        return state
    translated: StateDict = translate(dict(state), network)
    return translated


def _tokens(network: nn.Module) -> Tokens | None:
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None:
        return None
    cls, distill, registers = (getattr(network, f"{name}_token", None) for name in ("cls", "dist", "reg"))
    names = ["cls"] * (cls is not None) + ["distill"] * (distill is not None)
    names += [f"reg{number}" for number in range(0 if registers is None else registers.shape[1])]
    agrees = len(names) == getattr(network, "num_prefix_tokens", len(names))
    return Tokens(tuple(grid), tuple(names) if agrees else None)


def _preprocessing(config: dict[str, Any], in_chans: int | None) -> Preprocessing:
    """Return a data config as `timm.data.create_transform` would carry it out."""
    channels, height, width = config["input_size"]
    channels = in_chans or channels
    scaled = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    squashes = config["crop_mode"] != "center"
    mean, std = (tuple(values)[:channels] for values in (config["mean"], config["std"]))
    return Preprocessing(
        resize=scaled if squashes or height != width else scaled[0],
        crop=height if height == width else (height, width),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=mean if len(mean) == channels else mean[:1] * channels,
        std=std if len(std) == channels else std[:1] * channels,
        keeps_proportions=not squashes,
    )
