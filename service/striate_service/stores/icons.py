"""Icons as files: content-addressed, so that an icon once rendered is found by whoever asks for the same thing again.

An icon's address is the version of the weights, the layer, the objective and the recipe that it was rendered with. Its
file is `icons/VERSION/LAYER/ADDRESS.webp` below the store's folder.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate_service.stores.files import write_whole

_REMEMBERED = (
    4096  # icons in memory, about 24 MB: to check a dictionary's hundred by decoding takes longer than the rest
)
_WEBP_QUALITY = 90  # at 128 pixels: about 6 KB, and no difference that the eye finds


@dataclass(frozen=True)
class IconAddress:
    """What an icon shows, and how it was made."""

    version: str
    """SHA-256 of the weights."""
    layer: str
    """The layer's path."""
    objective: str
    """Canonical text of the objective: "channel:12", "direction:<SHA-256 of its components>"."""
    recipe: str
    """Canonical text of the recipe, its version and parameters included."""

    @property
    def path(self) -> Path:
        digest = hashlib.sha256(f"{self.objective}\n{self.recipe}".encode()).hexdigest()
        return Path(self.version[:16], self.layer, f"{digest[:32]}.webp")


class IconStore:
    """Icons below one folder, and those that ship with the package, which are found as if rendered here."""

    def __init__(self, folder: Path, shipped: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._shipped = tuple(shipped)
        self._read = lru_cache(_REMEMBERED)(_read_whole)  # an address's icon never changes

    def get(self, address: IconAddress) -> bytes | None:
        """Return the icon's WebP file; None where there is none, or where it is damaged (it is then removed)."""
        for folder in (self._folder, *self._shipped):
            file = folder / address.path
            try:
                return self._read(file)
            except FileNotFoundError:
                continue
            except _Damaged:
                if folder == self._folder:
                    file.unlink(missing_ok=True)
        return None

    def put(self, address: IconAddress, picture: NDArray[np.uint8]) -> bytes:
        """Store a picture, [height, width, 3], and return it as a WebP file. Readers see all of it or nothing."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "WEBP", quality=_WEBP_QUALITY, method=4)
        write_whole(self._folder / address.path, buffer.getvalue())
        return buffer.getvalue()


class _Damaged(Exception):
    """The file is no whole picture: a crash of the machine can leave one that ends early."""


def _read_whole(file: Path) -> bytes:
    data = file.read_bytes()
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, ValueError) as error:
        raise _Damaged(file) from error
    return data
