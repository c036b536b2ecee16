"""From a model's settings to a network that is ready to explain: architecture, weights, preprocessing, class names."""

from __future__ import annotations

import difflib
import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from striate_service.config import ModelSettings
from striate_service.models import embedded
from striate_service.models.description import ModelDescription, Preprocessing
from striate_service.models.embedded.network import parts as build_parts
from striate_service.models.layers import describe_layers
from striate_service.models.torchvision_compat import import_torchvision

# torchvision sets these itself when it loads its own weights. The auxiliary classifiers serve training only.
_AUXILIARY_CLASSIFIERS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
_PRETRAINED_ARGUMENTS = {"aux_logits": False, "transform_input": True, "init_weights": False}

StateDict = dict[str, Tensor]


class ModelError(Exception):
    """A model that cannot be loaded. Its text tells the operator why and what to do."""


@dataclass(frozen=True)
class LoadedModel:
    description: ModelDescription
    network: nn.Module
    """In evaluation mode, on its device, channels last; its parameters require no gradients."""


@dataclass(frozen=True)
class _Architecture:
    """What is known of a network before its weights are."""

    build: Callable[[int], nn.Module]
    """From the number of classes."""
    unused_weights: tuple[str, ...] = ()
    """Prefixes in a state dict of what `build` leaves out."""


@dataclass(frozen=True)
class _Weights:
    state: StateDict
    version: str
    classes: tuple[str, ...]
    """Empty where the weights do not tell."""
    preprocessing: Preprocessing | None


def load_model(settings: ModelSettings, device: str = "cpu") -> LoadedModel:
    """Build the network that `settings` names, with its weights, on `device`.

    Raises:
        ModelError: where the architecture is unknown, or the weights cannot be read, fetched or fitted to it.
    """
    architecture = _find_architecture(settings.architecture)
    weights = _read_weights(settings)
    preprocessing = _choose_preprocessing(settings, weights)
    class_count = _count_classes(architecture, weights.state)
    network = _with_weights(architecture, weights.state, class_count, settings)
    layers = describe_layers(network, (3, preprocessing.crop, preprocessing.crop))
    description = ModelDescription(
        name=settings.name,
        version=weights.version,
        architecture=settings.architecture,
        preprocessing=preprocessing,
        classes=_class_names(settings, weights, class_count),
        layers=layers,
    )
    return LoadedModel(description, cast(Any, network).to(device=device, memory_format=torch.channels_last))


def _find_architecture(name: str) -> _Architecture:
    if name == "parts":
        return _Architecture(build_parts)
    if ":" in name:
        return _Architecture(_import_factory(name))
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else "use package.module:factory for one of your own."
        raise ModelError(f"torchvision has no classifier called {name!r}: {advice}")
    auxiliary = _AUXILIARY_CLASSIFIERS.get(name, ())
    arguments = _PRETRAINED_ARGUMENTS if auxiliary else {}
    return _Architecture(lambda classes: models.get_model(name, num_classes=classes, **arguments), auxiliary)


def _import_factory(name: str) -> Callable[[int], nn.Module]:
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"the architecture {name!r} cannot be imported: {error}") from error
    return lambda _classes: factory()


def _read_weights(settings: ModelSettings) -> _Weights:
    if settings.weights == "embedded":
        if settings.architecture != "parts":
            raise ModelError(f"{settings.name}: only the architecture 'parts' has embedded weights, give a file.")
        return _Weights(load_file(embedded.WEIGHTS), _sha256(embedded.WEIGHTS), embedded.CLASSES, _PARTS_PREPROCESSING)
    if settings.weights == "torchvision":
        return _download(settings.architecture)
    path = Path(settings.weights).expanduser()
    if not path.is_file():
        raise ModelError(f"{settings.name}: there is no weights file {path}.")
    version = _sha256(path)
    state = _read_state(path)
    if settings.architecture == "parts":
        return _Weights(state, version, embedded.CLASSES, _PARTS_PREPROCESSING)
    published = None if ":" in settings.architecture else _published_weights(settings.architecture, version)
    classes, preprocessing = (_classes(published), _preset(published)) if published else ((), None)
    return _Weights(state, version, classes, preprocessing)


