"""Sources of networks. To add one, write a module that implements `source.Source`, and list it in `SOURCES`."""

from __future__ import annotations

from striate_service.config import ModelSettings
from striate_service.models.sources import (
    efficientnet_lite0,
    embedded,
    exported,
    factory,
    googlenet_bvlc,
    timm,
    torchvision,
    transformers,
)
from striate_service.models.sources.source import Source

SOURCES: tuple[Source, ...] = (
    embedded,
    googlenet_bvlc,
    efficientnet_lite0,
    timm,
    transformers,
    exported,
    factory,  # owns every name with a colon: sources with their own prefix (NAME:...) go before it
    torchvision,  # owns every other name, so it is last
)
"""In the order in which they are asked."""


def source_of(model: ModelSettings) -> Source:
    """Return the source of `model.architecture`."""
    return next(source for source in SOURCES if source.owns(model))


__all__ = ["SOURCES", "source_of"]
