"""Optimizations that have begun, on this server's own disk, so that a restart loses no more than a slice of them."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate_service.stores.files import write_whole

_KEPT_DAYS = 7  # what nobody asked for again by then; at 128 pixels 0.6 MB each
_DAY = 86400.0

Arrays = Mapping[str, NDArray[np.generic]]


class Unfinished:
    """The arrays of each by name, as files of a folder that only this server writes to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str) -> Arrays | None:
        """Return what was saved; None where there is nothing, or where it is damaged."""
        try:
            with np.load(self._file(name), allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # damaged: its checksums tell
            self.delete(name)
            return None

    def save(self, name: str, arrays: Arrays) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_whole(self._file(name), buffer.getvalue())

    def delete(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)

    def forget_old(self) -> None:
        """Delete what nobody asked for again."""
        for file in self._folder.rglob("*.npz"):
            if file.stat().st_mtime < time.time() - _KEPT_DAYS * _DAY:
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npz"
