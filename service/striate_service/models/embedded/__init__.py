"""`parts`, the embedded model: a small GoogLeNet-style network trained on pictures that this package draws itself.

Its weights, icons and names ship in this package; `train.py` reproduces them. Importing
this imports neither torch nor training code.
"""

from __future__ import annotations

from pathlib import Path

from striate_service.models.embedded.classes import CLASSES

_HERE = Path(__file__).parent

INPUT_SIZE = 112
"""Pixels of the side of the pictures that it was trained on."""
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Per channel (RGB), of values from 0 to 1."""
WEIGHTS = _HERE / "parts.safetensors"
ICONS = _HERE / "icons"
"""Icons that this service rendered, laid out as its icon store lays them out."""
LABELS = _HERE / "labels.json"
"""Names of channels by layer, from network dissection."""


__all__ = ["CLASSES", "ICONS", "INPUT_SIZE", "LABELS", "MEAN", "STD", "WEIGHTS"]
