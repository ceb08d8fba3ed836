"""An independent reader: whole tables as plain SQL shows them, in one transaction.

Belongs here: taking pictures of a database, and comparing them. Does not belong here: the store's own way of reading;
of the package only the names of tables and of their keys are used.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pymysql.converters
import sqlalchemy as sa

from market_assets.store.tables import KNOWN_FROM, KNOWN_TO, REMOVED, VERSIONED_TABLES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from types import TracebackType

    from market_assets.store.schema import Schema
    from market_assets.store.tables import VersionedTable

#: one row as the driver gives it: doubles keep their bits
Row = tuple[Any, ...]

#: the lock says who collects, in real time; it is looked at by itself
LOCK = "collection_lock"
HISTORY = "_history"
#: rows that are told of a difference
_TOLD = 3
_DAY_US = 86_400_000_000
#: what is the same in two pictures is one object: many pictures are then kept, and compared, at little cost
_ROWS: dict[Row, Row] = {}
_TABLES: dict[tuple[tuple[str, ...], tuple[Row, ...]], Table] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All rows of one table, by key. Two pictures that show the same rows share it."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @staticmethod
    def of(columns: tuple[str, ...], rows: Sequence[Row]) -> Table:
        """Return the one table of these rows."""
        found = Table(columns, tuple(map(_ROWS.setdefault, rows, rows)))
        return _TABLES.setdefault((found.columns, found.rows), found)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the one table of these rows in the other process, too."""
        return Table.of, (self.columns, self.rows)

    def picked(self, *columns: str) -> list[Row]:
        """Return the rows' values of `columns`."""
        places = [self.columns.index(name) for name in columns]
        if len(places) == 1:
            return [(row[places[0]],) for row in self.rows]
        return list(map(itemgetter(*places), self.rows))

    def without(self, columns: Collection[str]) -> list[Row]:
        """Return the rows without `columns`."""
        return self.picked(*(name for name in self.columns if name not in columns))


@dataclass(frozen=True, slots=True)
class Picture:
    """What a reader saw of every table but the lock, at one instant."""

    tables: Mapping[str, Table]

    def differences(self, other: Picture) -> list[str]:
        """Return a line per table that differs from `other`; empty if every row of every table is the same."""
        return [
            line
            for name, table in self.tables.items()
            if table is not other.tables[name]
            for line in [difference(name, table.rows, other.tables[name].rows)]
        ]


def difference(name: str, one: Iterable[Row], other: Iterable[Row]) -> str:
    """Return how many rows only one of the two has, with the first few."""
    left, right = set(one), set(other)
    only = [sorted(left - right, key=repr), sorted(right - left, key=repr)]
    told = "; ".join(repr(rows[:_TOLD]) for rows in only)
    return f"{name}: {len(only[0])} rows here only, {len(only[1])} there only: {told}"


#: instants and dates stay the text that the server sends: to make objects of them takes half of a picture's time
_MARIADB_VALUES = {
    kind: convert
    for kind, convert in pymysql.converters.conversions.items()
    if convert not in {pymysql.converters.convert_datetime, pymysql.converters.convert_date}
}


