"""The methods by which groups are found: their names, and what they allow. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["nmf", "semi-nmf", "pca", "fast-ica", "k-means", "dictionary-learning"]
"""The last four are scikit-learn's, with seeds and bounded iterations."""
METHODS: tuple[Method, ...] = get_args(Method)

MethodChoice = Literal["auto"] | Method
""" "auto": "nmf" where activations are non-negative, or are rectified; else "semi-nmf"."""


def takes_negatives(method: Method) -> bool:
    """Whether activations, and so directions, may be negative."""
    return method != "nmf"


def has_signed_strengths(method: Method) -> bool:
    """Whether a group may be present with a negative strength."""
    return method in ("pca", "fast-ica")
