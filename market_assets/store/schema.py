"""SQLAlchemy objects made from the declarations in tables.py.

Belongs here: building the MetaData for a given list of feature columns. Does not belong here: creating or altering
tables in a database (migrate.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from market_assets.errors import StoreError
from market_assets.store.tables import (
    KNOWN_FROM,
    KNOWN_TO,
    PLAIN_TABLES,
    REMOVED,
    VERSIONED_TABLES,
    ColumnSpec,
    PlainTable,
    VersionedTable,
)
from market_assets.store.types import Kind, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: tickers with feature columns in one database: PostgreSQL ends at 1,600 columns of a table, InnoDB at 1,017
MAX_FEATURE_TICKERS = 300
#: every feature ticker has one column that ends so
_TICKER_SUFFIX = "_price"
_TABLE_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        # compares bytes: MariaDB's default collation takes `qqq` and `QQQ` for one key
        "mysql_collate": "utf8mb4_bin",
    }
)

#: columns that every current table and every history table has besides those of its frame
CURRENT_EXTRA = (ColumnSpec(KNOWN_FROM, Kind.TIMESTAMP),)
HISTORY_EXTRA = (ColumnSpec(KNOWN_TO, Kind.TIMESTAMP), ColumnSpec(REMOVED, Kind.BOOLEAN))


@dataclass(frozen=True)
class Schema:
    """The tables of one database, for one list of feature columns."""

    metadata: sa.MetaData
    feature_columns: tuple[str, ...]
    _layouts: Mapping[str, VersionedTable]

    def layout(self, table: VersionedTable) -> VersionedTable:
        """Return the declaration of `table` with this schema's feature columns in it."""
        return self._layouts[table.name]

    def current(self, table: VersionedTable) -> sa.Table:
        """Return the table of current rows."""
        return self.metadata.tables[table.name]

    def history(self, table: VersionedTable) -> sa.Table:
        """Return the table of closed versions."""
        return self.metadata.tables[history_name(table)]

    def plain(self, table: PlainTable) -> sa.Table:
        """Return a bookkeeping table."""
        return self.metadata.tables[table.name]

    def is_wide(self, table: VersionedTable) -> bool:
        """Whether the table has one column per feature."""
        return any(declared.is_wide for declared in VERSIONED_TABLES if declared.name == table.name)

    def retained(self, table: VersionedTable) -> tuple[str, ...]:
        """Return the columns that the database keeps for tickers that left the universe."""
        known = {*self.layout(table).column_names, KNOWN_FROM}
        return tuple(name for name in self.current(table).columns.keys() if name not in known)  # noqa: SIM118 - not a dict


def history_name(table: VersionedTable) -> str:
    """Return the name of the table that holds the closed versions of `table`."""
    return f"{table.name}_history"


def build_schema(feature_columns: Sequence[str]) -> Schema:
    """Return the schema for `feature_columns`; raise StoreError above 300 tickers."""
    tickers = sum(name.endswith(_TICKER_SUFFIX) for name in feature_columns)
    if tickers > MAX_FEATURE_TICKERS:
        raise StoreError(
            f"{tickers} tickers have feature columns and one database takes {MAX_FEATURE_TICKERS}: "
            "split the universe over several deployments, each with its own DATABASE_URL (sharding, see the README)"
        )
    return _build(tuple(feature_columns), ())


def with_retained_columns(connection: sa.Connection, schema: Schema, tables: Iterable[VersionedTable]) -> Schema:
    """Return `schema` with the columns that the database has and the universe has not, of those `tables` that are wide.

    They belong to tickers that left the universe, or that a newer release has just added: they keep their values in
    every version already stored and are NULL in new ones. Looked up in each write, as another process may migrate.
    """
    retained: list[tuple[str, tuple[str, ...]]] = []
    for table in tables:
        if not schema.is_wide(table):
            continue
        with connection.execute(sa.select(sa.text("*")).select_from(schema.current(table)).where(sa.false())) as result:
            present = tuple(result.keys())
        known = {*schema.layout(table).column_names, KNOWN_FROM}
        retained.append((table.name, tuple(name for name in present if name not in known)))
    return _build(schema.feature_columns, tuple(retained)) if any(names for _, names in retained) else schema


@lru_cache(maxsize=8)
def _build(feature_columns: tuple[str, ...], retained: tuple[tuple[str, tuple[str, ...]], ...]) -> Schema:
    kept_columns = dict(retained)
    metadata = sa.MetaData()
    layouts: dict[str, VersionedTable] = {}
    for declared in VERSIONED_TABLES:
        layout = declared.with_features(feature_columns)
        layouts[layout.name] = layout
        kept = tuple(ColumnSpec(name, Kind.DOUBLE, nullable=True) for name in kept_columns.get(layout.name, ()))
        values = (*layout.compared, *layout.carried, *kept)
        # SQLite: one b-tree ordered by the key instead of two; wide rows are better off with a rowid
        narrow = not declared.is_wide
        _table(metadata, layout.name, layout.key, (*values, *CURRENT_EXTRA), narrow=narrow)
        _table(metadata, history_name(layout), (*layout.key, *CURRENT_EXTRA), (*values, *HISTORY_EXTRA), narrow=narrow)
    for plain in PLAIN_TABLES:
        _table(metadata, plain.name, plain.key, plain.values, narrow=True)
    return Schema(metadata, feature_columns, MappingProxyType(layouts))


def _table(
    metadata: sa.MetaData, name: str, key: Iterable[ColumnSpec], values: Iterable[ColumnSpec], *, narrow: bool
) -> sa.Table:
    columns = [column(spec.name, spec.kind, length=spec.length, primary_key=True) for spec in key]
    columns += [column(spec.name, spec.kind, length=spec.length, nullable=spec.nullable) for spec in values]
    return sa.Table(name, metadata, *columns, sqlite_with_rowid=not narrow, **_TABLE_OPTIONS)
