"""All of torchvision's networks for images load, with random weights. It takes long: `make models` runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.models.loading import load_model
from striate_service.models.torchvision_compat import import_torchvision

_MODELS = import_torchvision().models
_CLASSIFIERS = _MODELS.list_models(module=_MODELS)
_SEGMENTERS = _MODELS.list_models(module=_MODELS.segmentation)
_DETECTORS = _MODELS.list_models(module=_MODELS.detection)
_OF_ONE_SIZE = ("vit", "swin", "maxvit", "inception", "alexnet", "ssd300")
"""What takes no pictures as small as the others do."""

pytestmark = pytest.mark.skipif("ALL_MODELS" not in os.environ, reason="it takes long: make models")


@pytest.mark.parametrize("name", [*_CLASSIFIERS, *_SEGMENTERS, *_DETECTORS])
def test_it_loads(name: str, tmp_path: Path) -> None:
    is_classifier = name in _CLASSIFIERS
    arguments = {} if is_classifier else {"weights_backbone": None}
    torch.save(_MODELS.get_model(name, weights=None, num_classes=7, **arguments).state_dict(), tmp_path / "n.pth")
    preprocessing = None if name.startswith(_OF_ONE_SIZE) else PreprocessingSettings(resize=64, crop=64)
    loaded = load_model(
        ModelSettings(name="n", architecture=name, weights=str(tmp_path / "n.pth"), preprocessing=preprocessing)
    )
    assert len(loaded.description.classes) == (7 if is_classifier else 0)
    assert len(loaded.description.target_classes) == (0 if is_classifier else 7)
    assert loaded.description.layers
    (tmp_path / "n.pth").unlink()  # pytest keeps the folders of three runs