_PARTS_PREPROCESSING = Preprocessing(embedded.INPUT_SIZE, embedded.INPUT_SIZE, "bilinear", embedded.MEAN, embedded.STD)


def _read_state(path: Path) -> StateDict:
    """Read a state dict, also one inside a training checkpoint or saved from DataParallel."""
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes provoke
        raise ModelError(
            f"{path} cannot be read as weights: {error}. It should be a state dict, saved by "
            "torch.save(model.state_dict(), path) or by safetensors."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state dict (a dict of tensors by parameter name).")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _download(architecture: str) -> _Weights:
    models = import_torchvision().models
    if architecture == "parts" or ":" in architecture or architecture not in models.list_models(module=models):
        raise ModelError(f"torchvision publishes no weights for {architecture!r}, give a file.")
    published = models.get_model_weights(architecture).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
    try:
        state = published.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"torchvision's weights for {architecture} could not be fetched from {published.url} ({reason}). Either "
            f"give this machine access to it, or fetch the file elsewhere and put it at {file}, or serve it as "
            f"{architecture}:FILE.pth."
        ) from error
    return _Weights(state, _sha256(file), _classes(published), _preset(published))


def _published_weights(architecture: str, sha256: str) -> Any:
    """Return torchvision's entry for a file that is its own (its file names end in the hash), else its default one."""
    entries = import_torchvision().models.get_model_weights(architecture)
    own = (entry for entry in entries if entry.url.rpartition("-")[2].startswith(sha256[:8]))
    return next(own, entries.DEFAULT)


def _classes(published: Any) -> tuple[str, ...]:
    return tuple(published.meta["categories"])


def _preset(published: Any) -> Preprocessing:
    preset = published.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    return Preprocessing(resize, crop, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))


def _choose_preprocessing(settings: ModelSettings, weights: _Weights) -> Preprocessing:
    if settings.preprocessing is not None:
        return Preprocessing(**settings.preprocessing.model_dump())
    if weights.preprocessing is None:
        raise ModelError(
            f"{settings.name}: nothing tells how to preprocess images for {settings.architecture}. Set `preprocessing` "
            "(resize, crop, mean, std) for this model in the configuration file."
        )
    return weights.preprocessing


def _with_weights(
    architecture: _Architecture, state: StateDict, class_count: int, settings: ModelSettings
) -> nn.Module:
    used = {key: value for key, value in state.items() if not key.startswith(architecture.unused_weights or ("\0",))}
    network = architecture.build(class_count)
    try:
        network.load_state_dict(used)
    except RuntimeError as error:
        raise ModelError(f"the weights {settings.weights} do not fit {settings.architecture}: {error}") from error
    return network.eval().requires_grad_(False).float()


def _count_classes(architecture: _Architecture, state: StateDict) -> int:
    """A classifier's last parameter is its last layer's bias (or weight), whose first extent is the classes."""
    with torch.device("meta"):  # no memory, no initialization: only names are wanted
        name, parameter = list(architecture.build(1).named_parameters())[-1]
    return len(state.get(name, parameter))


def _class_names(settings: ModelSettings, weights: _Weights, count: int) -> tuple[str, ...]:
    if settings.classes is not None:
        try:
            names = tuple(settings.classes.expanduser().read_text(encoding="utf-8").split("\n"))
        except OSError as error:
            raise ModelError(f"{settings.name}: the class names cannot be read: {error}") from error
        names = tuple(name.strip() for name in names if name.strip())
        if len(names) != count:
            raise ModelError(f"{settings.classes} names {len(names)} classes, but {settings.name} has {count}.")
        return names
    if len(weights.classes) == count:
        return weights.classes
    return tuple(f"class {index}" for index in range(count))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
