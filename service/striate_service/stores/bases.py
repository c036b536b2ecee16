"""Bases: named neuron groups, stored so that later requests use the same groups.

A basis is one file, `bases/NAME.npz` below the store's folder, that is written once and never changed. Several servers
may share the folder: nothing is cached between calls, and if two save the same name at once, one succeeds.
"""

from __future__ import annotations

import io
import json
import logging
import re
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate_service.stores.complaints import Complaints
from striate_service.stores.files import write_new

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORMAT = 1  # of files; those before it had no number
_ARRAYS = ("directions", "colors", "importance")


@dataclass(frozen=True, eq=False)
class StoredBasis:
    """K groups of one layer of one version of a model."""

    name: str
    model_version: str
    """The identity of the network whose activations were factorized (models/identity.py)."""
    model: str
    """The model's name on the server that saved the basis."""
    layer: str
    """The layer's path."""
    directions: NDArray[np.float32] = field(repr=False)
    """[K, C], of unit length."""
    colors: NDArray[np.uint8] = field(repr=False)
    """[K, 3]"""
    importance: NDArray[np.float32] = field(repr=False)
    """[K]: the share of the activations that each group explained by itself, in the images of the basis."""
    scale: float
    """The sum over groups that an overlay shows fully opaque."""
    relative_error: float
    images: int
    """The number of images that were factorized."""
    fit: int
    """How images were fitted to the input size: 1 cropped, 2 stretched, 3 padded."""
    rectify: bool
    method: str = "nmf"  # of bases that were saved before there were others
    """By which the groups were found: a `Method` of techniques/methods.py."""
    created: datetime | None = None
    """UTC."""

    def is_the_same_as(self, other: StoredBasis) -> bool:
        """Whether both name the same groups, whenever they were saved."""
        return (self.name, self.model_version, self.layer) == (
            other.name,
            other.model_version,
            other.layer,
        ) and np.array_equal(self.directions, other.directions)


_FACTS = {each.name for each in fields(StoredBasis)} - set(_ARRAYS)


class DamagedBasis(Exception):
    """A file that cannot be read as a basis. The text names it."""


class LaterBasis(DamagedBasis):
    """A file in a format of a later version."""


class BasisStore:
    """Bases by name. Blocking: call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._complaints = Complaints(logger)

    def save(self, basis: StoredBasis) -> StoredBasis:
        """Store a basis, and return it as stored. Saving the same groups again returns the stored basis.

        Raises:
            FileExistsError: other groups have that name.
        """
        basis = replace(basis, created=datetime.now(timezone.utc).replace(microsecond=0))
        try:
            write_new(self._file(basis.name), _to_bytes(basis))
            return basis
        except FileExistsError:
            try:
                kept = self.get(basis.name)
            except DamagedBasis:
                kept = None
            if kept is None or not kept.is_the_same_as(basis):
                raise
            return kept

    def get(self, name: str) -> StoredBasis | None:
        """Return a basis; None where there is none.

        Raises:
            DamagedBasis: its file cannot be read, also since a later version wrote it (`LaterBasis`).
        """
        try:
            return _read(self._file(name))
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> bool:
        """Delete a basis, and return whether it existed."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def list(self, model_version: str = "") -> list[StoredBasis]:
        """Return all bases, or those of one version of a model, by name. Damaged files are logged and left out."""
        bases = []
        for file in sorted(self._folder.glob("*.npz")):
            try:
                basis = _read(file)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except DamagedBasis as error:
                self._complaints.tell(file, str(error))
                continue
            if model_version in ("", basis.model_version):
                bases.append(basis)
        return bases

    def _file(self, name: str) -> Path:
        assert NAME.fullmatch(name), f"{name!r} should have been checked"
        return self._folder / f"{name}.npz"


def _to_bytes(basis: StoredBasis) -> bytes:
    facts = {name: value for name, value in asdict(basis).items() if name not in _ARRAYS}
    facts |= {"format": _FORMAT, "created": basis.created.isoformat() if basis.created else None}
    buffer = io.BytesIO()
    arrays = {name: getattr(basis, name) for name in _ARRAYS}
    np.savez(buffer, allow_pickle=False, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    return buffer.getvalue()


def _read(file: Path) -> StoredBasis:
    data = file.read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            facts = json.loads(content["facts"].tobytes())
            if facts.get("format", 0) > _FORMAT:
                raise LaterBasis(f"{file} was written by a later version of striate, and is left alone")
            facts = {name: value for name, value in facts.items() if name in _FACTS}  # it may have more
            facts["created"] = datetime.fromisoformat(facts["created"])
            return StoredBasis(**facts, **{name: content[name] for name in _ARRAYS})
    except LaterBasis:
        raise
    except Exception as error:  # numpy, zipfile and json raise whatever the damaged bytes provoke
        raise DamagedBasis(f"{file} is no basis that can be read ({error}); delete it") from error
