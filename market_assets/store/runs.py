"""What the collector writes down about itself: runs, the state of every expected day, and days to rebuild.

Belongs here: bookkeeping that is not versioned. Does not belong here: deciding states, and the fetch ledger
(ledger.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from market_assets.clock import ensure_utc
from market_assets.store.frames import NO_INSTANT
from market_assets.store.queries import select_arrays
from market_assets.store.stale import mark_stale
from market_assets.store.tables import (
    COLLECTION_LEDGER,
    COLLECTIONS,
    FETCH_LEDGER,
    MARKET_BARS,
    REASON_LENGTH,
    STALE_FEATURE_DAYS,
)
from market_assets.store.types import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from market_assets.store.connect import Database
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema

RUNNING = "running"


class DayState(StrEnum):
    """State of one expected bar, or of one (ticker, interval, day): of its bars the one that stands first here."""

    #: no bar is expected
    CLOSED = "closed"
    #: the bar was due and the source has not answered since
    FETCH_FAILED = "fetch_failed"
    #: the source answered after the bar was due, without it
    HOLE_AT_SOURCE = "hole_at_source"
    #: it has more than one version
    REVISED = "revised"
    #: it came long after it was due
    LATE = "late"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """State of one expected day of one ticker and interval."""

    ticker: str
    interval: str
    day: date
    state: DayState
    detail: str | None = None
    #: one letter per expected bar, in order of time (`collection/coverage.py`); None where it was never recorded
    slots: str | None = None
    #: start of the last request for the day that the source answered, with bars or without
    asked_at: datetime | None = None
    #: when a hole was first seen that is still there
    hole_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """One collection in the log."""

    run_id: str
    kind: str
    source: str
    started_at: datetime
    finished_at: datetime | None
    #: `running` until it is finished; a killed collection stays so
    status: str
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TickerCoverage:
    """What is stored of one ticker and interval."""

    ticker: str
    interval: str
    bars: int
    first_bar_start: datetime
    last_bar_end: datetime
    #: start of the newest request that was stored
    last_fetched_at: datetime | None


class RunLog:
    """Reads and writes the bookkeeping tables."""

    def __init__(self, database: Database, schema: Schema) -> None:
        """Stand on an open database."""
        self._database = database
        self._schema = schema

    # --- collections --------------------------------------------------------------------------------------------------

    def start_collection(self, run_id: str, kind: str, started_at: datetime, source: str) -> None:
        """Log that a collection began; starting the same run again (a retry) begins its record anew."""
        record: Arrays = {
            "run_id": _texts([run_id]),
            "kind": _texts([kind]),
            "source": _texts([source]),
            "started_at": _instants([started_at]),
            "finished_at": np.array([NO_INSTANT], dtype=np.int64),
            "status": _texts([RUNNING]),
            "summary": _texts([None]),
        }
        table = self._schema.plain(COLLECTIONS)
        self._database.write(lambda connection: self._database.backend.upsert(connection, table, record))

    def finish_collection(self, run_id: str, status: str, finished_at: datetime, summary: Mapping[str, Any]) -> None:
        """Log how a collection ended; raise KeyError if it was never started."""
        table = self._schema.plain(COLLECTIONS)
        update = (
            sa.update(table)
            .where(table.columns.run_id == run_id)
            .values(
                status=status, finished_at=ensure_utc(finished_at, "finished_at"), summary=json.dumps(dict(summary))
            )
        )
        # A no-op update counts as no row on MariaDB, but finished_at always differs from what a start wrote. A run that
        # lost its lease still says so: its record is nobody else's.
        if self._database.write(lambda connection: connection.execute(update).rowcount, fenced=False) == 0:
            raise KeyError(f"no collection {run_id!r} was started; call start_collection first")

    def last_collections(self, count: int) -> list[CollectionRecord]:
        """Return the `count` collections that started last, newest first."""
        table = self._schema.plain(COLLECTIONS)
        query = sa.select(table).order_by(table.columns.started_at.desc(), table.columns.run_id).limit(count)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [_record(row) for row in rows]

    def collections_since(self, instant: datetime) -> list[CollectionRecord]:
        """Return the collections that started at or after `instant`, newest first."""
        table = self._schema.plain(COLLECTIONS)
        query = sa.select(table).where(table.columns.started_at >= ensure_utc(instant, "instant"))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(table.columns.started_at.desc())).mappings().all()
        return [_record(row) for row in rows]

    def last_current(self, statuses: Collection[str], count: int = 50) -> CollectionRecord | None:
        """Return the newest complete collection, of one of `statuses`, of the day on which it started; None if none.

        Only the `count` newest collections of these statuses are looked at.
        """
        table = self._schema.plain(COLLECTIONS)
        query = sa.select(table).where(table.columns.status.in_(sorted(statuses)))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(table.columns.started_at.desc()).limit(count)).mappings().all()
        for record in map(_record, rows):
            days = {record.summary.get("first_day"), record.summary.get("last_day")}
            if record.summary.get("complete") and days == {record.started_at.date().isoformat()}:
                return record
        return None

    def collection(self, run_id: str) -> CollectionRecord | None:
        """Return one collection, None if it was never started."""
        table = self._schema.plain(COLLECTIONS)
        with self._database.reading() as connection:
            row = connection.execute(sa.select(table).where(table.columns.run_id == run_id)).mappings().one_or_none()
        return None if row is None else _record(row)

    def collection_began(self) -> datetime | None:
        """Return when the first collection started, None before it: observation times before it are a backfill."""
        started_at = self._schema.plain(COLLECTIONS).columns.started_at
        with self._database.reading() as connection:
            began: datetime | None = connection.execute(sa.select(sa.func.min(started_at))).scalar_one_or_none()
        return began

    # --- ledger of states ---------------------------------------------------------------------------------------------

    def record_states(self, entries: Sequence[LedgerEntry], run_id: str, recorded_at: datetime) -> None:
        """Set the state of each entry's day; the last recording wins. Details are cut to 255 characters."""
        if not entries:
            return
        # One row per day in one statement: PostgreSQL refuses to overwrite a row twice.
        latest = {(entry.ticker, entry.interval, entry.day): entry for entry in entries}
        kept = [latest[key] for key in sorted(latest)]
        rows: Arrays = {
            "ticker": _texts([entry.ticker for entry in kept]),
            "interval": _texts([entry.interval for entry in kept]),
            "day": _days([entry.day for entry in kept]),
            "state": _texts([entry.state.value for entry in kept]),
            "detail": _texts([entry.detail and entry.detail[:REASON_LENGTH] for entry in kept]),
            "run_id": _texts([run_id] * len(kept)),
            "recorded_at": _instants([recorded_at] * len(kept)),
            "slots": _texts([entry.slots for entry in kept]),
            "asked_at": _instants([entry.asked_at for entry in kept]),
            "hole_since": _instants([entry.hole_since for entry in kept]),
        }
        table = self._schema.plain(COLLECTION_LEDGER)
        self._database.write(lambda connection: self._database.backend.upsert(connection, table, rows))

    def states(
        self, start: date, end: date, *, tickers: Sequence[str] | None = None, states: Sequence[DayState] | None = None
    ) -> list[LedgerEntry]:
        """Return the recorded states of days in [start, end), sorted by ticker, interval and day."""
        at = self._schema.plain(COLLECTION_LEDGER).columns
        where = [at.day >= start, at.day < end]
        if tickers is not None:
            where.append(at.ticker.in_(list(tickers)))
        if states is not None:
            where.append(at.state.in_([state.value for state in states]))
        columns = [at.ticker, at.interval, at.day, at.state, at.detail, at.slots, at.asked_at, at.hole_since]
        with self._database.reading() as connection:
            found = select_arrays(connection, self._database.backend, columns, *where)
        entries = [
            LedgerEntry(
                ticker, interval, day, DayState(state), detail, slots, _instant_or_none(asked), _instant_or_none(since)
            )
            for ticker, interval, day, state, detail, slots, asked, since in zip(
                *(found[column.name].tolist() for column in columns), strict=True
            )
        ]
        return sorted(entries, key=lambda entry: (entry.ticker, entry.interval, entry.day))

    def ticker_coverage(self) -> list[TickerCoverage]:
        """Return what is stored of every ticker and interval, sorted."""
        bars = self._schema.current(MARKET_BARS).columns
        fetches = self._schema.plain(FETCH_LEDGER).columns
        by_bars = (
            sa.select(
                bars.ticker, bars.interval, sa.func.count(), sa.func.min(bars.bar_start), sa.func.max(bars.bar_end)
            )
            .group_by(bars.ticker, bars.interval)
            .order_by(bars.ticker, bars.interval)
        )
        by_fetches = sa.select(fetches.series, fetches.interval, sa.func.max(fetches.fetched_at)).group_by(
            fetches.series, fetches.interval
        )
        with self._database.reading() as connection:
            last_fetches = {(series, interval): at for series, interval, at in connection.execute(by_fetches)}
            rows = connection.execute(by_bars).all()
        return [
            TickerCoverage(ticker, interval, count, first, last, last_fetches.get((ticker, interval)))
            for ticker, interval, count, first, last in rows
        ]

    # --- stale feature days -------------------------------------------------------------------------------------------

    def mark_stale_days(self, days: Iterable[date], reason: str, changed_at: datetime) -> None:
        """Record that features of `days` stand on data that changed at `changed_at` (`WriteReport.known_from`)."""
        chosen = set(days)
        self._database.write(
            lambda connection: mark_stale(
                connection, self._database.backend, self._schema, chosen, reason=reason, changed_at=changed_at
            )
        )

    def stale_days(self) -> dict[date, datetime]:
        """Return the days to rebuild, ascending, with the instant of the newest change (knowledge axis)."""
        table = self._schema.plain(STALE_FEATURE_DAYS)
        with self._database.reading() as connection:
            found = select_arrays(connection, self._database.backend, [table.columns.day, table.columns.changed_at])
        pairs = zip(found["day"].tolist(), found["changed_at"].tolist(), strict=True)
        return {day: from_micros(changed_at) for day, changed_at in sorted(pairs)}

    def clear_stale_days(self, days: Iterable[date], before: datetime) -> None:
        """Forget `days` that were rebuilt from a snapshot with watermark `before`; later changes stay marked."""
        wanted = sorted(set(days))
        if not wanted:
            return
        at = self._schema.plain(STALE_FEATURE_DAYS).columns
        where = (at.day.between(wanted[0], wanted[-1]), at.changed_at <= ensure_utc(before, "before"))
        chosen = set(wanted)

        def clear(connection: sa.Connection) -> None:
            found = select_arrays(connection, self._database.backend, [at.day], *where)
            gone: Arrays = {"day": _days([day for day in found["day"].tolist() if day in chosen])}
            self._database.backend.delete(connection, self._schema.plain(STALE_FEATURE_DAYS), gone)

        self._database.write(clear)


def _record(row: sa.RowMapping) -> CollectionRecord:
    return CollectionRecord(**{**row, "summary": json.loads(row["summary"] or "{}")})


def _texts(values: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.object_]]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _days(values: Sequence[date]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    return np.array(values, dtype="datetime64[D]")


def _instants(values: Sequence[datetime | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([NO_INSTANT if value is None else to_micros(value) for value in values], dtype=np.int64)


def _instant_or_none(value: int) -> datetime | None:
    return None if value == NO_INSTANT else from_micros(value)
