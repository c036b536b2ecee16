"""Unfinished renderings on this server's disk, so that a restart loses at most one slice of each."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate_service.stores.files import write_whole

_KEPT_DAYS = 7  # since the last slice; 0.6 MB each at 128 pixels
_DAY = 86400.0
_FORMAT = 1  # of files; those before it had no number
_FORMAT_NAME = "format"

Arrays = Mapping[str, NDArray[np.generic]]


class Unfinished:
    """Arrays by name, as files in a folder that only this server writes to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str) -> Arrays | None:
        """Return the saved arrays; None where there are none, or the file is damaged, or of a later version."""
        try:
            with np.load(self._file(name), allow_pickle=False) as file:
                arrays = dict(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # damaged, by its checksums
            self.delete(name)
            return None
        return arrays if int(arrays.pop(_FORMAT_NAME, 0)) <= _FORMAT else None

    def save(self, name: str, arrays: Arrays) -> None:
        """Save arrays, if the disk takes them."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, **{_FORMAT_NAME: np.array(_FORMAT)})
        with suppress(OSError):  # a full or read-only disk: a restart begins anew
            write_whole(self._file(name), buffer.getvalue(), durable=False)

    def delete(self, name: str) -> None:
        with suppress(OSError):  # it is missing, or the disk is read-only
            self._file(name).unlink()

    def forget_old(self) -> None:
        """Delete files that are older than `_KEPT_DAYS`."""
        for file in self._folder.rglob("*.npz"):
            if file.stat().st_mtime < time.time() - _KEPT_DAYS * _DAY:
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npz"
