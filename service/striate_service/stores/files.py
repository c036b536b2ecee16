"""Writing files that others read meanwhile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing, making its folder where need be."""
    with _written_beside(file, data) as temporary:
        os.replace(temporary, file)


def write_new(file: Path, data: bytes) -> None:
    """As `write_whole`, but never over another file, whoever writes it at the same time.

    Raises:
        FileExistsError: there is a file already.
    """
    with _written_beside(file, data) as temporary:
        os.link(temporary, file)


@contextmanager
def _written_beside(file: Path, data: bytes) -> Iterator[Path]:
    """Write a temporary file in the same folder; what of it is still there at the end is removed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
