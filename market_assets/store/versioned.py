"""The one write mechanism: whole scopes are replaced, and no version is ever lost.

Belongs here: the order of a write, and moving versions to history. Does not belong here: comparing rows (diffs.py), SQL
that differs between databases (dialects), the deletion guard (guard.py), reading (snapshots.py).

Order of locks in a write: ledger rows (sorted), then pending deletions, then the knowledge counter, then (of a
collection, `Store.fenced_by`) the collection lock. The counter is held until the commit, so its stamps are in the order
of the commits, and whoever reads the counter sees every write up to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from market_assets.clock import Clock, ensure_utc
from market_assets.errors import SourceMismatchError, StoreError
from market_assets.store.diffs import Counts, Diff, Rows, compare, scope_positions
from market_assets.store.frames import US_PER_DAY, Arrays, concatenate, days_of, take, to_arrays
from market_assets.store.guard import RefusedScope, refuse_mass_deletions
from market_assets.store.queries import select_arrays
from market_assets.store.schema import with_retained_columns
from market_assets.store.scopes import DayRun, Scope, ScopeSet
from market_assets.store.stale import days_made_stale, mark_stale
from market_assets.store.tables import (
    FETCH_LEDGER,
    KNOWLEDGE_COUNTER,
    KNOWN_FROM,
    KNOWN_TO,
    REMOVED,
    STORE_INFO,
    VersionedTable,
)
from market_assets.store.types import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

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
    #: days whose stored features stand on what this write changed; they are marked for rebuilding
    stale_days: set[date] = field(default_factory=set)

    @property
    def changed_days(self) -> set[date]:
        """Days with a new, changed or withdrawn row in any table."""
        return set().union(*self.changed_days_by_table.values())


class VersionedWriter:
    """Replaces scopes. Everything is validated before a transaction is opened; `apply` runs inside one, repeatably."""

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
                f"scope {homeless[0]!r} belongs to none of the tables {', '.join(names)}; "
                "build scopes with VersionedTable.scope"
            )
        self._incoming = [
            (schema.layout(one.table), self._incoming_rows(schema.layout(one.table), one.frame)) for one in replacements
        ]
        sources = {source for _, rows in self._incoming for source in set(rows.arrays.get(SOURCE_KEY, ()))}
        if len(sources) > 1:
            raise SourceMismatchError(
                f"one write mixes rows of the sources {', '.join(sorted(sources))}; write one source only"
            )
        self._source: str | None = next(iter(sources), None)

    def apply(self, connection: sa.Connection, backend: Backend, clock: Clock | None) -> WriteReport:
        """Write inside the open transaction."""
        if len(self._scopes) == 0:
            return WriteReport(None, {layout.name: Counts() for layout, _ in self._incoming}, [], [])
        if self._source is not None:
            self._check_source(connection, backend, self._source)
        source = self._source or COMPUTED
        ledger = self._schema.plain(FETCH_LEDGER)
        fetched_before = backend.claim(connection, ledger, self._scopes, self._fetched_us, source)
        writable = fetched_before <= self._fetched_us  # NO_INSTANT is the smallest of all
        skipped = [scope for scope, wins in zip(self._scopes, writable, strict=True) if not wins]

        schema = with_retained_columns(connection, self._schema, [layout for layout, _ in self._incoming])
        diffs = [
            compare(layout, self._stored_rows(connection, backend, schema, layout), incoming).within(writable)
            for layout, incoming in self._incoming
        ]
        refused = self._refusals(connection, backend, diffs, writable)
        if refused:
            refused_scopes = {refusal.scope for refusal in refused}
            writable &= np.array([scope not in refused_scopes for scope in self._scopes])
            diffs = [diff.within(writable) for diff in diffs]

        self._write_ledger(connection, backend, writable & (fetched_before < self._fetched_us), source)
        changed = {
            diff.layout: {self._scopes.scopes[position].day for position in diff.touched_scopes} for diff in diffs
        }
        known_from = None
        stale: set[date] = set()
        if any(changed.values()):
            known_from = self._next_stamp(connection, backend, clock)
            for diff in diffs:
                _write_versions(connection, backend, schema, diff, to_micros(known_from))
            feeding = set().union(*(days for layout, days in changed.items() if layout.feeds_features))
            stale = days_made_stale(connection, backend, schema, feeding)
            mark_stale(connection, backend, schema, stale, reason="bars or actions changed", changed_at=known_from)
        return WriteReport(
            known_from,
            {diff.layout.name: diff.counts for diff in diffs},
            skipped,
            refused,
            {layout.name: days for layout, days in changed.items()},
            stale,
        )

    def _incoming_rows(self, layout: VersionedTable, frame: pd.DataFrame) -> Rows:
        arrays = to_arrays(layout, frame)
        positions = scope_positions(self._scopes, layout, arrays)
        outside = np.flatnonzero(positions < 0)
        if len(outside):
            row = take(arrays, outside[:1])
            key = ", ".join(f"{name}={row[name][0]}" for name in layout.key_names)
            raise ValueError(
                f"{len(outside)} rows for {layout.name} lie outside the scopes of the write, the first with {key} on "
                f"{days_of(layout, row)[0]}; every row must belong to a scope (series, interval, UTC day) of the write"
            )
        return Rows(arrays, positions)

    def _check_source(self, connection: sa.Connection, backend: Backend, source: str) -> None:
        info = self._schema.plain(STORE_INFO)
        query = sa.select(info.columns.value).where(info.columns.name == SOURCE_KEY)
        stored = connection.execute(query).scalar_one_or_none()
        if stored is None:
            # Another writer may do the same right now: then this waits for it, and the look after it sees its value.
            first: Arrays = {
                "name": np.array([SOURCE_KEY], dtype=object),
                "value": np.array([source], dtype=object),
            }
            backend.upsert(connection, info, first, overwrite=False)
            stored = connection.execute(query).scalar_one()
        if stored != source:
            raise SourceMismatchError(
                f"the database holds rows of the source {stored!r} and these are of {source!r}; "
                "real and simulated bars never mix: point DATABASE_URL at another database"
            )

    def _stored_rows(self, connection: sa.Connection, backend: Backend, schema: Schema, layout: VersionedTable) -> Rows:
        table = schema.current(layout)
        columns = list(table.columns)
        parts = [
            select_arrays(connection, backend, columns, *_run_condition(layout, table, run))
            for run in self._scopes.runs()
            if layout.holds(Scope(run.series, run.interval, run.first))
        ]
        stored = concatenate(parts) if parts else select_arrays(connection, backend, columns, sa.false())
        positions = scope_positions(self._scopes, layout, stored)
        return Rows(take(stored, positions >= 0), positions[positions >= 0])

    def _refusals(
        self, connection: sa.Connection, backend: Backend, diffs: Sequence[Diff], writable: NDArray[np.bool_]
    ) -> list[RefusedScope]:
        refused: list[RefusedScope] = []
        for diff, (layout, incoming) in zip(diffs, self._incoming, strict=True):
            if layout.guards_deletions:
                refused += refuse_mass_deletions(
                    connection,
                    backend,
                    self._schema,
                    scopes=self._scopes,
                    candidates=writable & np.array([layout.holds(scope) for scope in self._scopes]),
                    diff=diff,
                    incoming=incoming,
                    fetched_us=self._fetched_us,
                    accept=self._accept_deletions,
                )
        return refused

    def _write_ledger(
        self, connection: sa.Connection, backend: Backend, behind: NDArray[np.bool_], source: str
    ) -> None:
        count = int(behind.sum())
        rows: Arrays = {
            "series": self._scopes.series[behind],
            "interval": self._scopes.intervals[behind],
            "day": self._scopes.days[behind],
            "fetched_at": np.full(count, self._fetched_us, dtype=np.int64),
            "source": np.full(count, source, dtype=object),
        }
        backend.upsert(connection, self._schema.plain(FETCH_LEDGER), rows)

    def _next_stamp(self, connection: sa.Connection, backend: Backend, clock: Clock | None) -> datetime:
        counter = self._schema.plain(KNOWLEDGE_COUNTER)
        last = connection.execute(sa.select(counter.columns.stamp).with_for_update()).scalar_one_or_none()
        if last is None:
            raise StoreError(
                "the table knowledge_counter has no row: the database was not set up by `market-assets migrate`"
            )
        # Only now, with the counter locked: an earlier look at the clock could be before the stamp of another commit.
        now = ensure_utc(clock.now(), "clock.now()") if clock is not None else backend.now(connection)
        stamp: datetime = max(last + _TICK, now)
        connection.execute(sa.update(counter).values(stamp=stamp))
        return stamp


def _write_versions(connection: sa.Connection, backend: Backend, schema: Schema, diff: Diff, stamp_us: int) -> None:
    """Close the outdated and withdrawn versions, and put in the new ones."""
    current, history = schema.current(diff.layout), schema.history(diff.layout)
    for versions, removed in ((diff.outdated, False), (diff.withdrawn, True)):
        closing: Arrays = {
            KNOWN_TO: np.full(len(versions), stamp_us, dtype=np.int64),
            REMOVED: np.full(len(versions), removed, dtype=np.bool_),
        }
        backend.upsert(connection, history, versions.arrays | closing)
    backend.delete(connection, current, {name: diff.withdrawn.arrays[name] for name in diff.layout.key_names})
    # columns of tickers that left the universe are NULL in new versions
    retained: Arrays = {name: np.full(len(diff.new), np.nan) for name in schema.retained(diff.layout)}
    known_from: Arrays = {KNOWN_FROM: np.full(len(diff.new), stamp_us, dtype=np.int64)}
    backend.upsert(connection, current, diff.new.arrays | retained | known_from)


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
