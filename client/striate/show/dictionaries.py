"""A semantic dictionary that can be shown."""

from __future__ import annotations

from pathlib import Path

from striate.results.dictionaries import SemanticDictionaryData
from striate.show.html import page


class SemanticDictionary(SemanticDictionaryData):
    """What each position of a layer means, in neurons."""

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        return page(self.view.name or self.layer.name, [self], path)
