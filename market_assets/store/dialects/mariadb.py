"""MariaDB and MySQL, through PyMySQL.

Belongs here: what only these need. PyMySQL's executemany joins rows to multi-row statements of up to a megabyte.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pymysql
import sqlalchemy as sa
from numpy import datetime_as_string

from market_assets.errors import StoreError
from market_assets.store.dialects import base
from market_assets.store.dialects.base import (
    Backend,
    batches,
    doubles_to_list,
    instants_to_text,
    key_names,
    quoted,
    value_names,
)
from market_assets.store.frames import Arrays, row_count
from market_assets.store.ledger import stored_fetch_times
from market_assets.store.types import Kind, from_micros

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from market_assets.store.scopes import ScopeSet

#: deadlock, lock wait timeout, record changed since the snapshot
_RETRYABLE = frozenset({1213, 1205, 1020})
_DELETE_BATCH = 200
_SCHEMA_LOCK_SECONDS = 120


class MariaDbBackend(Backend):
    """MariaDB or MySQL; writers run READ COMMITTED behind the ledger's row locks, readers REPEATABLE READ."""

    label = "mariadb"
    driver_error = pymysql.MySQLError
    read_options = {"isolation_level": "REPEATABLE READ"}  # noqa: RUF012 - ClassVar in the base

    def bound_idle_time(self, connection: sa.Connection) -> None:
        """Bound it where the server is MariaDB; MySQL has no such limit."""
        if connection.dialect.is_mariadb:  # type: ignore[attr-defined]
            connection.exec_driver_sql(f"SET SESSION idle_write_transaction_timeout = {base.IDLE_SECONDS}")

    def now(self, connection: sa.Connection) -> datetime:
        """Return UTC_TIMESTAMP(6)."""
        now: datetime = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one()
        return now.replace(tzinfo=UTC)

    def micros(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the microseconds since the epoch, by date arithmetic: UNIX_TIMESTAMP would use the session's zone."""
        return sa.func.timestampdiff(sa.literal_column("MICROSECOND"), sa.literal_column("'1970-01-01'"), column)

    def claim(
        self, connection: sa.Connection, ledger: sa.Table, scopes: ScopeSet, fetched_us: int, source: str
    ) -> NDArray[np.int64]:
        """Lock every scope, in order, by an insert that changes nothing where a row exists; then read them."""
        fetched_at = from_micros(fetched_us).replace(tzinfo=None)
        connection.exec_driver_sql(
            "INSERT INTO fetch_ledger (series, `interval`, day, fetched_at, source) VALUES (%s, %s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE fetched_at = fetched_at",
            [(scope.series, scope.interval, scope.day, fetched_at, source) for scope in scopes],
        )
        return stored_fetch_times(connection, self, ledger, scopes)

    def upsert(self, connection: sa.Connection, table: sa.Table, arrays: Arrays, *, overwrite: bool = True) -> None:
        """Insert with ON DUPLICATE KEY UPDATE, many rows a statement."""
        if row_count(arrays) == 0:
            return
        names = ", ".join(quoted(connection, list(arrays)))
        keys, values = (quoted(connection, each) for each in (key_names(table), value_names(table, arrays)))
        # a key that is set to itself changes nothing; INSERT IGNORE would hide other errors
        sets = ", ".join(f"{name} = VALUES({name})" for name in (values if values and overwrite else keys))
        marks = ", ".join(["%s"] * len(arrays))
        statement = f"INSERT INTO `{table.name}` ({names}) VALUES ({marks}) ON DUPLICATE KEY UPDATE {sets}"  # noqa: S608
        connection.exec_driver_sql(statement, self.rows(table, arrays))

    def delete(self, connection: sa.Connection, table: sa.Table, keys: Arrays) -> None:
        """Delete in batches; OR of ANDs is what the range optimizer understands everywhere."""
        one = "(" + " AND ".join(f"{name} = %s" for name in quoted(connection, list(keys))) + ")"
        for batch in batches(keys, _DELETE_BATCH):
            rows = self.rows(table, batch)
            where = " OR ".join([one] * len(rows))
            parameters = tuple(value for row in rows for value in row)
            connection.exec_driver_sql(f"DELETE FROM `{table.name}` WHERE {where}", parameters)  # noqa: S608

    @contextmanager
    def schema_change(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Hold a named lock of this database: DDL commits by itself, so a transaction cannot protect it."""
        with self.writing(engine) as connection:
            name = f"market_assets.{engine.url.database}"[:64]  # MySQL's limit of a lock's name
            got = connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, _SCHEMA_LOCK_SECONDS)).scalar_one()
            if got != 1:
                raise StoreError(
                    f"another process has been changing the schema for over {_SCHEMA_LOCK_SECONDS} s; "
                    "wait for it and run `market-assets migrate` again"
                )
            try:
                yield connection
            finally:
                connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,))

    def add_columns(self, connection: sa.Connection, table: sa.Table, names: list[str]) -> None:
        """Add all columns in one statement."""
        added = ", ".join(f"ADD COLUMN {self.column_definition(connection, table.columns[name])}" for name in names)
        connection.exec_driver_sql(f"ALTER TABLE `{table.name}` {added}")

    def is_retryable(self, error: BaseException) -> bool:
        """Whether the transaction lost a race (1213, 1205, 1020)."""
        return isinstance(error, pymysql.MySQLError) and bool(error.args) and error.args[0] in _RETRYABLE

    def version(self, connection: sa.Connection) -> str:
        """Return the server's version."""
        return str(connection.exec_driver_sql("SELECT VERSION()").scalar_one())

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the size of the database's tables and indexes, as far as the server's statistics know it."""
        size = connection.exec_driver_sql(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
        ).scalar_one()
        return int(size or 0)

    def encode(self, kind: Kind, values: NDArray[Any]) -> list[Any]:
        """Return text for instants and dates: PyMySQL formats datetime objects slowly, one by one."""
        if kind is Kind.TIMESTAMP:
            return list(instants_to_text(values))
        if kind is Kind.DATE:
            return list(datetime_as_string(values).tolist())
        if kind is Kind.DOUBLE:
            return list(doubles_to_list(values))
        return list(values.tolist())
