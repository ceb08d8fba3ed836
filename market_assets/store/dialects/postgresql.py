"""PostgreSQL 15 or newer, through psycopg 3.

Belongs here: what only PostgreSQL needs. Large batches go through binary COPY into a temporary table that is analysed
before it is joined (un-ANALYZEd, the planner took a hundred times as long).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import sqlalchemy as sa

from market_assets.store.dialects import base
from market_assets.store.dialects.base import (
    Backend,
    doubles_to_list,
    instants_to_datetimes,
    key_names,
    quoted,
    value_names,
)
from market_assets.store.frames import Arrays, row_count
from market_assets.store.types import Kind, from_micros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from numpy.typing import NDArray

    from market_assets.store.scopes import ScopeSet

#: rows from which COPY and a temporary table pay
_COPY_FROM = 500
#: serialization failure and deadlock
_RETRYABLE = frozenset({"40001", "40P01"})
#: key of the advisory lock that schema changes take; arbitrary, but the same in every process
_SCHEMA_LOCK = 7_305_512_101
_STAGE = "market_assets_stage"
_COPY_TYPES = {
    Kind.TIMESTAMP: "timestamptz",
    Kind.DATE: "date",
    Kind.DOUBLE: "float8",
    Kind.INTEGER: "int8",
    Kind.TEXT: "varchar",
    Kind.LONG_TEXT: "text",
    Kind.BOOLEAN: "bool",
}
_CLAIM = """
INSERT INTO fetch_ledger (series, "interval", day, fetched_at, source)
SELECT s, i, d, %s, %s FROM unnest(%s::text[], %s::text[], %s::date[]) WITH ORDINALITY AS u (s, i, d, n) ORDER BY n
ON CONFLICT DO NOTHING
"""
_LOCK = """
SELECT u.n, (extract(epoch FROM l.fetched_at) * 1000000)::bigint
FROM unnest(%s::text[], %s::text[], %s::date[]) WITH ORDINALITY AS u (s, i, d, n)
JOIN fetch_ledger l ON l.series = u.s AND l."interval" = u.i AND l.day = u.d
ORDER BY u.n FOR UPDATE OF l
"""


class PostgresqlBackend(Backend):
    """PostgreSQL; writers run READ COMMITTED behind the ledger's row locks, readers REPEATABLE READ."""

    label = "postgresql"
    driver_error = psycopg.Error
    read_options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}  # noqa: RUF012 - ClassVar in the base

    def bound_idle_time(self, connection: sa.Connection) -> None:
        """Bound it for this transaction alone: behind a pooler the session is somebody else's."""
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{base.IDLE_SECONDS}s'")

    def now(self, connection: sa.Connection) -> datetime:
        """Ask `clock_timestamp`, because `now` would be the start of the transaction."""
        return connection.execute(
            sa.select(sa.type_coerce(sa.func.clock_timestamp(), sa.DateTime(timezone=True)))
        ).scalar_one()

    def micros(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the epoch times a million; extract is numeric since PostgreSQL 14, so it is exact."""
        return sa.cast(sa.extract("epoch", column) * sa.literal_column("1000000"), sa.BigInteger)

    def claim(
        self,
        connection: sa.Connection,
        ledger: sa.Table,  # noqa: ARG002
        scopes: ScopeSet,
        fetched_us: int,
        source: str,
    ) -> NDArray[np.int64]:
        """Insert the missing scopes in order (waiting for writers that just do the same), then lock all in order."""
        arrays = (scopes.series.tolist(), scopes.intervals.tolist(), scopes.days.tolist())
        connection.exec_driver_sql(_CLAIM, (from_micros(fetched_us), source, *arrays))
        rows = connection.exec_driver_sql(_LOCK, arrays).fetchall()
        times = np.empty(len(scopes), dtype=np.int64)
        for position, stored in rows:
            times[position - 1] = stored
        return times

    def upsert(self, connection: sa.Connection, table: sa.Table, arrays: Arrays, *, overwrite: bool = True) -> None:
        """Insert with ON CONFLICT: pipelined for few rows, through COPY for many."""
        count = row_count(arrays)
        if count == 0:
            return
        names = ", ".join(quoted(connection, list(arrays)))
        keys = ", ".join(quoted(connection, key_names(table)))
        sets = ", ".join(f"{name} = excluded.{name}" for name in quoted(connection, value_names(table, arrays)))
        action = f"ON CONFLICT ({keys}) DO " + (f"UPDATE SET {sets}" if sets and overwrite else "NOTHING")
        if count <= _COPY_FROM:
            marks = ", ".join(["%s"] * len(arrays))
            statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) {action}'  # noqa: S608
            connection.exec_driver_sql(statement, self.rows(table, arrays))
            return
        with self._staged(connection, table, arrays):
            connection.exec_driver_sql(
                f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM {_STAGE} {action}'  # noqa: S608
            )

    def delete(self, connection: sa.Connection, table: sa.Table, keys: Arrays) -> None:
        """Delete by key: pipelined for few rows, through a staged join for many."""
        count = row_count(keys)
        if count == 0:
            return
        names = quoted(connection, list(keys))
        if count <= _COPY_FROM:
            where = " AND ".join(f"{name} = %s" for name in names)
            connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {where}', self.rows(table, keys))  # noqa: S608
            return
        with self._staged(connection, table, keys):
            where = " AND ".join(f"t.{name} = s.{name}" for name in names)
            connection.exec_driver_sql(f'DELETE FROM "{table.name}" t USING {_STAGE} s WHERE {where}')  # noqa: S608

    @contextmanager
    def _staged(self, connection: sa.Connection, table: sa.Table, arrays: Arrays) -> Iterator[None]:
        """Copy the rows to a temporary table for the length of the block."""
        names = ", ".join(quoted(connection, list(arrays)))
        connection.exec_driver_sql(
            f'CREATE TEMPORARY TABLE {_STAGE} ON COMMIT DROP AS SELECT {names} FROM "{table.name}" WITH NO DATA'  # noqa: S608
        )
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"expected a psycopg connection, got {type(driver).__name__}")
        statement = f"COPY {_STAGE} ({names}) FROM STDIN (FORMAT BINARY)"
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([_COPY_TYPES[table.columns[name].info["kind"]] for name in arrays])
            for row in self.rows(table, arrays):
                copy.write_row(row)
        connection.exec_driver_sql(f"ANALYZE {_STAGE}")
        yield
        connection.exec_driver_sql(f"DROP TABLE {_STAGE}")

    @contextmanager
    def schema_change(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Open a transaction under an advisory lock that ends with it (a session lock would not survive PgBouncer)."""
        with self.writing(engine) as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            yield connection

    def add_columns(self, connection: sa.Connection, table: sa.Table, names: list[str]) -> None:
        """Add all columns in one statement."""
        added = ", ".join(f"ADD COLUMN {self.column_definition(connection, table.columns[name])}" for name in names)
        connection.exec_driver_sql(f'ALTER TABLE "{table.name}" {added}')

    def is_retryable(self, error: BaseException) -> bool:
        """Whether the transaction lost a race (40001, 40P01)."""
        return isinstance(error, psycopg.Error) and error.sqlstate in _RETRYABLE

    def version(self, connection: sa.Connection) -> str:
        """Return the server's version."""
        return str(connection.exec_driver_sql("SHOW server_version").scalar_one())

    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the size of the database."""
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    def encode(self, kind: Kind, values: NDArray[Any]) -> list[Any]:
        """Return Python objects, which psycopg's C code dumps as binary."""
        if kind is Kind.TIMESTAMP:
            return list(instants_to_datetimes(values))
        if kind is Kind.DOUBLE:
            return list(doubles_to_list(values))
        return list(values.tolist())
