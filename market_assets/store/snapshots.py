"""The one read mechanism: all tables as they stood at one point of the knowledge axis.

Belongs here: reading versions into frames. Does not belong here: writing, or what the rows mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from market_assets.clock import ensure_utc
from market_assets.errors import StoreError
from market_assets.store.frames import NO_INSTANT, Arrays, concatenate, row_count, sort_codes, take, to_frame
from market_assets.store.queries import select_arrays
from market_assets.store.schema import CURRENT_EXTRA, HISTORY_EXTRA
from market_assets.store.tables import KNOWLEDGE_COUNTER, KNOWN_FROM, KNOWN_TO, REMOVED, ColumnSpec, VersionedTable
from market_assets.store.types import to_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from market_assets.store.dialects import Backend
    from market_assets.store.schema import Schema


@dataclass(frozen=True, slots=True)
class _Window:
    """Which rows of a table are wanted."""

    start: datetime | date | None
    end: datetime | date | None
    series: Collection[str] | None
    intervals: Collection[str] | None
    keys: Mapping[str, Collection[Any]]


class Snapshot:
    """A consistent view of every versioned table. Open one with `Store.snapshot`; it ends with the `with` block."""

    def __init__(
        self, connection: sa.Connection, backend: Backend, schema: Schema, as_of: datetime | None = None
    ) -> None:
        """Stand on the open reading transaction of `connection`."""
        self._connection = connection
        self._backend = backend
        self._schema = schema
        counter = schema.plain(KNOWLEDGE_COUNTER).columns.stamp
        # The first query of the transaction: from here on every read sees the same state.
        stamp: datetime | None = connection.execute(sa.select(counter)).scalar_one_or_none()
        if stamp is None:
            raise StoreError("the table knowledge_counter has no row: run `market-assets migrate`")
        self._as_of = None if as_of is None else ensure_utc(as_of, "as_of")
        #: knowledge instant that the reads stand on: a later read with `as_of` set to it returns the same rows. An
        #: `as_of` after the last commit is brought back to that commit: a version to come may be stamped before it.
        self.watermark: datetime = stamp if self._as_of is None else min(stamp, self._as_of)

    def read(
        self,
        table: VersionedTable,
        *,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
        series: Collection[str] | None = None,
        intervals: Collection[str] | None = None,
        keys: Mapping[str, Collection[Any]] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return the rows of `table` with time in [start, end), sorted by key.

        `start` and `end` are aware datetimes or, meaning 00:00 UTC, dates; `series` and `intervals` select by the parts
        of the scope, `keys` by values of other columns of the key. `columns` picks values; the key and `known_from` are
        always there. Times are datetime64[us, UTC], dates datetime.date, values float64, counts int64, text str or
        None.
        """
        layout = self._schema.layout(table)
        window = _Window(start, end, series, intervals, keys or {})
        specs = (*_picked(layout, columns), *CURRENT_EXTRA)
        current, history = self._schema.current(table), self._schema.history(table)
        if self._as_of is None:
            rows = self._select(layout, current, specs, window)
        else:
            since = current.columns[KNOWN_FROM] <= self._as_of
            then = sa.and_(history.columns[KNOWN_FROM] <= self._as_of, history.columns[KNOWN_TO] > self._as_of)
            parts = [
                self._select(layout, current, specs, window, since),
                self._select(layout, history, specs, window, then),
            ]
            rows = concatenate(parts)
        return to_frame(specs, _sorted(rows, layout.key_names))

    def versions(
        self,
        table: VersionedTable,
        *,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
        series: Collection[str] | None = None,
        intervals: Collection[str] | None = None,
        keys: Mapping[str, Collection[Any]] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return every version of the rows that `read` would consider, sorted by key and `known_from`.

        `known_to` is NaT for the version in force; `removed` says that a version ended because the source withdrew the
        row. With an `as_of`, versions that began later are left out and endings that came later are not told.
        """
        layout = self._schema.layout(table)
        window = _Window(start, end, series, intervals, keys or {})
        specs = (*_picked(layout, columns), *CURRENT_EXTRA)
        current, history = self._schema.current(table), self._schema.history(table)
        open_versions = self._select(layout, current, specs, window, *self._begun(current))
        count = row_count(open_versions)
        open_versions |= {
            KNOWN_TO: np.full(count, NO_INSTANT, dtype=np.int64),
            REMOVED: np.zeros(count, dtype=np.bool_),
        }
        closed = self._select(layout, history, (*specs, *HISTORY_EXTRA), window, *self._begun(history))
        rows = concatenate([open_versions, closed])
        if self._as_of is not None:
            later = rows[KNOWN_TO] > to_micros(self._as_of)
            rows[KNOWN_TO][later] = NO_INSTANT
            rows[REMOVED][later] = False
        return to_frame((*specs, *HISTORY_EXTRA), _sorted(rows, (*layout.key_names, KNOWN_FROM)))

    def last_time_begun_as(self, table: VersionedTable, column: str, value: str) -> datetime | None:
        """Return the latest time among the rows whose first version has `value` in `column`; None if there is none."""
        layout = self._schema.layout(table)
        history = self._schema.history(table)
        latest: list[datetime] = []
        for versions in (self._schema.current(table), history):
            earlier = history.alias()
            same_row = [earlier.columns[name] == versions.columns[name] for name in layout.key_names]
            before = earlier.columns[KNOWN_FROM] < versions.columns[KNOWN_FROM]
            query = sa.select(sa.func.max(versions.columns[layout.time_column])).where(
                versions.columns[column] == value, *self._begun(versions), ~sa.exists().where(*same_row, before)
            )
            found: datetime | None = self._connection.execute(query).scalar_one()
            latest += [] if found is None else [found]
        return max(latest, default=None)

    def _begun(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        return [] if self._as_of is None else [table.columns[KNOWN_FROM] <= self._as_of]

    def _select(
        self,
        layout: VersionedTable,
        table: sa.Table,
        specs: Sequence[ColumnSpec],
        window: _Window,
        *where: sa.ColumnElement[bool],
    ) -> Arrays:
        conditions = list(where)
        time_column = table.columns[layout.time_column]
        if window.start is not None:
            conditions.append(time_column >= _bound(layout, window.start, "start"))
        if window.end is not None:
            conditions.append(time_column < _bound(layout, window.end, "end"))
        for wanted, name, what in (
            (window.series, layout.series_column, "series"),
            (window.intervals, layout.interval_column, "intervals"),
        ):
            if wanted is None:
                continue
            if name is None:
                raise ValueError(f"{layout.name} has no {what}; leave the argument out")
            if isinstance(wanted, str):
                raise TypeError(f"{what}={wanted!r} is a str; pass a collection of names such as [{wanted!r}]")
            conditions.append(table.columns[name].in_(list(wanted)))
        for name, values in window.keys.items():
            if name not in layout.key_names:
                raise ValueError(f"{name} is no part of the key of {layout.name}; it is {', '.join(layout.key_names)}")
            conditions.append(table.columns[name].in_(list(values)))
        columns = [table.columns[spec.name] for spec in specs]
        return select_arrays(self._connection, self._backend, columns, *conditions)


def _picked(layout: VersionedTable, columns: Sequence[str] | None) -> tuple[ColumnSpec, ...]:
    if columns is None:
        return layout.columns
    unknown = [name for name in columns if name not in layout.column_names]
    if unknown:
        raise ValueError(f"{layout.name} has no columns {', '.join(unknown)}; it has {', '.join(layout.column_names)}")
    return tuple(spec for spec in layout.columns if spec in layout.key or spec.name in columns)


def _bound(layout: VersionedTable, value: datetime | date, name: str) -> datetime | date:
    if layout.time_is_date:
        if isinstance(value, datetime):
            raise TypeError(
                f"{name}={value} is an instant and {layout.name}.{layout.time_column} holds dates; pass a datetime.date"
            )
        return value
    if isinstance(value, datetime):
        return ensure_utc(value, name)
    return datetime.combine(value, time(), UTC)


def _sorted(rows: Arrays, names: Sequence[str]) -> Arrays:
    # lexsort sorts by the last key first
    order = np.lexsort([sort_codes(rows[name]) for name in reversed(names)])
    # Databases answer by primary key more often than not.
    return rows if (order == np.arange(len(order))).all() else take(rows, order)
