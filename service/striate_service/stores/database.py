"""Databases: SQLite by default, PostgreSQL by URL; tables whose format has a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

_BOUNDED_WAITS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 2},  # seconds, for a lock
    "postgresql": {"connect_timeout": 2, "tcp_user_timeout": 5000},  # seconds to connect; milliseconds unacknowledged
}
"""How long a database that is locked or gone may hold up a thread."""

Result = TypeVar("Result")


class DatabaseError(OSError):
    """The database cannot be used. The text tells the operator why and what to do."""


def connect(url: str, metadata: MetaData, format_table: str, version: int) -> Engine:
    """Open a database, and create the tables that are missing.

    Args:
        url: SQLAlchemy's: "sqlite:////path/labels.db", "postgresql://user@host/database".
        metadata: the tables.
        format_table: the name of a table of one row, the format of the others; it is added to `metadata`.
        version: the newest format that the caller reads, and the one it creates.

    Raises:
        DatabaseError: there is no such database, no driver for it, or a later version of striate wrote it.
    """
    formats = Table(
        format_table,
        metadata,
        Column("version", Integer, primary_key=True, autoincrement=False),
        extend_existing=True,
    )
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":  # SQLAlchemy would take an older driver
            parsed = parsed.set(drivername="postgresql+psycopg")
        waits = _BOUNDED_WAITS.get(parsed.get_backend_name(), {})
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=waits)  # which detects a restarted database
        try:
            _prepare(engine, metadata, formats, version)
        except SQLAlchemyError:
            _prepare(engine, metadata, formats, version)  # another server made the tables at the same time
    except ImportError as error:
        raise DatabaseError(
            f"there is no driver for the database: pip install 'striate[postgres]' for PostgreSQL ({error})"
        ) from error
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise DatabaseError(f"the database cannot be used; check `database`: {reason}") from error
    return engine


def change_alone(engine: Engine, locked: str, change: Callable[[Connection], Result]) -> Result:
    """Change something in one transaction, and return what `change` does. Writers wait for each other; readers do not.

    Args:
        locked: the tables that are changed, as SQL lists them; SQLite locks all.
    """
    locks = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE"}
    with engine.begin() as connection:
        if lock := locks.get(connection.dialect.name):  # first of all: it serializes writers
            connection.exec_driver_sql(lock)
        return change(connection)


def _prepare(engine: Engine, metadata: MetaData, formats: Table, version: int) -> None:
    """Make the tables that are missing.

    Raises:
        DatabaseError: a later version of this program made them otherwise.
    """
    if (stored := _stored_format(engine, formats)) > version:
        raise DatabaseError(
            f"the database is of format {stored}, and this version of striate knows formats up to {version}: "
            "use the later version that wrote it, or another `database`"
        )
    metadata.create_all(engine)
    if not stored:
        with engine.begin() as connection:
            connection.execute(insert(formats).values(version=version))


def _stored_format(engine: Engine, formats: Table) -> int:
    """Return the tables' format; 0: it does not say."""
    if not inspect(engine).has_table(formats.name):
        return 0
    with engine.connect() as connection:
        return max(connection.execute(select(formats.c.version)).scalars(), default=0)
