"""Icons as files, addressed by what they show and how they are made, so that each is rendered once.

An icon's address is the version of the weights, the layer, the objective and the recipe that it was rendered with. Its
file is `VERSION/LAYER/ADDRESS.webp` below the store's folder: a WebP file, followed by its SHA-256. The suffix names
the format: files of another will have another suffix, so that servers of both versions can share a store.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate_service.stores.folder import Folder

logger = logging.getLogger(__name__)

_CACHED_ICONS = 4096  # in memory, about 180 MB at most: dictionaries show the same icons again and again
_DIGEST_BYTES = 32
_SUFFIX = ".webp"
# A used icon is written again, at most once an hour, so that its modification time tells when it was last used. Object
# stores allow this too, and an hour is precise enough to find unused icons.
_TOUCH_SECONDS = 3600.0
_KEPT_SHARE = 0.9  # of `max_bytes`, after deleting: so the next icons do not trigger another listing


@dataclass(frozen=True)
class IconAddress:
    """What an icon shows, and how it was made."""

    version: str
    """The model's identity (models/identity.py)."""
    layer: str
    """The layer's path."""
    objective: str
    """The objective's canonical text (techniques/objective.py): "channel:12", "direction:<SHA-256 of components>"."""
    recipe: str
    """The recipe's canonical text, with its version and parameters."""

    @property
    def name(self) -> str:
        """VERSION/LAYER/ADDRESS, a relative path without suffix."""
        digest = hashlib.sha256(f"{self.objective}\n{self.recipe}".encode()).hexdigest()
        return f"{self.version[:16]}/{self.layer}/{digest[:32]}"

    @property
    def path(self) -> str:
        return self.name + _SUFFIX


@dataclass
class _CachedIcon:
    data: bytes
    touched: float
    """When its file was last written; infinity for shipped icons, which are never written, and for those that could not
    be."""


class IconStore:
    """Icons in one folder, and icons that ship with the package."""

    def __init__(
        self,
        folder: Folder,
        shipped: Sequence[Path] = (),
        *,
        max_bytes: int = 0,
        on_found: Callable[[str], None] = lambda source: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open a store.

        Args:
            shipped: read-only folders with the store's layout, whose icons have no checksums.
            on_found: called with where an icon was found: "memory", "store" or "shipped".
            max_bytes: above this size, the least recently used icons are deleted. 0: no limit.
        """
        self._folder = folder
        self._shipped = tuple(shipped)
        self._max_bytes = max_bytes
        self._on_found = on_found
        self._clock = clock
        self._cache: OrderedDict[str, _CachedIcon] = OrderedDict()
        self._lock = Lock()
        """Guards the cache: icons are read and written in threads."""
        self._deleting = Lock()
        self._bytes: int | None = None
        """The folder's size; None before it has been listed."""

    def get(self, address: IconAddress) -> bytes | None:
        """Return the icon's WebP file; None where there is none. A damaged one is deleted."""
        path = address.path
        with self._lock:
            known = self._cache.get(path)
            if known:
                self._cache.move_to_end(path)
        if known is None:
            known = self._read(address)
            if known is None:
                return None
            self._add_to_cache(path, known)
        else:
            self._on_found("memory")
        if self._max_bytes and known.touched + _TOUCH_SECONDS <= self._clock():
            known.touched = self._clock()
            with suppress(OSError):  # a full or read-only disk: it only counts as unused sooner
                self._folder.write(path, _with_checksum(known.data))
        return known.data

    def get_all(self, addresses: Sequence[IconAddress]) -> tuple[bytes, ...] | None:
        """Return the icons of all addresses; None where one is missing."""
        files = [self.get(address) for address in addresses]
        found = tuple(file for file in files if file is not None)
        return found if len(found) == len(files) else None

    def put(self, address: IconAddress, picture: NDArray[np.uint8]) -> bytes:
        """Store a picture, [height, width, 3 or 4], and return its WebP file. Readers see all of it or nothing.

        A full or read-only disk does not take it: then it is kept in memory only, as long as that has room.
        """
        # Lossless: at quality 90 WebP stores colors at a quarter of the resolution. A file then has 15 KB, not 45, but
        # an icon of SqueezeNet's features.7, shown to the network, excites its channel by a third less or worse.
        # Exact: transparent pixels keep their colors, so that the network can be shown the whole picture.
        data = _webp(picture, lossless=True, exact=True, method=4)
        try:
            self._folder.write(address.path, _with_checksum(data))
        except OSError as error:
            logger.error("the icon %s cannot be stored, and is lost with a restart: %s", address.path, error)
            self._add_to_cache(address.path, _CachedIcon(data, math.inf))
            return data
        self._add_to_cache(address.path, _CachedIcon(data, self._clock()))
        if self._max_bytes:
            self._delete_unused(len(data) + _DIGEST_BYTES)
        return data

    def _read(self, address: IconAddress) -> _CachedIcon | None:
        if (checked := self._folder.read(address.path)) is not None:
            if (data := _without_checksum(checked)) is not None:
                self._on_found("store")
                return _CachedIcon(data, touched=0.0)
            logger.warning("the icon %s was damaged; it will be rendered again", address.path)
            with suppress(OSError):  # a read-only disk
                self._folder.delete(address.path)
        for shipped in self._shipped:
            file = shipped / address.path
            picture = file.read_bytes() if file.is_file() else b""
            if _is_picture(picture):
                self._on_found("shipped")
                return _CachedIcon(picture, touched=math.inf)
        return None

    def _add_to_cache(self, path: str, icon: _CachedIcon) -> None:
        with self._lock:
            self._cache[path] = icon
            self._cache.move_to_end(path)
            while len(self._cache) > _CACHED_ICONS:
                self._cache.popitem(last=False)

    def _delete_unused(self, added: int) -> None:
        """Delete the least recently used icons above `max_bytes`. Listing is slow, so it is done only then."""
        with self._deleting:
            if self._bytes is not None:
                self._bytes += added
                if self._bytes <= self._max_bytes:
                    return
            icons = [entry for entry in self._folder.list() if entry.path.endswith(_SUFFIX)]
            self._bytes = sum(entry.size for entry in icons)
            if self._bytes <= self._max_bytes:
                return
            for entry in sorted(icons, key=lambda entry: entry.modified):
                if self._bytes <= _KEPT_SHARE * self._max_bytes:
                    break
                self._folder.delete(entry.path)
                with self._lock:
                    self._cache.pop(entry.path, None)
                self._bytes -= entry.size


def quick_webp(picture: NDArray[np.uint8]) -> bytes:
    """Return a small WebP file of a picture, [height, width, 3 or 4], that is looked at for some seconds."""
    return _webp(picture, quality=80, method=0)


def _webp(picture: NDArray[np.uint8], **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def _with_checksum(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def _without_checksum(checked: bytes) -> bytes | None:
    """Return the data; None where the checksum does not match."""
    data, digest = checked[:-_DIGEST_BYTES], checked[-_DIGEST_BYTES:]
    return data if data and hashlib.sha256(data).digest() == digest else None


def _is_picture(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, ValueError):
        return False
    return True
