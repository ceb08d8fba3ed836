"""The one write mechanism: whole scopes are replaced, and no version is ever lost.

Belongs here: comparing what a fetch says with what is stored, and moving versions to history. Does not belong here: SQL that
differs between databases (dialects), the deletion guard (guard.py), reading (snapshots.py).

Order of locks in a write: ledger rows (sorted), then pending deletions, then the knowledge counter, last. The counter is held
until the commit, so its stamps are in the order of the commits, and whoever reads the counter sees every write up to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from market_assets.clock import Clock, ensure_utc
from market_assets.errors import SourceMismatchError, StoreError
from market_assets.store.frames import (
    NO_INSTANT,
    US_PER_DAY,
    Arrays,
    concatenate,
    days_of,
    key_index,
    row_count,
    take,
    to_arrays,
)
from market_assets.store.guard import RefusedScope, refuse_mass_deletions
from market_assets.store.queries import select_arrays
from market_assets.store.scopes import DayRun, Scope, ScopeSet
from market_assets.store.tables import (
    FETCH_LEDGER,
    KNOWLEDGE_COUNTER,
    KNOWN_FROM,
    KNOWN_TO,
    REMOVED,
    STORE_INFO,
    ColumnSpec,
    VersionedTable,
)
from market_assets.store.types import Kind, from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from market_assets.store.dialects import Backend
    from market_assets.store.schema import Schema

SOURCE_KEY = "source"
#: the ledger's source of rows that were computed here
COMPUTED = "computed"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """Rows of one table that replace whatever is stored in the scopes of the write."""

    table: VersionedTable
    frame: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one table that a write found new, changed, withdrawn and equal."""

    inserted: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write did."""

    #: stamp of the new versions on the knowledge axis, UTC; None if every row was equal
    known_from: datetime | None
    tables: dict[str, Counts]
    #: not written: a newer fetch is stored
    skipped: list[Scope]
    #: not written: it would delete too much of a closed day
    refused: list[RefusedScope]
    #: days with a new, changed or withdrawn row, by table
    changed_days_by_table: dict[str, set[date]] = field(default_factory=dict)

    @property
    def changed_days(self) -> set[date]:
        """Days with a new, changed or withdrawn row in any table."""
        return set().union(*self.changed_days_by_table.values())


@dataclass(frozen=True, slots=True)
class Diff:
    """How the stored rows of one table differ from the incoming ones; scope positions run parallel to the rows."""

    layout: VersionedTable
    #: rows to insert or to overwrite with
    new: Arrays
    new_scopes: NDArray[np.intp]
    #: stored rows that are overwritten, with all columns of the current table
    outdated: Arrays
    outdated_scopes: NDArray[np.intp]
    #: stored rows that the source withdrew
    withdrawn: Arrays
    withdrawn_scopes: NDArray[np.intp]
    #: scope of every stored row, and of every equal one
    stored_scopes: NDArray[np.intp]
    equal_scopes: NDArray[np.intp]

    def within(self, scopes: NDArray[np.bool_]) -> Diff:
        """Return the part of the difference that lies in the scopes of the mask."""
        new, outdated, withdrawn = scopes[self.new_scopes], scopes[self.outdated_scopes], scopes[self.withdrawn_scopes]
        return Diff(
            self.layout,
            take(self.new, new),
            self.new_scopes[new],
            take(self.outdated, outdated),
            self.outdated_scopes[outdated],
            take(self.withdrawn, withdrawn),
            self.withdrawn_scopes[withdrawn],
            self.stored_scopes[scopes[self.stored_scopes]],
            self.equal_scopes[scopes[self.equal_scopes]],
        )

    @property
    def counts(self) -> Counts:
        """The difference in numbers."""
        changed = len(self.outdated_scopes)
        return Counts(len(self.new_scopes) - changed, changed, len(self.withdrawn_scopes), len(self.equal_scopes))

    @property
    def touched_scopes(self) -> NDArray[np.intp]:
        """Positions of the scopes with a difference."""
        return np.unique(np.concatenate([self.new_scopes, self.withdrawn_scopes]))


class VersionedWriter:
    """Replaces scopes. Validates everything before a transaction is opened; then `apply` runs inside one, repeatably."""

    def __init__(
        self,
        schema: Schema,
        replacements: Sequence[Replacement],
        scopes: Sequence[Scope],
        fetched_at: datetime,
        *,
        accept_deletions: bool,
    ) -> None:
        """Raise ValueError for rows outside the scopes and for scopes that no table of the write has rows in."""
        self._schema = schema
        self._fetched_us = to_micros(ensure_utc(fetched_at, "fetched_at"))
        self._accept_deletions = accept_deletions
        self._scopes = ScopeSet(scopes)
        tables = [replacement.table for replacement in replacements]
        names = [table.name for table in tables]
        if len(set(names)) != len(names):
            raise ValueError(f"one write names a table twice: {', '.join(names)}")
        homeless = [scope for scope in self._scopes if not any(table.holds(scope) for table in tables)]
        if homeless:
            raise ValueError(
                f"scope {homeless[0]!r} belongs to none of the tables {', '.join(names)}; build scopes with VersionedTable.scope"
            )
        self._incoming: list[tuple[VersionedTable, Arrays, NDArray[np.intp]]] = []
        sources: set[str] = set()
        for replacement in replacements:
            layout = schema.layout(replacement.table)
            arrays = to_arrays(layout, replacement.frame)
            self._incoming.append((layout, arrays, self._inside(layout, arrays)))
            if SOURCE_KEY in arrays:
                sources |= set(arrays[SOURCE_KEY])
        if len(sources) > 1:
            raise SourceMismatchError(
                f"one write mixes rows of the sources {', '.join(sorted(sources))}; write one source only"
            )
        self._source = next(iter(sources), None)

    def apply(self, connection: sa.Connection, backend: Backend, clock: Clock | None) -> WriteReport:
        """Write inside the open transaction."""
        tables = {layout.name: Counts() for layout, _, _ in self._incoming}
        if len(self._scopes) == 0:
            return WriteReport(None, tables, [], [])
        if self._source is not None:
            self._check_source(connection, backend, self._source)
        ledger = self._schema.plain(FETCH_LEDGER)
        source = self._source or COMPUTED
        fetched_before = backend.claim(connection, ledger, self._scopes, self._fetched_us, source)
        writable = fetched_before <= self._fetched_us  # NO_INSTANT is the smallest of all
        skipped = [scope for scope, wins in zip(self._scopes, writable, strict=True) if not wins]

        diffs = [self._diff(connection, backend, *incoming).within(writable) for incoming in self._incoming]
        refused: list[RefusedScope] = []
        for diff, (layout, arrays, rows_scopes) in zip(diffs, self._incoming, strict=True):
            if layout.guards_deletions:
                refused += refuse_mass_deletions(
                    connection,
                    backend,
                    self._schema,
                    self._scopes,
                    candidates=writable & np.array([layout.holds(scope) for scope in self._scopes]),
                    stored=np.bincount(diff.stored_scopes, minlength=len(self._scopes)),
                    withdrawn=np.bincount(diff.withdrawn_scopes, minlength=len(self._scopes)),
                    incoming=rows_scopes,
                    incoming_times=arrays[layout.time_column],
                    fetched_us=self._fetched_us,
                    accept=self._accept_deletions,
                )
        if refused:
            refused_scopes = {refusal.scope for refusal in refused}
            writable &= np.array([scope not in refused_scopes for scope in self._scopes])
            diffs = [diff.within(writable) for diff in diffs]

        self._write_ledger(connection, backend, ledger, fetched_before, writable, source)
        known_from = self._write_versions(connection, backend, clock, diffs)
        changed_days = {
            diff.layout.name: {self._scopes.scopes[position].day for position in diff.touched_scopes} for diff in diffs
        }
        return WriteReport(
            known_from, {diff.layout.name: diff.counts for diff in diffs}, skipped, refused, changed_days
        )

    def _inside(self, layout: VersionedTable, arrays: Arrays) -> NDArray[np.intp]:
        positions = _scope_positions(self._scopes, layout, arrays)
        outside = np.flatnonzero(positions < 0)
        if len(outside):
            row = take(arrays, outside[:1])
            key = ", ".join(f"{name}={row[name][0]}" for name in layout.key_names)
            raise ValueError(
                f"{len(outside)} rows for {layout.name} lie outside the scopes of the write, the first with {key} "
                f"on {days_of(layout, row)[0]}; a row must belong to a scope (series, interval, UTC day) that is replaced"
            )
        return positions

    def _check_source(self, connection: sa.Connection, backend: Backend, source: str) -> None:
        info = self._schema.plain(STORE_INFO)
        query = sa.select(info.columns.value).where(info.columns.name == SOURCE_KEY)
        stored = connection.execute(query).scalar_one_or_none()
        if stored is None:
            _set_info(connection, backend, info, source)
            stored = connection.execute(query).scalar_one()
        if stored != source:
            raise SourceMismatchError(
                f"the database holds rows of the source {stored!r} and these are of {source!r}; "
                "real and simulated bars never mix: point DATABASE_URL at another database"
            )

    def _diff(
        self,
        connection: sa.Connection,
        backend: Backend,
        layout: VersionedTable,
        incoming: Arrays,
        scopes: NDArray[np.intp],
    ) -> Diff:
        stored = self._read_stored(connection, backend, layout)
        stored_scopes = _scope_positions(self._scopes, layout, stored)
        stored, stored_scopes = take(stored, stored_scopes >= 0), stored_scopes[stored_scopes >= 0]
        if row_count(stored) == 0:
            nothing = np.empty(0, dtype=np.intp)
            return Diff(layout, incoming, scopes, stored, nothing, stored, nothing, nothing, nothing)
        match = np.asarray(key_index(layout, stored).get_indexer(key_index(layout, incoming)))
        known = match >= 0
        equal = np.ones(int(known.sum()), dtype=np.bool_)
        for spec in layout.compared:
            equal &= _same(spec, incoming[spec.name][known], stored[spec.name][match[known]])
        changed = np.zeros(len(match), dtype=np.bool_)
        changed[known] = ~equal
        withdrawn = np.ones(len(stored_scopes), dtype=np.bool_)
        withdrawn[match[known]] = False
        new, outdated = ~known | changed, match[changed]
        return Diff(
            layout,
            take(incoming, new),
            scopes[new],
            take(stored, outdated),
            stored_scopes[outdated],
            take(stored, withdrawn),
            stored_scopes[withdrawn],
            stored_scopes,
            scopes[known & ~changed],
        )

    def _read_stored(self, connection: sa.Connection, backend: Backend, layout: VersionedTable) -> Arrays:
        table = self._schema.current(layout)
        columns = list(table.columns)
        parts = [
            select_arrays(connection, backend, columns, *_run_condition(layout, table, run))
            for run in self._scopes.runs()
            if layout.holds(Scope(run.series, run.interval, run.first))
        ]
        return concatenate(parts) if parts else select_arrays(connection, backend, columns, sa.false())

    def _write_ledger(
        self,
        connection: sa.Connection,
        backend: Backend,
        ledger: sa.Table,
        fetched_before: NDArray[np.int64],
        writable: NDArray[np.bool_],
        source: str,
    ) -> None:
        behind = writable & (fetched_before < self._fetched_us)
        count = int(behind.sum())
        rows: Arrays = {
            "series": self._scopes.series[behind],
            "interval": self._scopes.intervals[behind],
            "day": self._scopes.days[behind],
            "fetched_at": np.full(count, self._fetched_us, dtype=np.int64),
            "source": np.full(count, source, dtype=object),
        }
        backend.upsert(connection, ledger, rows)

    def _write_versions(
        self, connection: sa.Connection, backend: Backend, clock: Clock | None, diffs: Sequence[Diff]
    ) -> datetime | None:
        if not any(len(diff.touched_scopes) for diff in diffs):
            return None
        stamp = self._next_stamp(connection, backend, clock)
        stamp_us = to_micros(stamp)
        for diff in diffs:
            current, history = self._schema.current(diff.layout), self._schema.history(diff.layout)
            for versions, removed in ((diff.outdated, False), (diff.withdrawn, True)):
                count = row_count(versions)
                closing = {
                    KNOWN_TO: np.full(count, stamp_us, dtype=np.int64),
                    REMOVED: np.full(count, removed, dtype=np.bool_),
                }
                backend.upsert(connection, history, versions | closing)
            backend.delete(connection, current, {name: diff.withdrawn[name] for name in diff.layout.key_names})
            count = row_count(diff.new)
            # columns of tickers that left the universe are NULL in new versions
            retained = {name: np.full(count, np.nan) for name in self._schema.retained(diff.layout)}
            known_from = {KNOWN_FROM: np.full(count, stamp_us, dtype=np.int64)}
            backend.upsert(connection, current, diff.new | retained | known_from)
        return stamp

    def _next_stamp(self, connection: sa.Connection, backend: Backend, clock: Clock | None) -> datetime:
        counter = self._schema.plain(KNOWLEDGE_COUNTER).columns.stamp
        last = connection.execute(sa.select(counter).with_for_update()).scalar_one_or_none()
        if last is None:
            raise StoreError(
                "the table knowledge_counter has no row: the database was not set up by `market-assets migrate`"
            )
        now = clock.now() if clock is not None else backend.now(connection)
        stamp = max(last + _TICK, now)
        connection.execute(sa.update(self._schema.plain(KNOWLEDGE_COUNTER)).values(stamp=stamp))
        return stamp


def _set_info(connection: sa.Connection, backend: Backend, info: sa.Table, source: str) -> None:
    """Set the source unless another writer has just done so: its row then waits for our look."""
    rows: Arrays = {"name": np.array([SOURCE_KEY], dtype=object), "value": np.array([source], dtype=object)}
    backend.upsert(connection, info, rows, overwrite=False)


def _scope_positions(scopes: ScopeSet, layout: VersionedTable, arrays: Arrays) -> NDArray[np.intp]:
    count = row_count(arrays)
    series = arrays[layout.series_column] if layout.series_column else np.full(count, layout.fixed_series, dtype=object)
    interval = (
        arrays[layout.interval_column]
        if layout.interval_column
        else np.full(count, layout.fixed_interval, dtype=object)
    )
    return scopes.positions(series, interval, days_of(layout, arrays))


def _run_condition(layout: VersionedTable, table: sa.Table, run: DayRun) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if layout.series_column:
        where.append(table.columns[layout.series_column] == run.series)
    if layout.interval_column:
        where.append(table.columns[layout.interval_column] == run.interval)
    time = table.columns[layout.time_column]
    if layout.time_is_date:
        where.append(time.between(run.first, run.last))
    else:
        first, last = (int(np.datetime64(day, "D").astype(np.int64)) for day in (run.first, run.last))
        where += [time >= from_micros(first * US_PER_DAY), time < from_micros((last + 1) * US_PER_DAY)]
    return where


def _same(spec: ColumnSpec, left: NDArray[np.generic], right: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Compare two columns value by value; NULL equals NULL, and doubles are equal only to the last bit."""
    if spec.kind is Kind.DOUBLE:
        # there are neither infinities nor -0.0 (frames.py), so == means the same bits
        return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)))
    return np.asarray(left == right, dtype=np.bool_)
