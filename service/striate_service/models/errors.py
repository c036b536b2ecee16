"""The error of loading a model."""

from __future__ import annotations

_MOST_CHARACTERS = 300


class ModelError(Exception):
    """A model that cannot be loaded. Its text tells the operator why and what to do, in at most 300 characters."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3].rstrip()}...")


def in_short(error: BaseException, most: int = 160) -> str:
    """Return what an exception of any library says: its first line, or its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."
