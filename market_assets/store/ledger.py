"""The fetch ledger as a table: which scopes were written, by a fetch of when.

Belongs here: reading the ledger. Does not belong here: locking it (dialects) and deciding who may write (versioned.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from market_assets.store.frames import NO_INSTANT
from market_assets.store.queries import select_arrays
from market_assets.store.types import from_micros

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date, datetime

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from market_assets.store.dialects.base import Backend
    from market_assets.store.scopes import ScopeSet


def stored_fetch_times(
    connection: sa.Connection, backend: Backend, ledger: sa.Table, scopes: ScopeSet
) -> NDArray[np.int64]:
    """Return `fetched_at` of each scope in microseconds, NO_INSTANT where the ledger has none."""
    times = np.full(len(scopes), NO_INSTANT, dtype=np.int64)
    at = ledger.columns
    for run in scopes.runs():
        found = select_arrays(
            connection,
            backend,
            [at.series, at.interval, at.day, at.fetched_at],
            at.series == run.series,
            at.interval == run.interval,
            at.day.between(run.first, run.last),
        )
        positions = scopes.positions(found["series"], found["interval"], found["day"])
        inside = positions >= 0
        times[positions[inside]] = found["fetched_at"][inside]
    return times


def covered_days(
    connection: sa.Connection,
    backend: Backend,
    ledger: sa.Table,
    *,
    start: date,
    end: date,
    series: Collection[str] | None = None,
) -> dict[tuple[str, str], set[date]]:
    """Return by (series, interval) the days in [start, end) that were ever written."""
    at = ledger.columns
    where = [at.day >= start, at.day < end]
    if series is not None:
        where.append(at.series.in_(list(series)))
    found = select_arrays(connection, backend, [at.series, at.interval, at.day], *where)
    days: dict[tuple[str, str], set[date]] = {}
    for name, interval, day in zip(found["series"], found["interval"], found["day"].tolist(), strict=True):
        days.setdefault((name, interval), set()).add(day)
    return days


def fetch_times(
    connection: sa.Connection,
    backend: Backend,
    ledger: sa.Table,
    *,
    start: date,
    end: date,
    series: Collection[str],
) -> dict[str, dict[str, dict[date, datetime]]]:
    """Return by series and interval when each day in [start, end) was last fetched (start of the request)."""
    at = ledger.columns
    where = (at.day >= start, at.day < end, at.series.in_(list(series)))
    found = select_arrays(connection, backend, [at.series, at.interval, at.day, at.fetched_at], *where)
    times: dict[str, dict[str, dict[date, datetime]]] = {}
    columns = (found["series"], found["interval"], found["day"].tolist(), found["fetched_at"].tolist())
    for name, interval, day, fetched_at in zip(*columns, strict=True):
        times.setdefault(name, {}).setdefault(interval, {})[day] = from_micros(fetched_at)
    return times
