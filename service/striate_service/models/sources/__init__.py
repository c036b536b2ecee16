"""Where networks come from. A new source is a module that answers as `source.Source` says, and a line in `SOURCES`."""

from __future__ import annotations

from striate_service.config import ModelSettings
from striate_service.models.sources import embedded, factory, torchvision
from striate_service.models.sources.source import Source

SOURCES: tuple[Source, ...] = (
    embedded,
    factory,  # owns every name with a colon: a source with a prefix of its own (NAME:...) goes before it
    torchvision,  # owns every other name: last
)
"""In the order in which they are asked."""


def source_of(model: ModelSettings) -> Source:
    """Return the source that `model.architecture` belongs to."""
    return next(source for source in SOURCES if source.owns(model))


__all__ = ["SOURCES", "source_of"]
