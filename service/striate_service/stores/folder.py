"""A folder of small files that several servers share: a local directory, or a bucket (s3://, gs://, ... by fsspec).

Readers see a file whole or not at all: an object store writes whole objects, and a local file gets its name only when
it is complete.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from striate_service.stores.files import write_new, write_whole


@dataclass(frozen=True)
class Entry:
    """A file in a folder."""

    path: str
    """Relative to the folder."""
    size: int
    """In bytes."""
    modified: float
    """Seconds since 1970."""


class Folder:
    def __init__(self, url: str | Path) -> None:
        """Open a folder, which need not exist.

        Raises:
            ImportError: the URL's protocol needs a package that is not installed.
            ValueError: the URL's protocol is unknown.
        """
        # Without fsspec's cache of listings: other servers write here too.
        self._files, self._root = url_to_fs(str(url), use_listings_cache=False)
        self._local = isinstance(self._files, LocalFileSystem)

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is no file."""
        try:
            data: bytes = self._files.cat_file(self._full(path))
        except FileNotFoundError:
            return None
        return data

    def write(self, path: str, data: bytes) -> None:
        """Write a file. In a local folder it may be lost with the machine's power: the store's readers check."""
        if self._local:
            write_whole(Path(self._full(path)), data, durable=False)
        else:
            self._files.pipe_file(self._full(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Create a file, and return whether it was new: of several servers, one succeeds."""
        try:
            if self._local:
                write_new(Path(self._full(path)), data, durable=False)
            else:
                self._files.pipe_file(self._full(path), data, mode="create")
        except FileExistsError:
            return False
        return True

    def delete(self, path: str) -> None:
        """Delete a file if it exists."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._full(path))

    def list(self, below: str = "") -> list[Entry]:
        """Return the files in a subfolder, at any depth."""
        found = self._files.find(self._full(below), detail=True)
        return [
            Entry(path.removeprefix(self._root).lstrip("/"), int(info["size"]), _modified(info))
            for path, info in found.items()
        ]

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _modified(info: dict[str, Any]) -> float:
    """Return the modification time, which file systems name differently: S3 LastModified, GCS mtime or updated."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, str):
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        if value is not None:
            return float(value)
    return 0.0
