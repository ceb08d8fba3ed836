"""Days whose stored features stand on bars or actions that have changed since.

Belongs here: which days a change makes stale, recorded in the very transaction that writes the change: a process that
dies in between must not leave features that look right. Does not belong here: rebuilding them.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.store.queries import select_arrays
from market_assets.store.tables import FETCH_LEDGER, ML_FEATURES, REASON_LENGTH, STALE_FEATURE_DAYS
from market_assets.store.types import to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import sqlalchemy as sa

    from market_assets.store.dialects import Backend
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema

#: calendar days after a bar on which a row can still depend on it: at least the look-back of the longest correlation
#: and of the crypto rows that stand on it (tested)
STALE_LOOKBACK_DAYS = 160


def days_made_stale(connection: sa.Connection, backend: Backend, schema: Schema, changed: Iterable[date]) -> set[date]:
    """Return the days whose features were built already and depend on bars of the `changed` days."""
    affected = {day + timedelta(days=ahead) for day in changed for ahead in range(STALE_LOOKBACK_DAYS + 1)}
    if not affected:
        return set()
    at = schema.plain(FETCH_LEDGER).columns
    built = select_arrays(
        connection,
        backend,
        [at.day],
        at.series == ML_FEATURES.fixed_series,
        at.interval == ML_FEATURES.fixed_interval,
        at.day.between(min(affected), max(affected)),
    )
    return affected & set(built["day"].tolist())


def mark_stale(
    connection: sa.Connection,
    backend: Backend,
    schema: Schema,
    days: Iterable[date],
    *,
    reason: str,
    changed_at: datetime,
) -> None:
    """Record the days; a later change of a day replaces an earlier one."""
    marked = sorted(set(days))
    if not marked:
        return
    rows: Arrays = {
        "day": np.array(marked, dtype="datetime64[D]"),
        "reason": np.array([reason[:REASON_LENGTH]] * len(marked), dtype=object),
        "changed_at": np.full(len(marked), to_micros(changed_at), dtype=np.int64),
    }
    backend.upsert(connection, schema.plain(STALE_FEATURE_DAYS), rows)
