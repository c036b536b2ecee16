"""Names of channels and directions, in a database: SQLite by default, PostgreSQL by URL.

A name belongs to one channel, or to one direction in the space of channels, of one layer of one version of the weights.
Rows change only to set `ended`, so that history is kept: the current name is the one without `ended`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    insert,
    select,
    update,
)

from striate_service.stores.database import Result, change_alone, connect

SAME_DIRECTION = 0.99
"""Cosine similarity from which on two directions are the same: a new name replaces the old one."""
SIMILAR_DIRECTION = 0.9
"""Cosine similarity from which on a direction takes another direction's name. Measured on the embedded model: a group's
best match is at 0.94 to 0.98 (median) among the groups of other pictures of its class, and at 0.09 to 0.37 (80%) among
those of another class; of pairs of groups of the same pictures, 95% are below 0.53, and all below 0.82."""


def _label_table(name: str, subject: Column[Any]) -> Table:
    return Table(
        name,
        _metadata,
        Column("id", Integer, primary_key=True),
        Column("model_version", String(64), nullable=False),
        Column("layer", String(200), nullable=False),
        subject,
        Column("text", String(200), nullable=False),
        Column("source", Integer, nullable=False),
        Column("score", Float),
        Column("author", String(200), nullable=False),
        Column("created", DateTime, nullable=False),
        Column("ended", DateTime),
        Index(f"{name}_by_neuron", "model_version", "layer", *(["channel"] if subject.name == "channel" else [])),
    )


class LabelSource(IntEnum):
    """Where a name comes from. The database stores these numbers."""

    NONE = 0
    """There is no name."""
    PERSON = 1
    DISSECTION = 2
    """The overlap of the neuron's activations with the masks of a concept."""
    CLASS_EFFECT = 3
    """The class that the neuron affects most in the present reply; never stored."""
    IMPORTED = 4
    EXAMPLES = 5
    """The class of the indexed images that excite the neuron most; never stored."""
    UNAVAILABLE = 6
    """The database did not answer: there is no text, though there may be a name; never stored."""

    @classmethod
    def _missing_(cls, value: object) -> LabelSource:
        return cls.NONE  # of a later version


_FORMAT = 1  # of the tables; databases before it had no number, and are taken over as they are
_metadata = MetaData()
_channel_labels = _label_table("labels", Column("channel", Integer, nullable=False))
_direction_labels = _label_table("direction_labels", Column("direction", LargeBinary, nullable=False))


@dataclass(frozen=True)
class StoredLabel:
    """One name, of a channel or of a direction."""

    model_version: str
    layer: str
    channel: int | None
    """None for a direction."""
    text: str
    source: LabelSource
    score: float | None = None
    author: str = ""
    created: datetime | None = None
    """UTC. None for a name that ships with its model."""
    ended: datetime | None = None
    """UTC: when it was replaced or deleted. None: it is current."""
    direction: bytes | None = None
    """float32 [C], little-endian, of unit length. None for a channel."""


