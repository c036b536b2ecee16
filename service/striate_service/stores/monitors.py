"""Monitors, and what they keep of images: in a database, SQLite by default, so that what was acknowledged survives.

Of the reference an evenly drawn sample is kept: the images with the smallest hashes of their ids, whatever server took
them in and in whatever order (a bottom-k sketch; Cohen and Kaplan 2007). Of traffic the newest images are kept. Servers
that share the database share its monitors.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from striate_service.stores.database import Result, change_alone, connect
from striate_service.stores.observations import (
    MAX_SLICES,
    METADATA,
    MONITORS,
    OBSERVATIONS,
    OTHER_SLICE,
    KeptImage,
    forget,
    kept_images,
    merge,
    with_slices,
)

_FORMAT = 1


@dataclass(frozen=True)
class StoredMonitor:
    name: str
    model: str
    """The model's name on the server that made it."""
    model_version: str
    layers: tuple[str, ...]
    """Paths."""
    bases: tuple[str, ...]
    window: int
    """How many of the newest images of traffic are kept."""
    reference_from_traffic: int
    """So many first images of traffic become the reference."""
    omit_pictures: bool
    fit: int
    created: datetime | None = None
    """UTC."""
    slices: tuple[str, ...] = ()
    """The values that images are told apart by, in the order of their appearance."""
    reference_images: int = 0
    """Taken in; at most `REFERENCE_IMAGES` are kept."""
    observed_images: int = 0
    last_observed: datetime | None = None


@dataclass(frozen=True, eq=False)
class Observation:
    """What is kept of an image."""

    sample: str
    """The caller's own name of it; empty: it has none."""
    codes: NDArray[np.uint8] = field(repr=False)
    """[F], by `drift.encode`."""
    predicted: int
    """The index of its class; -1: the network has none."""
    novelty: float | None = None
    picture: bytes = field(default=b"", repr=False)
    """A WebP file; empty: none is kept."""
    taken: datetime | None = None
    """UTC. None: now."""
    slice: str = ""


@dataclass(frozen=True, eq=False)
class Observations:
    """N images, oldest first."""

    ids: NDArray[np.int64]
    """[N]: their rows, to ask for pictures."""
    codes: NDArray[np.uint8]
    """[N, F]"""
    predicted: NDArray[np.int32]
    """[N]"""
    outcomes: NDArray[np.int32]
    """[N]: the index of the class that it is really of; -1: nobody has said."""
    slices: NDArray[np.str_]
    """[N]"""

    def accuracy(self, chosen: NDArray[np.bool_]) -> tuple[int, float]:
        """Return of how many of the chosen images the outcome is known, and the share of these that was predicted
        right, 0 where there is none.

        Args:
            chosen: [N]
        """
        known = chosen & (self.outcomes >= 0)
        count = int(known.sum())
        return count, int(np.sum(self.outcomes[known] == self.predicted[known])) / max(count, 1)


