"""Write files that other threads and processes read at the same time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing, creating its folder where necessary."""
    with _temporary_file(file, data) as temporary:
        os.replace(temporary, file)


def write_new(file: Path, data: bytes) -> None:
    """As `write_whole`, but never overwrite a file, even if another process creates it at the same time.

    Raises:
        FileExistsError: there is a file already.
    """
    with _temporary_file(file, data) as temporary:
        os.link(temporary, file)


@contextmanager
def _temporary_file(file: Path, data: bytes) -> Iterator[Path]:
    """Yield a temporary file with `data` in the same folder, and remove it at the end if it is still there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
