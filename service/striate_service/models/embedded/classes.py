"""The classes of the embedded model."""

from __future__ import annotations

CLASSES = (
    "dog", "cat", "bear", "rabbit", "owl", "bird", "fish", "butterfly", "car", "bus",
    "truck", "bicycle", "boat", "house", "church", "tree", "flower", "cup", "teapot", "clock",
)  # fmt: skip
"""By logit."""
