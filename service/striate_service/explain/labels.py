"""The name of a neuron or of a group."""

from __future__ import annotations

from dataclasses import dataclass

from striate_service.stores.labels import LabelSource, StoredLabel


@dataclass(frozen=True)
class Label:
    """The name of a neuron or of a group."""

    text: str = ""
    """Empty: nobody has named it."""
    source: LabelSource = LabelSource.NONE
    score: float | None = None
    """How good the name is by its source's own measure, at most 1. None: not measured."""
    author: str = ""

    @classmethod
    def of(cls, stored: StoredLabel) -> Label:
        return cls(stored.text, stored.source, stored.score, stored.author)


NO_LABEL = Label()
UNAVAILABLE = Label(source=LabelSource.UNAVAILABLE)
