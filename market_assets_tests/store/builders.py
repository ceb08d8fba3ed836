"""Small frames and scopes for the store's tests.

Belongs here: builders. Does not belong here: tests, fixtures.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from market_assets.columns import feature_columns
from market_assets.store import Replacement, Scope, Store
from market_assets.store.tables import (
    COLLECTION_LOCK,
    KNOWLEDGE_COUNTER,
    MARKET_BARS,
    ML_FEATURES,
    ML_INDICATORS,
    VersionedTable,
)
from market_assets.store.types import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.store import WriteReport

DAY = date(2026, 3, 2)
#: a fetch on the day after DAY: DAY is closed
FETCHED = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)


def at(hour: int, minute: int = 0, day: date = DAY) -> datetime:
    """Return an instant of `day`, UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def bars(
    closes: Sequence[float],
    *,
    ticker: str = "QQQ",
    interval: str = "15m",
    start: datetime | None = None,
    step: timedelta = QUARTER,
    source: str = "yahoo",
) -> pd.DataFrame:
    """Return bars with the given closes, one after the other from 15:00 UTC on DAY."""
    first = start or at(15)
    starts = pd.DatetimeIndex([first + number * step for number in range(len(closes))]).as_unit("us")
    if not len(closes):
        starts = pd.DatetimeIndex([], dtype="datetime64[us, UTC]")
    values = np.array(closes, dtype=np.float64)
    return pd.DataFrame(
        {
            "ticker": pd.Series([ticker] * len(values), dtype=object),
            "interval": pd.Series([interval] * len(values), dtype=object),
            "bar_start": starts,
            "bar_end": starts + step,
            "open": values,
            "high": values + 1.0,
            "low": values - 1.0,
            "close": values,
            "volume": values * 10.0,
            "basis": np.ones(len(values)),
            "source": pd.Series([source] * len(values), dtype=object),
        }
    )


def write_bars(
    store: Store,
    closes: Sequence[float],
    *,
    fetched_at: datetime = FETCHED,
    scopes: Sequence[Scope] | None = None,
    accept_deletions: bool = False,
    **frame: Any,
) -> WriteReport:
    """Replace the scope of one day of bars."""
    rows = bars(closes, **frame)
    day = (frame.get("start") or at(15)).date()
    scope = MARKET_BARS.scope(frame.get("ticker", "QQQ"), day, frame.get("interval", "15m"))
    return store.replace(
        [Replacement(MARKET_BARS, rows)],
        scopes=[scope] if scopes is None else scopes,
        fetched_at=fetched_at,
        accept_deletions=accept_deletions,
    )


def closes(store: Store, **window: Any) -> list[float]:
    """Return the stored closes, in order."""
    return list(store.read(MARKET_BARS, **window)["close"])


def indicator_rows(
    values: Sequence[float | None], *, name: str = "x", day: date = DAY, reason: str | None = None
) -> pd.DataFrame:
    """Return half-hourly rows of one indicator from 00:00 UTC on."""
    return pd.DataFrame(
        {
            "indicator": pd.Series([name] * len(values), dtype=object),
            "observed_at": pd.date_range(at(0, day=day), periods=len(values), freq="30min", unit="us"),
            "value": np.array(values, dtype=np.float64),
            "reason": pd.Series([reason] * len(values), dtype=object),
        }
    )


def write_indicator(
    store: Store, values: Sequence[float | None], fetched_at: datetime = FETCHED, **frame: Any
) -> WriteReport:
    """Replace one day of one indicator."""
    scope = ML_INDICATORS.scope(frame.get("name", "x"), frame.get("day", DAY))
    return store.replace(
        [Replacement(ML_INDICATORS, indicator_rows(values, **frame))], scopes=[scope], fetched_at=fetched_at
    )


def feature_rows(value: float, *, count: int = 2, columns: Sequence[str] | None = None, **carried: Any) -> pd.DataFrame:
    """Return half-hourly feature rows with the same value in every feature column."""
    names = feature_columns() if columns is None else columns
    frame: dict[str, Any] = {"observed_at": pd.date_range(at(0), periods=count, freq="30min", unit="us")}
    frame |= {name: np.full(count, value) for name in names}
    frame |= {
        "feature_count": np.full(count, len(names), dtype=np.int64),
        "core_count": np.full(count, 3, dtype=np.int64),
    }
    frame |= dict.fromkeys(("reasons", "ages", "resolution", "basis"), "{}")
    frame |= {"feature_version": "1", "origin": "live", "read_as_of": pd.Timestamp(FETCHED).as_unit("us")} | carried
    return pd.DataFrame(frame)


def write_features(store: Store, frame: pd.DataFrame, fetched_at: datetime = FETCHED) -> WriteReport:
    """Replace the feature rows of DAY."""
    return store.replace([Replacement(ML_FEATURES, frame)], scopes=[ML_FEATURES.scope("", DAY)], fetched_at=fetched_at)


def history(store: Store, table: VersionedTable, **window: Any) -> pd.DataFrame:
    """Return all versions of the table's rows."""
    with store.snapshot() as snapshot:
        return snapshot.versions(table, **window)


def wipe(store: Store) -> None:
    """Bring a migrated database back to its first state, faster than making a new one."""

    def empty(connection: sa.Connection) -> None:
        kept = {KNOWLEDGE_COUNTER.name, COLLECTION_LOCK.name}
        for table in store.schema.metadata.sorted_tables:
            if table.name not in kept:
                connection.execute(sa.delete(table))
        connection.execute(sa.update(store.schema.plain(KNOWLEDGE_COUNTER)).values(stamp=EPOCH))
        freed = {"holder": None, "token": None, "acquired_at": None, "expires_at": None}
        connection.execute(sa.update(store.schema.plain(COLLECTION_LOCK)).values(**freed))

    store.database.write(empty)
