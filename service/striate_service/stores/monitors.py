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
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from striate_service.stores.database import Result, change_alone, connect

REFERENCE_IMAGES = 1024
"""That are kept of a reference: a byte a number, so 1 MB for a layer of 512 channels."""
MAX_SLICES = 16
OTHER_SLICE = "other"
_REMEMBERED = 10  # windows of traffic whose ids are remembered, so that an image that is sent again is not new
_FORMAT = 1

_metadata = MetaData()
_monitors = Table(
    "monitors",
    _metadata,
    Column("name", String(64), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("layers", JSON, nullable=False),
    Column("bases", JSON, nullable=False),
    Column("window", Integer, nullable=False),
    Column("reference_from_traffic", Integer, nullable=False),
    Column("omit_pictures", Boolean, nullable=False),
    Column("fit", Integer, nullable=False),
    Column("created", DateTime, nullable=False),
    Column("slices", JSON, nullable=False),
    Column("reference_images", Integer, nullable=False),
    Column("observed_images", Integer, nullable=False),
    Column("last_observed", DateTime),
)
_observations = Table(
    "observations",
    _metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("monitor", String(64), nullable=False),
    Column("reference", Boolean, nullable=False),
    Column("sample", LargeBinary(16), nullable=False),
    Column("taken", DateTime, nullable=False),
    Column("slice", String(64), nullable=False),
    Column("predicted", Integer, nullable=False),
    Column("outcome", Integer),
    Column("novelty", Float),
    Column("codes", LargeBinary),
    Column("picture", LargeBinary),
    Index("observations_by_sample", "monitor", "reference", "sample", unique=True),
)


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


class MonitorStore:
    """Monitors by name. Blocking: call it from a thread."""

    def __init__(self, url: str) -> None:
        """Open the database; see `database.connect`."""
        self._engine = connect(url, _metadata, "striate_monitor_format", _FORMAT)

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
            if connection.execute(select(func.count()).select_from(_monitors)).scalar_one() >= most:
                raise OverflowError(most)
            connection.execute(insert(_monitors).values(**stored))
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
            return [
                _monitor(row) for row in connection.execute(select(_monitors).order_by(_monitors.c.name)).mappings()
            ]

    def delete(self, name: str) -> bool:
        """Delete a monitor with all that it keeps, and return whether it existed."""

        def change(connection: Connection) -> bool:
            connection.execute(delete(_observations).where(_observations.c.monitor == name))
            return connection.execute(delete(_monitors).where(_monitors.c.name == name)).rowcount > 0

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
                connection.execute(insert(_observations), rows)
            of_reference = sum(row["reference"] for row in rows)
            counted = {
                "slices": slices,
                "reference_images": monitor.reference_images + of_reference,
                "observed_images": monitor.observed_images + len(rows) - of_reference,
            }
            if len(rows) > of_reference:
                counted["last_observed"] = now
            connection.execute(update(_monitors).where(_monitors.c.name == name).values(**counted))
            _forget(connection, monitor, reference=bool(of_reference), window=len(rows) > of_reference)
            return len(observations) - len(fresh)

        return self._in_transaction(change)

    def add_outcomes(self, name: str, outcomes: Sequence[tuple[str, int]]) -> int:
        """Say which classes images of traffic really are of, and return how many of them are kept."""

        def change(connection: Connection) -> int:
            added = 0
            for sample, index in outcomes:
                found = connection.execute(
                    update(_observations)
                    .where(
                        _observations.c.monitor == name,
                        _observations.c.reference.is_(False),
                        _observations.c.sample == _hash(sample),
                        _observations.c.codes.is_not(None),
                    )
                    .values(outcome=index)
                )
                added += found.rowcount
            return added

        return self._in_transaction(change)

    def observations(self, name: str, *, reference: bool) -> Observations:
        """Return what is kept of the reference, or of the newest images of traffic; without pictures."""
        columns = _observations.c
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
        query = select(_observations.c.id, _observations.c.picture).where(_observations.c.id.in_(ids))
        with self._engine.connect() as connection:
            return {row.id: row.picture for row in connection.execute(query) if row.picture}

    def _in_transaction(self, change: Callable[[Connection], Result]) -> Result:
        return change_alone(self._engine, "monitors", change)


def _find(connection: Connection, name: str) -> StoredMonitor | None:
    row = connection.execute(select(_monitors).where(_monitors.c.name == name)).mappings().first()
    return _monitor(row) if row else None


def _known(connection: Connection, monitor: StoredMonitor, hashes: Sequence[bytes], reference: bool) -> set[bytes]:
    """Return which images have been kept before. An image of a reference that was sent may also come in traffic."""
    columns = _observations.c
    query = select(columns.sample).where(columns.monitor == monitor.name, columns.sample.in_(hashes))
    if not monitor.reference_from_traffic:
        query = query.where(columns.reference.is_(reference))
    return set(connection.execute(query).scalars())


def _forget(connection: Connection, monitor: StoredMonitor, *, reference: bool, window: bool) -> None:
    """Delete what is beyond the sample of the reference, and beyond the window of traffic."""
    columns = _observations.c
    if reference:
        kept = (
            select(columns.sample)
            .where(columns.monitor == monitor.name, columns.reference.is_(True))
            .order_by(columns.sample)
            .offset(REFERENCE_IMAGES)
            .limit(1)
        )
        if (first := connection.execute(kept).scalar()) is not None:
            connection.execute(
                delete(_observations).where(
                    columns.monitor == monitor.name, columns.reference.is_(True), columns.sample >= first
                )
            )
    if window:
        of_traffic = select(columns.id).where(columns.monitor == monitor.name, columns.reference.is_(False))
        newest = of_traffic.order_by(columns.id.desc())
        if (last := connection.execute(newest.offset(monitor.window).limit(1)).scalar()) is not None:
            connection.execute(
                update(_observations)
                .where(columns.monitor == monitor.name, columns.reference.is_(False), columns.id <= last)
                .where(columns.codes.is_not(None))
                .values(codes=None, picture=None)
            )
        if (last := connection.execute(newest.offset(_REMEMBERED * monitor.window).limit(1)).scalar()) is not None:
            connection.execute(
                delete(_observations).where(
                    columns.monitor == monitor.name, columns.reference.is_(False), columns.id <= last
                )
            )


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
