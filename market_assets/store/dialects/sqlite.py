"""SQLite: the embedded default.

Belongs here: what only SQLite needs. Writers start with BEGIN IMMEDIATE: a deferred one that reads first fails with
"database is locked" when it comes to write, whatever the timeout.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from market_assets.clock import SystemClock
from market_assets.store.dialects.base import Backend, doubles_to_list, key_names, quoted, value_names, with_nulls
from market_assets.store.frames import NO_INSTANT, Arrays, row_count
from market_assets.store.ledger import stored_fetch_times
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from numpy.typing import NDArray

    from market_assets.store.scopes import ScopeSet

#: execution option that makes a transaction take the write lock at its start
IMMEDIATE = "market_assets_immediate"
_PRIMARY_CODE = 0xFF  # extended result codes carry the primary one in their low byte


class SqliteBackend(Backend):
    """SQLite in WAL mode. The process's own clock is the database's clock."""

    label = "sqlite"
    driver_error = sqlite3.Error
    write_options = {IMMEDIATE: True}  # noqa: RUF012 - ClassVar in the base class

    def now(self, connection: sa.Connection) -> datetime:  # noqa: ARG002
        """Return the process's clock: there is no server, and SQLite's own has milliseconds only."""
        return SystemClock().now()

    def micros(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the stored integer as it is."""
        return sa.type_coerce(column, sa.types.NullType())

    def claim(
        self,
        connection: sa.Connection,
        ledger: sa.Table,
        scopes: ScopeSet,
        fetched_us: int,  # noqa: ARG002
        source: str,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """Return the stored times; the transaction already excludes every other writer."""
        return stored_fetch_times(connection, self, ledger, scopes)

    def upsert(self, connection: sa.Connection, table: sa.Table, arrays: Arrays, *, overwrite: bool = True) -> None:
        """Insert with ON CONFLICT in one prepared statement."""
        if row_count(arrays) == 0:
            return
        keys = ", ".join(quoted(connection, key_names(table)))
        values = quoted(connection, value_names(table, arrays))
        sets = ", ".join(f"{name} = excluded.{name}" for name in values)
        action = f"DO UPDATE SET {sets}" if sets and overwrite else "DO NOTHING"
        names = ", ".join(quoted(connection, list(arrays)))
        marks = ", ".join("?" * len(arrays))
        statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT ({keys}) {action}'  # noqa: S608
        connection.exec_driver_sql(statement, self.rows(table, arrays))

    def delete(self, connection: sa.Connection, table: sa.Table, keys: Arrays) -> None:
        """Delete row by row in one prepared statement."""
        if row_count(keys) == 0:
            return
        where = " AND ".join(f"{name} = ?" for name in quoted(connection, list(keys)))
        connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {where}', self.rows(table, keys))  # noqa: S608

    def schema_change(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        """Open a writing transaction: DDL is transactional, and the write lock keeps others out."""
        return self.writing(engine)

    def add_columns(self, connection: sa.Connection, table: sa.Table, names: list[str]) -> None:
        """Add one column per statement, as SQLite knows no other way; an empty table is made anew, which is faster."""
        rows = connection.execute(sa.select(sa.text("1")).select_from(table).limit(1)).first()
        present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        # A column that is not declared belongs to a ticker that left, and the history may still need it.
        if rows is None and present <= set(table.columns.keys()):
            table.drop(connection)
            table.create(connection)
            return
        for name in names:
            definition = self.column_definition(connection, table.columns[name])
            connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}')

    def is_retryable(self, error: BaseException) -> bool:
        """Whether another connection was in the way (SQLITE_BUSY, SQLITE_LOCKED)."""
        return isinstance(error, sqlite3.OperationalError) and (
            getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        ) in {
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        }

    def version(self, connection: sa.Connection) -> str:  # noqa: ARG002
        """Return the library's version."""
        return sqlite3.sqlite_version

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the size of the file without its write-ahead log."""
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    def encode(self, kind: Kind, values: NDArray[Any]) -> list[Any]:
        """Return integers for instants, ISO text for dates."""
        if kind is Kind.TIMESTAMP:
            return with_nulls(values, values == NO_INSTANT)
        if kind is Kind.DATE:
            return list(np.datetime_as_string(values).tolist())
        if kind is Kind.DOUBLE:
            return list(doubles_to_list(values))
        return list(values.tolist())