class Camera:
    """Takes pictures of one database, over a connection of its own."""

    def __init__(self, url: str, schema: Schema, *, unpredictable: Collection[str] = ()) -> None:
        """`unpredictable` columns are left out of every table: a Dagster run's identifier is drawn by chance."""
        parsed = sa.make_url(url)
        options: dict[str, Any] = {"poolclass": sa.pool.StaticPool}
        if parsed.get_backend_name() == "sqlite":
            options["connect_args"] = {"check_same_thread": False, "timeout": 30.0}
        else:
            options["isolation_level"] = "REPEATABLE READ"
        if parsed.get_backend_name() == "postgresql":
            options["connect_args"] = {"options": "-c TimeZone=UTC"}
        elif parsed.get_backend_name() == "mysql":
            options["connect_args"] = {"conv": _MARIADB_VALUES}
        self._engine = sa.create_engine(parsed, **options)
        if parsed.get_backend_name() == "sqlite":
            # Else the driver begins no transaction for a SELECT, and each table would be of another instant.
            sa.event.listen(self._engine, "connect", _leave_transactions_to_sqlalchemy)
            sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._tables = [table for table in schema.metadata.sorted_tables if table.name != LOCK]
        self._unpredictable = frozenset(unpredictable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def picture(self) -> Picture:
        """Look at every table in one transaction."""
        with self._engine.connect() as connection, connection.begin() as transaction:
            tables = {table.name: self._table(connection, table) for table in self._tables}
            transaction.rollback()
        return Picture(tables)

    def _table(self, connection: sa.Connection, table: sa.Table) -> Table:
        quote = connection.dialect.identifier_preparer.quote_identifier
        order = ", ".join(quote(column.name) for column in table.primary_key.columns)
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT * FROM {quote(table.name)} ORDER BY {order}")  # noqa: S608
        columns = tuple(column[0] for column in cursor.description or ())
        fetched = cursor.fetchall()
        cursor.close()
        found = Table.of(columns, fetched)
        if self._unpredictable.isdisjoint(columns):
            return found
        names = tuple(name for name in columns if name not in self._unpredictable)
        return Table.of(names, sorted(found.without(self._unpredictable), key=repr))


def _leave_transactions_to_sqlalchemy(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


# --- what two runs that did not happen at the same stamps must still have in common -----------------------------------

#: columns that may differ between an undisturbed run and one whose tick was killed and made up for by the next, and why
EXPLAINED: Mapping[str, frozenset[str]] = {
    # when a version was stored, on the knowledge axis: the next tick stores what the killed one did not
    **{table.name: frozenset({KNOWN_FROM}) for table in VERSIONED_TABLES},
    # a row that the next tick writes for the first time was read later, and is no longer live but caught up
    "ml_features": frozenset({KNOWN_FROM, "origin", "read_as_of"}),
    # the fetch, or for derived rows the knowledge, that a scope was last written from: the next tick's
    "fetch_ledger": frozenset({"fetched_at"}),
    # the stamp of the change that made a day stale
    "stale_feature_days": frozenset({"changed_at"}),
}
#: tables of which only invariants are compared: versions that the killed tick never stored were never closed either
#: (history), the log tells of the collections themselves, the ledger of states is read through `RunLog.states`
_BY_OTHER_MEANS = frozenset({"collections", "collection_ledger", "knowledge_counter"})


def unexplained(disturbed: Picture, undisturbed: Picture) -> list[str]:
    """Return a line per current table whose rows differ in more than the explained columns."""
    found = []
    for name, table in undisturbed.tables.items():
        if name in _BY_OTHER_MEANS or name.endswith(HISTORY):
            continue
        leave_out = EXPLAINED.get(name, frozenset())
        one, other = disturbed.tables[name].without(leave_out), table.without(leave_out)
        if one != other:
            found.append(difference(name, one, other))
    return found


def foreign_versions(disturbed: Picture, undisturbed: Sequence[Picture]) -> list[str]:
    """Return a line per versioned table that ever held a row which the undisturbed run never held."""
    found = []
    for table in VERSIONED_TABLES:
        leave_out = EXPLAINED[table.name] | {KNOWN_TO, REMOVED}
        names = (table.name, table.name + HISTORY)
        held = {row for name in names for row in disturbed.tables[name].without(leave_out)}
        known = {row for one in undisturbed for name in names for row in one.tables[name].without(leave_out)}
        if held - known:
            found.append(difference(f"{table.name}, every version", held, known))
    return found


def scopes(picture: Picture) -> dict[tuple[str, ...], frozenset[Row]]:
    """Return the current rows by (table, series, interval, UTC day), without their stamps."""
    return {
        scope: rows
        for declared in VERSIONED_TABLES
        for scope, rows in _scopes_of(declared, picture.tables[declared.name]).items()
    }


@cache
def _scopes_of(declared: VersionedTable, table: Table) -> dict[tuple[str, ...], frozenset[Row]]:
    leave_out = EXPLAINED[declared.name]
    names = [name for name in table.columns if name not in leave_out]
    parts = [names.index(one) for one in (declared.series_column, declared.interval_column) if one is not None]
    time = names.index(declared.time_column)
    found: dict[tuple[str, ...], set[Row]] = defaultdict(set)
    for row in table.without(leave_out):
        found[declared.name, *(str(row[part]) for part in parts), day_of(row[time])].add(row)
    return {scope: frozenset(rows) for scope, rows in found.items()}


def day_of(value: Any) -> str:
    """Return the UTC day of an instant or a date, as each driver gives it: SQLite's instants are microseconds."""
    if isinstance(value, int):
        return str(np.datetime64(value // _DAY_US, "D"))
    return (value if isinstance(value, str) else value.isoformat())[:10]
