"""How much a server keeps in its home folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_KINDS = {
    "icons": "icons",
    "unfinished": "unfinished",
    "examples": "examples",
    "bases": "bases",
    "graphs": "onnx",
    "labels": "labels.db",
    "monitors": "monitors.db",
}
"""What is kept, and its folder or file. What lies elsewhere (a bucket, a database server) is not counted."""


def store_sizes(home: Path) -> list[tuple[str, int, int]]:
    """Return each kind's name, its number of files and their bytes. Blocking."""
    found = []
    for kind, name in _KINDS.items():
        sizes = list(_file_sizes(home / name))
        found.append((kind, len(sizes), sum(sizes)))
    return found


def _file_sizes(path: Path) -> Iterator[int]:
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):  # it was deleted meanwhile, or there is none
            if file.is_file():
                yield file.stat().st_size
