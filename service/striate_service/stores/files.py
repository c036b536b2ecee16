"""Write files that other threads and processes read at the same time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(file: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that readers see all of it or nothing, creating its folder where necessary.

    Args:
        durable: also if the machine loses power. It costs some milliseconds of the disk, which what can be made again
            need not.
    """
    with _temporary_file(file, data, durable) as temporary:
        os.replace(temporary, file)


def write_new(file: Path, data: bytes, *, durable: bool = True) -> None:
    """As `write_whole`, but never overwrite a file, even if another process creates it at the same time.

    Raises:
        FileExistsError: there is a file already.
    """
    with _temporary_file(file, data, durable) as temporary:
        os.link(temporary, file)


@contextmanager
def _temporary_file(file: Path, data: bytes, durable: bool) -> Iterator[Path]:
    """Yield a temporary file with `data` in the same folder, and remove it at the end if it is still there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.parent / f"{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as stream:  # not mkstemp, whose files nobody else may read, whatever the umask says
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