class MonitorStore:
    """Monitors by name. Blocking: call it from a thread."""

    def __init__(self, url: str) -> None:
        """Open the database; see `database.connect`."""
        self._engine = connect(url, METADATA, "striate_monitor_format", _FORMAT)

    def close(self) -> None:
        self._engine.dispose()

    def create(self, monitor: StoredMonitor, most: int) -> StoredMonitor:
        """Keep a new monitor, and return it as stored.

        Raises:
            FileExistsError: there is one of that name.
            OverflowError: there are `most` already.
        """
        stored = {**vars(monitor), "created": _now(), "layers": list(monitor.layers), "bases": list(monitor.bases)}
        stored["slices"] = list(monitor.slices)

        def change(connection: Connection) -> StoredMonitor:
            if _find(connection, monitor.name):
                raise FileExistsError(monitor.name)
            if connection.execute(select(func.count()).select_from(MONITORS)).scalar_one() >= most:
                raise OverflowError(most)
            connection.execute(insert(MONITORS).values(**stored))
            return _monitor(stored)

        try:
            return self._in_transaction(change)
        except IntegrityError as error:
            raise FileExistsError(monitor.name) from error

    def get(self, name: str) -> StoredMonitor | None:
        with self._engine.connect() as connection:
            return _find(connection, name)

    def list(self) -> list[StoredMonitor]:
        """Return all monitors, by name."""
        with self._engine.connect() as connection:
            return [_monitor(row) for row in connection.execute(select(MONITORS).order_by(MONITORS.c.name)).mappings()]

    def delete(self, name: str) -> bool:
        """Delete a monitor with all that it keeps, and return whether it existed."""

        def change(connection: Connection) -> bool:
            connection.execute(delete(OBSERVATIONS).where(OBSERVATIONS.c.monitor == name))
            return connection.execute(delete(MONITORS).where(MONITORS.c.name == name)).rowcount > 0

        return self._in_transaction(change)

    def add(self, name: str, observations: Sequence[Observation], *, reference: bool) -> int:
        """Keep images in one transaction, and return how many of them had been kept before.

        Raises:
            LookupError: the monitor is gone.
        """

        def change(connection: Connection) -> int:
            monitor = _find(connection, name)
            if monitor is None:
                raise LookupError(name)
            now = _now()
            hashes = [_hash(each.sample) for each in observations]
            known = _known(connection, monitor, hashes, reference)
            fresh = dict[bytes, Observation]()
            for key, each in zip(hashes, observations, strict=True):
                if key not in known:
                    fresh.setdefault(key, each)
            missing = 0 if reference else max(0, monitor.reference_from_traffic - monitor.reference_images)
            slices = list(monitor.slices)
            rows: list[dict[str, Any]] = []
            for number, (key, each) in enumerate(fresh.items()):
                if each.slice and each.slice not in slices and len(slices) < MAX_SLICES:
                    slices.append(each.slice)
                rows.append(
                    {
                        "monitor": name,
                        "reference": reference or number < missing,
                        "sample": key,
                        "taken": each.taken or now,
                        "slice": each.slice if each.slice in slices or not each.slice else OTHER_SLICE,
                        "predicted": each.predicted,
                        "novelty": each.novelty,
                        "codes": each.codes.tobytes(),
                        "picture": each.picture or None,
                    }
                )
            if rows:
                connection.execute(insert(OBSERVATIONS), rows)
            of_reference = sum(row["reference"] for row in rows)
            counted = {
                "slices": slices,
                "reference_images": monitor.reference_images + of_reference,
                "observed_images": monitor.observed_images + len(rows) - of_reference,
            }
            if len(rows) > of_reference:
                counted["last_observed"] = now
            connection.execute(update(MONITORS).where(MONITORS.c.name == name).values(**counted))
            forget(connection, name, monitor.window, reference=bool(of_reference), window=len(rows) > of_reference)
            return len(observations) - len(fresh)

        return self._in_transaction(change)

    def add_outcomes(self, name: str, outcomes: Sequence[tuple[str, int]]) -> int:
        """Say which classes images of traffic really are of, and return how many of them are kept."""

        def change(connection: Connection) -> int:
            added = 0
            for sample, index in outcomes:
                found = connection.execute(
                    update(OBSERVATIONS)
                    .where(
                        OBSERVATIONS.c.monitor == name,
                        OBSERVATIONS.c.reference.is_(False),
                        OBSERVATIONS.c.sample == _hash(sample),
                        OBSERVATIONS.c.codes.is_not(None),
                    )
                    .values(outcome=index)
                )
                added += found.rowcount
            return added

        return self._in_transaction(change)

    def observations(self, name: str, *, reference: bool) -> Observations:
        """Return what is kept of the reference, or of the newest images of traffic; without pictures."""
        columns = OBSERVATIONS.c
        query = (
            select(columns.id, columns.codes, columns.predicted, columns.outcome, columns.slice)
            .where(columns.monitor == name, columns.reference.is_(reference), columns.codes.is_not(None))
            .order_by(columns.id)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return Observations(
            ids=np.array([row.id for row in rows], np.int64),
            codes=np.frombuffer(b"".join(row.codes for row in rows), np.uint8).reshape(len(rows), -1)
            if rows
            else np.zeros((0, 0), np.uint8),
            predicted=np.array([row.predicted for row in rows], np.int32),
            outcomes=np.array([-1 if row.outcome is None else row.outcome for row in rows], np.int32),
            slices=np.array([row.slice for row in rows], dtype=np.str_),
        )

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the pictures of images by their rows, as far as they are still kept."""
        query = select(OBSERVATIONS.c.id, OBSERVATIONS.c.picture).where(OBSERVATIONS.c.id.in_(ids))
        with self._engine.connect() as connection:
            return {row.id: row.picture for row in connection.execute(query) if row.picture}

    def profile(self, name: str, *, pictures: bool) -> tuple[Sequence[KeptImage], Sequence[KeptImage]]:
        """Return what a monitor keeps of its reference, and of traffic."""
        with self._engine.connect() as connection:
            reference, traffic = (
                kept_images(connection, name, reference=which, pictures=pictures) for which in (True, False)
            )
            return reference, traffic

    def merge(self, name: str, reference: Sequence[KeptImage], traffic: Sequence[KeptImage]) -> int:
        """Take in what was kept elsewhere, in one transaction, and return how many images were not known.

        Raises:
            LookupError: the monitor is gone.
        """

        def change(connection: Connection) -> int:
            monitor = _find(connection, name)
            if monitor is None:
                raise LookupError(name)
            slices = with_slices(monitor.slices, [*reference, *traffic])
            of_reference, of_traffic = (
                merge(connection, name, monitor.window, images, reference=which, slices=slices)
                for which, images in ((True, reference), (False, traffic))
            )
            times = [image.taken for image in of_traffic] + [monitor.last_observed or datetime.min]
            counted = {
                "slices": slices,
                "reference_images": monitor.reference_images + len(of_reference),
                "observed_images": monitor.observed_images + len(of_traffic),
                "last_observed": max(times) if of_traffic else monitor.last_observed,
            }
            connection.execute(update(MONITORS).where(MONITORS.c.name == name).values(**counted))
            return len(of_reference) + len(of_traffic)

        return self._in_transaction(change)

    def _in_transaction(self, change: Callable[[Connection], Result]) -> Result:
        return change_alone(self._engine, "monitors", change)


def _find(connection: Connection, name: str) -> StoredMonitor | None:
    row = connection.execute(select(MONITORS).where(MONITORS.c.name == name)).mappings().first()
    return _monitor(row) if row else None


def _known(connection: Connection, monitor: StoredMonitor, hashes: Sequence[bytes], reference: bool) -> set[bytes]:
    """Return which images have been kept before. An image of a reference that was sent may also come in traffic."""
    columns = OBSERVATIONS.c
    query = select(columns.sample).where(columns.monitor == monitor.name, columns.sample.in_(hashes))
    if not monitor.reference_from_traffic:
        query = query.where(columns.reference.is_(reference))
    return set(connection.execute(query).scalars())


def _monitor(row: Any) -> StoredMonitor:
    return StoredMonitor(
        **{
            **{name: row[name] for name in StoredMonitor.__dataclass_fields__ if name in row},
            "layers": tuple(row["layers"]),
            "bases": tuple(row["bases"]),
            "slices": tuple(row["slices"]),
        }
    )


def _hash(sample: str) -> bytes:
    """Return an image's number: the same for the same id, and one of its own where it has none."""
    return hashlib.sha256(sample.encode()).digest()[:16] if sample else uuid.uuid4().bytes


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
