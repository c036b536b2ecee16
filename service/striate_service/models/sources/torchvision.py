"""torchvision's classifiers, by torchvision's names, with the weights that torchvision publishes or a file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing
from striate_service.models.errors import ModelError
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.models.weights import Weights, file_version

# Two architectures have auxiliary classifiers, which are used only in training. When torchvision loads its own weights
# for these two, it passes these arguments itself.
_AUXILIARY_CLASSIFIERS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
_PRETRAINED_ARGUMENTS = {"aux_logits": False, "transform_input": True, "init_weights": False}


def owns(_model: ModelSettings) -> bool:
    """Own every name, so that `find` refuses a mistyped one and suggests similar names."""
    return True


def find(model: ModelSettings) -> Architecture:
    name, known = model.architecture, _classifiers()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else "use package.module:factory for one of your own."
        raise ModelError(f"torchvision has no classifier called {name!r}: {advice}")
    models = import_torchvision().models
    auxiliary = _AUXILIARY_CLASSIFIERS.get(name, ())
    arguments = _PRETRAINED_ARGUMENTS if auxiliary else {}
    return Architecture(lambda classes: models.get_model(name, num_classes=classes, **arguments), auxiliary)


def own_weights(model: ModelSettings) -> Weights | None:
    """Return torchvision's default weights if the setting is "torchvision"; downloads them to torch.hub's folder."""
    if model.weights != "torchvision":
        return None
    if model.architecture not in _classifiers():
        raise ModelError(f"torchvision publishes no weights for {model.architecture!r}, give a file.")
    published = import_torchvision().models.get_model_weights(model.architecture).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
    try:
        state = published.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"torchvision's weights for {model.architecture} could not be fetched from {published.url} ({reason}). "
            f"Either give this machine access to it, or fetch the file elsewhere and put it at {file}, or serve it as "
            f"{model.architecture}:FILE.pth."
        ) from error
    return Weights(state, file_version(file))


def metadata(model: ModelSettings, version: str) -> Metadata:
    """Return what torchvision publishes with the weights of this version; for others, with its default weights."""
    entries = import_torchvision().models.get_model_weights(model.architecture)
    same = (entry for entry in entries if _hash_in_name(entry) == version[:8])
    published = next(same, entries.DEFAULT)
    return Metadata(_preset(published), tuple(published.meta["categories"]))


def _classifiers() -> list[str]:
    models = import_torchvision().models
    names: list[str] = models.list_models(module=models)
    return names


def _hash_in_name(entry: Any) -> str:
    """Return the first 8 digits of the file's SHA-256, in which torchvision's file names end: resnet18-f37072fd.pth."""
    return str(entry.url.rpartition("-")[2][:8])


def _preset(published: Any) -> Preprocessing:
    preset = published.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    return Preprocessing(resize, crop, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))
