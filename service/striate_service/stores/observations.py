"""The tables of monitors, and what is kept of images: what is forgotten, and how what was kept elsewhere is merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

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
    insert,
    select,
    update,
)

REFERENCE_IMAGES = 1024
"""That are kept of a reference: a byte a number, so 1 MB for a layer of 512 channels."""
MAX_SLICES = 16
OTHER_SLICE = "other"
_REMEMBERED = 10  # windows of traffic whose ids are remembered, so that an image that is sent again is not new

METADATA = MetaData()
MONITORS = Table(
    "monitors",
    METADATA,
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
OBSERVATIONS = Table(
    "observations",
    METADATA,
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


@dataclass(frozen=True, eq=False)
class KeptImage:
    """An image as it is kept, wherever."""

    sample: bytes
    """16 bytes, by which it is told from others."""
    codes: bytes
    """[F]"""
    predicted: int
    outcome: int | None
    novelty: float | None
    slice: str
    taken: datetime
    """UTC."""
    picture: bytes
    """Empty: none is kept."""


def kept_images(connection: Connection, name: str, *, reference: bool, pictures: bool) -> list[KeptImage]:
    """Return what a monitor keeps of the reference, or of the newest images of traffic, oldest first."""
    columns = OBSERVATIONS.c
    chosen = [columns[each.name] for each in fields(KeptImage) if pictures or each.name != "picture"]
    query = select(*chosen).where(columns.monitor == name, columns.reference.is_(reference), columns.codes.is_not(None))
    rows = connection.execute(query.order_by(columns.id)).mappings()
    return [KeptImage(**{**row, "picture": row.get("picture") or b""}) for row in rows]


def merge(
    connection: Connection, name: str, size: int, images: Sequence[KeptImage], *, reference: bool, slices: Sequence[str]
) -> list[KeptImage]:
    """Take in images that were kept elsewhere, and return those that were not known.

    Of the reference the smallest samples stay, of traffic what was taken last, so that parts of a stream come to what
    the whole would have.

    Args:
        name: the monitor's.
        size: of its window.
        slices: that the monitor tells apart; others are called "other".
    """
    columns = OBSERVATIONS.c
    own = (columns.monitor == name, columns.reference.is_(reference))
    wanted = {image.sample: image for image in images}
    query = select(columns.sample).where(*own, columns.sample.in_(list(wanted)))
    known = set(connection.execute(query).scalars())
    fresh = [image for sample, image in wanted.items() if sample not in known]
    if not fresh:
        return []
    rows = fresh
    if not reference:
        there = kept_images(connection, name, reference=False, pictures=True)
        connection.execute(delete(OBSERVATIONS).where(*own, columns.codes.is_not(None)))
        rows = sorted([*there, *fresh], key=lambda image: image.taken)
    connection.execute(
        insert(OBSERVATIONS),
        [
            {
                **vars(image),
                "monitor": name,
                "reference": reference,
                "slice": image.slice if image.slice in slices or not image.slice else OTHER_SLICE,
                "picture": image.picture or None,
            }
            for image in rows
        ],
    )
    forget(connection, name, size, reference=reference, window=not reference)
    return fresh


def with_slices(known: Sequence[str], images: Sequence[KeptImage]) -> list[str]:
    """Return the slices that a monitor tells apart when it has these images too."""
    new = dict.fromkeys(image.slice for image in images if image.slice and image.slice not in (*known, OTHER_SLICE))
    return [*known, *new][: max(MAX_SLICES, len(known))]


def forget(connection: Connection, name: str, size: int, *, reference: bool, window: bool) -> None:
    """Delete what is beyond the sample of the reference, and beyond the window of traffic.

    Args:
        name: the monitor's.
        size: of its window.
        reference, window: which of them has grown.
    """
    columns = OBSERVATIONS.c
    if reference:
        kept = (
            select(columns.sample)
            .where(columns.monitor == name, columns.reference.is_(True))
            .order_by(columns.sample)
            .offset(REFERENCE_IMAGES)
            .limit(1)
        )
        if (first := connection.execute(kept).scalar()) is not None:
            connection.execute(
                delete(OBSERVATIONS).where(
                    columns.monitor == name, columns.reference.is_(True), columns.sample >= first
                )
            )
    if window:
        of_traffic = select(columns.id).where(columns.monitor == name, columns.reference.is_(False))
        newest = of_traffic.order_by(columns.id.desc())
        if (last := connection.execute(newest.offset(size).limit(1)).scalar()) is not None:
            connection.execute(
                update(OBSERVATIONS)
                .where(columns.monitor == name, columns.reference.is_(False), columns.id <= last)
                .where(columns.codes.is_not(None))
                .values(codes=None, picture=None)
            )
        if (last := connection.execute(newest.offset(_REMEMBERED * size).limit(1)).scalar()) is not None:
            connection.execute(
                delete(OBSERVATIONS).where(columns.monitor == name, columns.reference.is_(False), columns.id <= last)
            )
