"""The error of loading a model."""

from __future__ import annotations


class ModelError(Exception):
    """A model that cannot be loaded. Its text tells the operator why and what to do."""