class LabelStore:
    """Names by weights, layer, and channel or direction. Blocking: call it from a thread."""

    def __init__(self, url: str, shipped: Iterable[StoredLabel] = ()) -> None:
        """Open the database, and create its tables where they are missing.

        Args:
            url: SQLAlchemy's: "sqlite:////path/labels.db", "postgresql://user@host/database".
            shipped: the names that a model comes with; a name in the database takes precedence.

        Raises:
            DatabaseError: there is no such database, no driver for it, or a later version of striate wrote it.
        """
        self._engine = connect(url, _metadata, "striate_format", _FORMAT)
        self._shipped = {(label.model_version, label.layer, label.channel): label for label in shipped}

    def close(self) -> None:
        self._engine.dispose()

    def set(self, label: StoredLabel) -> StoredLabel:
        """Name a channel or direction, end its former name, and return the name as stored."""

        def change(connection: Connection) -> StoredLabel:
            now = datetime.now(timezone.utc).replace(tzinfo=None)
            self._end(connection, label, now)
            stored = replace(label, created=now, ended=None)
            table = _table(label)
            values = {name: getattr(stored, name) for name in _columns(table)}
            connection.execute(insert(table).values(**values | {"source": int(stored.source)}))
            return stored

        return self._in_transaction(change)

    def delete(self, subject: StoredLabel) -> bool:
        """End the name of a channel or direction, and return whether the database had one. Shipped names stay.

        Args:
            subject: any label of the same channel or direction; its text does not matter.
        """
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        return self._in_transaction(lambda connection: self._end(connection, subject, now))

    def of_channels(self, model_version: str, layer: str, channels: Iterable[int]) -> dict[int, StoredLabel]:
        """Return the names of the channels that have one."""
        wanted = set(channels)
        with self._engine.connect() as connection:
            current = _read(connection, _current(_channel_labels, model_version, layer), _channel_labels)
        stored = {label.channel: label for label in current if label.channel in wanted}
        shipped = {
            channel: self._shipped[key]
            for channel in wanted
            if (key := (model_version, layer, channel)) in self._shipped
        }
        return shipped | stored

    def of_directions(
        self, model_version: str, layer: str, directions: NDArray[np.float32]
    ) -> Sequence[StoredLabel | None]:
        """Return for each direction the name of the most similar one, if that is as similar as `SIMILAR_DIRECTION`.

        Args:
            directions: [K, C].
        """
        with self._engine.connect() as connection:
            named = _read(connection, _current(_direction_labels, model_version, layer), _direction_labels)
        if not named:
            return [None] * len(directions)
        similarities = _unit(directions) @ np.stack([_vector(label) for label in named]).T
        best = similarities.argmax(1)
        return [
            named[index] if similarities[number, index] >= SIMILAR_DIRECTION else None
            for number, index in enumerate(best.tolist())
        ]

    def list(
        self, model_version: str, layer: str = "", *, history: bool = False, limit: int = 1000, offset: int = 0
    ) -> Sequence[StoredLabel]:
        """Return current names, shipped ones included: for each layer, of channels and then of directions. With
        `history`, return all names in the database, newest first."""
        stored: list[StoredLabel] = []
        with self._engine.connect() as connection:
            for table in (_channel_labels, _direction_labels):
                query = select(table).where(table.c.model_version == model_version)
                if layer:
                    query = query.where(table.c.layer == layer)
                query = query.order_by(table.c.id.desc()) if history else query.where(table.c.ended.is_(None))
                stored += _read(connection, query, table)
        if history:
            stored.sort(key=lambda label: label.created or datetime.min, reverse=True)
        else:
            stored += self._shipped_unless(stored, model_version, layer)
            stored.sort(key=lambda label: (label.layer, label.channel is None, label.channel or 0))
        return stored[offset : offset + limit]

    def _shipped_unless(self, stored: Sequence[StoredLabel], model_version: str, layer: str) -> Sequence[StoredLabel]:
        named = {(label.layer, label.channel) for label in stored}
        return [
            label
            for label in self._shipped.values()
            if label.model_version == model_version
            and layer in ("", label.layer)
            and (label.layer, label.channel) not in named
        ]

    def _end(self, connection: Connection, subject: StoredLabel, now: datetime) -> bool:
        table = _table(subject)
        current = _current(table, subject.model_version, subject.layer)
        if subject.direction is None:
            rows = connection.execute(current.where(table.c.channel == subject.channel))
            ids = [row.id for row in rows]
        else:
            wanted = _vector(subject)
            ids = [
                row.id for row in connection.execute(current) if _similarity(row.direction, wanted) >= SAME_DIRECTION
            ]
        connection.execute(update(table).where(table.c.id.in_(ids)).values(ended=now))
        return bool(ids)

    def _in_transaction(self, change: Callable[[Connection], Result]) -> Result:
        return change_alone(self._engine, "labels, direction_labels", change)


def direction_bytes(direction: NDArray[np.floating]) -> bytes:
    """Return a direction as it is stored, of unit length.

    Args:
        direction: [C], not all 0.
    """
    data: bytes = _unit(np.asarray(direction, np.float64)[None])[0].astype("<f4").tobytes()
    return data


def _table(label: StoredLabel) -> Table:
    return _channel_labels if label.direction is None else _direction_labels


def _columns(table: Table) -> list[str]:
    return [field.name for field in fields(StoredLabel) if field.name in table.c]


def _current(table: Table, model_version: str, layer: str) -> Select[Any]:
    return select(table).where(table.c.model_version == model_version, table.c.layer == layer, table.c.ended.is_(None))


def _read(connection: Connection, query: Select[Any], table: Table) -> list[StoredLabel]:
    names = _columns(table)
    return [
        StoredLabel(**{"channel": None, **{name: row[name] for name in names}, "source": LabelSource(row["source"])})
        for row in connection.execute(query).mappings()
    ]


def _vector(label: StoredLabel) -> NDArray[np.float32]:
    return np.frombuffer(label.direction or b"", "<f4")


def _similarity(stored: bytes, wanted: NDArray[np.float32]) -> float:
    return float(np.frombuffer(stored, "<f4") @ wanted)


def _unit(directions: NDArray[np.floating]) -> NDArray[np.floating]:
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    unit: NDArray[np.floating] = directions / np.where(lengths > 0, lengths, 1)
    return unit
