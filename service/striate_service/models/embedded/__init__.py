"""`parts`, the embedded model: a small GoogLeNet-style network, trained on pictures that this package draws.

Its weights, icons and names ship with it: `train.py` reproduces the weights, `icons.py` the icons, and `card.py` the
names. `parts_vit` is a vision transformer that `parts` has taught (`train_vit.py`), for what is said of transformers to
be checked. This module imports no torch, since the server's own process reads it.
"""

from __future__ import annotations

from pathlib import Path

from striate_service.models.description import Preprocessing
from striate_service.models.embedded.classes import CLASSES

_HERE = Path(__file__).parent

INPUT_SIZE = 112
"""The side, in pixels, of the pictures that both were trained on."""
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Per channel (RGB), of values from 0 to 1."""
PREPROCESSING = Preprocessing(INPUT_SIZE, INPUT_SIZE, "bilinear", MEAN, STD)
WEIGHTS = _HERE / "parts.safetensors"
VIT_WEIGHTS = _HERE / "parts_vit.safetensors"
ICONS = _HERE / "icons"
"""Icons in the folder layout of this service's icon store."""
LABELS = _HERE / "labels.json"
"""Names of channels by layer, from network dissection."""
VIT_LABELS = _HERE / "vit_labels.json"


__all__ = [
    "CLASSES",
    "ICONS",
    "INPUT_SIZE",
    "LABELS",
    "MEAN",
    "PREPROCESSING",
    "STD",
    "VIT_LABELS",
    "VIT_WEIGHTS",
    "WEIGHTS",
]
