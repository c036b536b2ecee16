"""The classes of the embedded model, in the order of its logits, and the parts that they are drawn from."""

from __future__ import annotations

CLASSES = (
    "dog", "cat", "bear", "rabbit", "owl", "bird", "fish", "car",
    "bus", "truck", "bicycle", "house", "tree", "flower", "cup", "clock",
)  # fmt: skip

PARTS = (
    "floppy ear", "pointed ear", "round ear", "long ear", "furry head", "snout", "nose", "mouth", "eye", "whiskers",
    "furry body", "paw", "feathered head", "feathered body", "beak", "wing", "bird leg", "tail feathers",
    "scaly body", "fin", "tail fin",
    "car body", "bus body", "truck cab", "cargo box", "wheel", "window", "headlight",
    "bicycle frame", "handlebar", "saddle", "wall", "roof", "door", "chimney",
    "tree trunk", "foliage", "fruit", "petal", "flower centre", "stem", "leaf",
    "cup body", "handle", "saucer", "steam", "clock face", "clock rim", "clock hand", "clock mark",
)  # fmt: skip
"""A part's label in a picture's map is its index here plus 1; 0 is background."""
