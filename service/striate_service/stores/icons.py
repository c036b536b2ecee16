"""Icons as files: content-addressed, so that an icon once rendered is found by whoever asks for the same thing again.

An icon's address is the version of the weights, the layer, the objective and the recipe that it was rendered with. Its
file is `VERSION/LAYER/ADDRESS.webp` below the store's folder: a WebP file, followed by its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate_service.stores.folder import Folder

logger = logging.getLogger(__name__)

_REMEMBERED = 4096  # icons in memory, about 180 MB at most: dictionaries show the same ones over and over
_DIGEST_BYTES = 32
_SUFFIX = ".webp"
# Use is noted as the file's time, by writing it anew: what object stores can do too. Once an hour is enough to tell
# what nobody looks at, and costs next to nothing.
_NOTED_EVERY = 3600.0
_KEPT = 0.9  # of the budget, when it is exceeded: the next icons need no new listing at once


@dataclass(frozen=True)
class IconAddress:
    """What an icon shows, and how it was made."""

    version: str
    """SHA-256 of the weights."""
    layer: str
    """The layer's path."""
    objective: str
    """Canonical text of the objective (techniques/objective.py): "channel:12", "direction:<SHA-256 of components>"."""
    recipe: str
    """Canonical text of the recipe, its version and parameters included."""

    @property
    def name(self) -> str:
        """VERSION/LAYER/ADDRESS, a relative path without suffix."""
        digest = hashlib.sha256(f"{self.objective}\n{self.recipe}".encode()).hexdigest()
        return f"{self.version[:16]}/{self.layer}/{digest[:32]}"

    @property
    def path(self) -> str:
        return self.name + _SUFFIX


@dataclass
class _Remembered:
    data: bytes
    noted: float
    """When its use was last noted in the folder; infinity for shipped icons."""


class IconStore:
    """Icons below one folder, and those that ship with the package, which are found as if rendered here."""

    def __init__(
        self,
        folder: Folder,
        shipped: Sequence[Path] = (),
        *,
        max_bytes: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open a store.

        Args:
            shipped: folders that are laid out as the store is, of icons without checksums. They are never written to.
            max_bytes: when there is more than this, the icons that were not used for longest are deleted. 0: no limit.
        """
        self._folder = folder
        self._shipped = tuple(shipped)
        self._max_bytes = max_bytes
        self._clock = clock
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._lock = Lock()
        """Of what is remembered: icons are read and written in threads."""
        self._making_room = Lock()
        self._bytes: int | None = None
        """What the folder holds; None before it has been listed."""

    def get(self, address: IconAddress) -> bytes | None:
        """Return the icon's WebP file; None where there is none, or where it is damaged (it is then removed)."""
        path = address.path
        with self._lock:
            known = self._remembered.get(path)
            if known:
                self._remembered.move_to_end(path)
        if known is None:
            known = self._read(address)
            if known is None:
                return None
            self._remember(path, known)
        if self._max_bytes and known.noted + _NOTED_EVERY <= self._clock():
            known.noted = self._clock()
            self._folder.write(path, _sealed(known.data))
        return known.data

    def get_all(self, addresses: Sequence[IconAddress]) -> tuple[bytes, ...] | None:
        """Return the icons that belong together; None where one of them is missing."""
        files = [self.get(address) for address in addresses]
        found = tuple(file for file in files if file is not None)
        return found if len(found) == len(files) else None

    def put(self, address: IconAddress, picture: NDArray[np.uint8]) -> bytes:
        """Store a picture, [height, width, 3 or 4], and return it as a WebP file. Readers see all of it or nothing."""
        buffer = io.BytesIO()
        # Without loss: at quality 90 WebP keeps a quarter of the colours' resolution. That makes 15 KB of 45, and an
        # icon of SqueezeNet's features.7 that, fed back as a picture, excites its channel by a third less or worse.
        # And exactly: what is transparent keeps its colours, so that the network can be shown the whole picture.
        Image.fromarray(picture).save(buffer, "WEBP", lossless=True, exact=True, method=4)
        data = buffer.getvalue()
        self._folder.write(address.path, _sealed(data))
        self._remember(address.path, _Remembered(data, self._clock()))
        if self._max_bytes:
            self._make_room(len(data) + _DIGEST_BYTES)
        return data

    def _read(self, address: IconAddress) -> _Remembered | None:
        if (sealed := self._folder.read(address.path)) is not None:
            if (data := _unsealed(sealed)) is not None:
                return _Remembered(data, noted=0.0)
            logger.warning("the icon %s was damaged; it will be rendered again", address.path)
            self._folder.delete(address.path)
        for shipped in self._shipped:
            file = shipped / address.path
            picture = file.read_bytes() if file.is_file() else b""
            if _is_picture(picture):
                return _Remembered(picture, noted=math.inf)
        return None

    def _remember(self, path: str, icon: _Remembered) -> None:
        with self._lock:
            self._remembered[path] = icon
            self._remembered.move_to_end(path)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _make_room(self, added: int) -> None:
        """Delete what was not used for longest, if there is too much. Listing is dear, so it is done when need be."""
        with self._making_room:
            if self._bytes is not None:
                self._bytes += added
                if self._bytes <= self._max_bytes:
                    return
            icons = [entry for entry in self._folder.list() if entry.path.endswith(_SUFFIX)]
            self._bytes = sum(entry.size for entry in icons)
            if self._bytes <= self._max_bytes:
                return
            for entry in sorted(icons, key=lambda entry: entry.modified):
                if self._bytes <= _KEPT * self._max_bytes:
                    break
                self._folder.delete(entry.path)
                with self._lock:
                    self._remembered.pop(entry.path, None)
                self._bytes -= entry.size


def _sealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def _unsealed(sealed: bytes) -> bytes | None:
    """Return what was sealed, None where it is not whole."""
    data, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    return data if data and hashlib.sha256(data).digest() == digest else None


def _is_picture(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, ValueError):
        return False
    return True
