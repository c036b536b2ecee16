"""Names of neurons, in a database: SQLite by default, anything that SQLAlchemy speaks by URL.

Rows are never changed but to mark their end, so that history is kept: the name that counts is the one without `ended`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
    update,
)

_metadata = MetaData()
_labels = Table(
    "labels",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model_version", String(64), nullable=False),
    Column("layer", String(200), nullable=False),
    Column("channel", Integer, nullable=False),
    Column("text", String(200), nullable=False),
    Column("source", Integer, nullable=False),
    Column("score", Float),
    Column("author", String(200), nullable=False),
    Column("created", DateTime, nullable=False),
    Column("ended", DateTime),
    Index("labels_by_neuron", "model_version", "layer", "channel"),
)


@dataclass(frozen=True)
class StoredLabel:
    """One name of one channel."""

    model_version: str
    layer: str
    channel: int
    text: str
    source: int
    """A striate.v1.LabelSource."""
    score: float | None = None
    author: str = ""
    created: datetime | None = None
    """UTC. None for a name that ships with its model."""


class LabelStore:
    """Names by weights, layer and channel. Blocking: call it from a thread."""

    def __init__(self, url: str, shipped: Iterable[StoredLabel] = ()) -> None:
        """Open the database, making its table where it is new.

        Args:
            url: SQLAlchemy's: "sqlite:////path/labels.db", "postgresql+psycopg://user@host/database".
            shipped: the names that a model comes with; a name in the database takes precedence.
        """
        self._engine: Engine = create_engine(url)
        self._shipped = {(label.model_version, label.layer, label.channel): label for label in shipped}
        _metadata.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def set(self, label: StoredLabel) -> StoredLabel:
        """Name a channel, ending the name that it had, and return the name as it is stored."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        with self._engine.begin() as connection:
            connection.execute(self._end(label.model_version, label.layer, label.channel, now))
            values = {**label.__dict__, "created": now}
            connection.execute(insert(_labels).values(**values))
        return StoredLabel(**values)

    def delete(self, model_version: str, layer: str, channel: int) -> bool:
        """End a channel's name, and return whether it had one in the database. Shipped names stay."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        with self._engine.begin() as connection:
            return connection.execute(self._end(model_version, layer, channel, now)).rowcount > 0

    def of_channels(self, model_version: str, layer: str, channels: Iterable[int]) -> dict[int, StoredLabel]:
        """Return the names of those channels that have one."""
        wanted = set(channels)
        query = select(_labels).where(
            _labels.c.model_version == model_version, _labels.c.layer == layer, _labels.c.ended.is_(None)
        )
        with self._engine.connect() as connection:
            stored = {row.channel: _label(row._mapping) for row in connection.execute(query) if row.channel in wanted}
        shipped = {
            channel: self._shipped[key]
            for channel in wanted
            if (key := (model_version, layer, channel)) in self._shipped
        }
        return shipped | stored

    def list(
        self, model_version: str, layer: str = "", *, history: bool = False, limit: int = 1000, offset: int = 0
    ) -> Sequence[StoredLabel]:
        """Return names by layer and channel, shipped ones too; with `history` all there have been, newest first."""
        query = select(_labels).where(_labels.c.model_version == model_version)
        if layer:
            query = query.where(_labels.c.layer == layer)
        query = query.order_by(_labels.c.id.desc()) if history else query.where(_labels.c.ended.is_(None))
        with self._engine.connect() as connection:
            stored = [_label(row._mapping) for row in connection.execute(query)]
        if not history:
            named = {(label.layer, label.channel) for label in stored}
            stored += [
                label
                for label in self._shipped.values()
                if label.model_version == model_version
                and layer in ("", label.layer)
                and (label.layer, label.channel) not in named
            ]
            stored.sort(key=lambda label: (label.layer, label.channel))
        return stored[offset : offset + limit]

    @staticmethod
    def _end(model_version: str, layer: str, channel: int, now: datetime):  # type: ignore[no-untyped-def]
        return (
            update(_labels)
            .where(
                _labels.c.model_version == model_version,
                _labels.c.layer == layer,
                _labels.c.channel == channel,
                _labels.c.ended.is_(None),
            )
            .values(ended=now)
        )


def _label(row) -> StoredLabel:  # type: ignore[no-untyped-def]
    return StoredLabel(**{name: row[name] for name in StoredLabel.__dataclass_fields__})
