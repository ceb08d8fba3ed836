"""The coverage ledger: the state of every day that was asked for, by ticker and interval.

Belongs here: recording states, inside of whatever transaction makes them true, and reading them. Does not belong here:
deciding them (`collection/coverage.py`), when a day was last fetched (ledger.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from market_assets.store.arrays import days, instant_or_none, instants, texts
from market_assets.store.queries import select_arrays
from market_assets.store.snapshots import Snapshot
from market_assets.store.tables import COLLECTION_LEDGER, REASON_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import sqlalchemy as sa

    from market_assets.store.dialects import Backend
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema


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
class RecordedStates:
    """What one run says of some days."""

    entries: tuple[LedgerEntry, ...]
    run_id: str
    recorded_at: datetime


#: judges the days of a write, on a view of the tables as the write leaves them; called again if the write is
JudgeStates = Callable[[Snapshot], RecordedStates]


def record(connection: sa.Connection, backend: Backend, schema: Schema, recorded: RecordedStates) -> None:
    """Set the state of each entry's day; the last recording wins. Details are cut to 255 characters."""
    if not recorded.entries:
        return
    # One row per day in one statement: PostgreSQL refuses to overwrite a row twice.
    latest = {(entry.ticker, entry.interval, entry.day): entry for entry in recorded.entries}
    kept = [latest[key] for key in sorted(latest)]
    rows: Arrays = {
        "ticker": texts([entry.ticker for entry in kept]),
        "interval": texts([entry.interval for entry in kept]),
        "day": days([entry.day for entry in kept]),
        "state": texts([entry.state.value for entry in kept]),
        "detail": texts([entry.detail and entry.detail[:REASON_LENGTH] for entry in kept]),
        "run_id": texts([recorded.run_id] * len(kept)),
        "recorded_at": instants([recorded.recorded_at] * len(kept)),
        "slots": texts([entry.slots for entry in kept]),
        "asked_at": instants([entry.asked_at for entry in kept]),
        "hole_since": instants([entry.hole_since for entry in kept]),
    }
    backend.upsert(connection, schema.plain(COLLECTION_LEDGER), rows)


def read(
    connection: sa.Connection,
    backend: Backend,
    schema: Schema,
    *,
    start: date,
    end: date,
    tickers: Sequence[str] | None,
    states: Sequence[DayState] | None,
) -> list[LedgerEntry]:
    """Return the recorded states of days in [start, end), sorted by ticker, interval and day."""
    at = schema.plain(COLLECTION_LEDGER).columns
    where = [at.day >= start, at.day < end]
    if tickers is not None:
        where.append(at.ticker.in_(list(tickers)))
    if states is not None:
        where.append(at.state.in_([state.value for state in states]))
    columns = [at.ticker, at.interval, at.day, at.state, at.detail, at.slots, at.asked_at, at.hole_since]
    found = select_arrays(connection, backend, columns, *where)
    entries = [
        LedgerEntry(
            ticker, interval, day, DayState(state), detail, slots, instant_or_none(asked), instant_or_none(since)
        )
        for ticker, interval, day, state, detail, slots, asked, since in zip(
            *(found[column.name].tolist() for column in columns), strict=True
        )
    ]
    return sorted(entries, key=lambda entry: (entry.ticker, entry.interval, entry.day))
