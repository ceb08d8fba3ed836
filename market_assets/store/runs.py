"""What the collector writes down about itself: runs, the state of every expected day, and days to rebuild.

Belongs here: bookkeeping that is not versioned. Does not belong here: deciding states, how they are
stored (states.py), and the fetch ledger (ledger.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from market_assets.clock import ensure_utc
from market_assets.store import arrays
from market_assets.store import states as ledger_states
from market_assets.store.frames import NO_INSTANT
from market_assets.store.queries import select_arrays
from market_assets.store.stale import mark_stale
from market_assets.store.states import RecordedStates
from market_assets.store.tables import (
    COLLECTION_LEDGER,
    COLLECTIONS,
    FETCH_LEDGER,
    MARKET_BARS,
    STALE_FEATURE_DAYS,
)
from market_assets.store.types import from_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from market_assets.store.connect import Database
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema
    from market_assets.store.states import DayState, LedgerEntry

RUNNING = "running"


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
            "run_id": arrays.texts([run_id]),
            "kind": arrays.texts([kind]),
            "source": arrays.texts([source]),
            "started_at": arrays.instants([started_at]),
            "finished_at": np.array([NO_INSTANT], dtype=np.int64),
            "status": arrays.texts([RUNNING]),
            "summary": arrays.texts([None]),
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

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many collections there were, by kind and status."""
        at = self._schema.plain(COLLECTIONS).columns
        query = sa.select(at.kind, at.status, sa.func.count()).group_by(at.kind, at.status)
        with self._database.reading() as connection:
            return {(kind, status): count for kind, status, count in connection.execute(query)}

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
        recorded = RecordedStates(tuple(entries), run_id, recorded_at)
        self._database.write(
            lambda connection: ledger_states.record(connection, self._database.backend, self._schema, recorded)
        )

    def states(
        self, start: date, end: date, *, tickers: Sequence[str] | None = None, states: Sequence[DayState] | None = None
    ) -> list[LedgerEntry]:
        """Return the recorded states of days in [start, end), sorted by ticker, interval and day."""
        with self._database.reading() as connection:
            return ledger_states.read(
                connection,
                self._database.backend,
                self._schema,
                start=start,
                end=end,
                tickers=tickers,
                states=states,
            )

    def recorded_by(self, run_id: str) -> set[str]:
        """Return the tickers of which a run has recorded states: those that it is done with."""
        at = self._schema.plain(COLLECTION_LEDGER).columns
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(at.ticker).where(at.run_id == run_id).distinct()).scalars())

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
            gone: Arrays = {"day": arrays.days([day for day in found["day"].tolist() if day in chosen])}
            self._database.backend.delete(connection, self._schema.plain(STALE_FEATURE_DAYS), gone)

        self._database.write(clear)


def _record(row: sa.RowMapping) -> CollectionRecord:
    return CollectionRecord(**{**row, "summary": json.loads(row["summary"] or "{}")})
