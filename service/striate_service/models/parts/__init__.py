"""`parts`: the embedded model, trained by this project on pictures that it draws, so that every part's place is known.

It answers on a machine that has never been online, and it is ground truth: whether a dictionary or a group names the
right part can be measured here.
"""

from __future__ import annotations

from pathlib import Path

from striate_service.models.parts.classes import CLASSES

INPUT_SIZE = 128
"""Pixels of a picture's sides."""
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
WEIGHTS = Path(__file__).with_name("parts.safetensors")
ICONS = Path(__file__).with_name("icons")
"""Icons rendered by this service, laid out as the icon store lays them out."""
LABELS = Path(__file__).with_name("labels.json")
"""Names of neurons: {"model_version": ..., "labels": [{layer, channel, text, source, score}]}."""

__all__ = ["CLASSES", "ICONS", "INPUT_SIZE", "LABELS", "MEAN", "STD", "WEIGHTS"]
