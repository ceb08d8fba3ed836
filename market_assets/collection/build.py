"""From stored bars to derived rows: the functions that a run, a rebuild and a replay all call.

Belongs here: which rows of the store each derived table is computed from, and for which scopes. Does not belong here:
the formulas (they are pure, elsewhere), Dagster, SQL.

Feature rows are computed from one snapshot of the bars, indicators included: two reads could stand on different
knowledge.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.calendars import observation_grid, to_us, venue_calendar
from market_assets.collection.days import ONE_DAY
from market_assets.collection.write import ScopedWrite
from market_assets.correlations import CORRELATION_FRAME_COLUMNS, CORRELATION_LOOKBACK_DAYS, session_correlations
from market_assets.crypto_join import CORRELATION_JOIN_DAYS, crypto_rows_from_bars, join_crypto_rows
from market_assets.features import FEATURE_LOOKBACK_DAYS, compute_feature_rows, compute_indicator
from market_assets.macro import macro_rows
from market_assets.metrics import TickerLog
from market_assets.store import Replacement
from market_assets.store.tables import (
    CORPORATE_ACTIONS,
    CRYPTO_CORRELATIONS,
    CRYPTO_ML_FEATURES,
    MACRO_INDICATORS,
    MARKET_BARS,
    ML_FEATURES,
    ML_INDICATORS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from market_assets.collection.days import DayRange
    from market_assets.indicators import Indicator
    from market_assets.store import Snapshot
    from market_assets.store.tables import VersionedTable
    from market_assets.universe import Ticker, Universe


#: what a TickerLog is computed from; the other half of a bar's columns need not be read
_LOG_COLUMNS = ("bar_end", "close", "basis")


def read_ticker_log(snapshot: Snapshot, ticker: Ticker, start: datetime, end: datetime) -> TickerLog:
    """Return the bars of one ticker that start in [start, end), and all its corporate actions."""
    return read_ticker_logs(snapshot, [ticker], start, end)[ticker.name]


def read_ticker_logs(
    snapshot: Snapshot, tickers: Sequence[Ticker], start: datetime, end: datetime
) -> dict[str, TickerLog]:
    """Return the logs of `tickers` by name, in two queries however many there are."""
    names = [ticker.name for ticker in tickers]
    bars = snapshot.read(MARKET_BARS, start=start, end=end, series=names, columns=_LOG_COLUMNS)
    # The whole history: which splits are in force, and on which basis a bar stands, does not depend on the window.
    actions = snapshot.read(CORPORATE_ACTIONS, series=names)
    by_bars = dict(tuple(bars.groupby("ticker", sort=False)))
    by_actions = dict(tuple(actions.groupby("ticker", sort=False)))
    return {
        ticker.name: TickerLog(
            ticker, by_bars.get(ticker.name, bars.iloc[:0]), by_actions.get(ticker.name, actions.iloc[:0])
        )
        for ticker in tickers
    }


def observation_times(days: DayRange, now: datetime, interval_minutes: int) -> NDArray[np.int64]:
    """Return the observation times of `days` up to and including `now`, int64 microseconds UTC."""
    end = min(to_us(days.end), to_us(now) + 1)
    return observation_grid(to_us(days.start), end, interval_minutes)


def build_features(
    snapshot: Snapshot,
    days: DayRange,
    now: datetime,
    *,
    interval_minutes: int,
    universe: Universe,
    indicators: Sequence[Indicator],
    began: datetime | None,
) -> ScopedWrite:
    """Compute the feature rows of `days` up to `now` from the bars that `snapshot` shows.

    Rows at times off the grid, of a time with another collection interval, stay as they are stored. `began` is the
    instant of the first collection ever: observation times before it are a backfill.
    """
    at_us = observation_times(days, now, interval_minutes)
    window = days.widened(max([FEATURE_LOOKBACK_DAYS, *(indicator.lookback_days for indicator in indicators)]))
    logs = read_ticker_logs(snapshot, universe.features, window.start, window.end)
    rows = compute_feature_rows(
        logs, at_us, interval_minutes=interval_minutes, universe=universe, indicators=indicators
    )
    frame = rows.to_frame()
    frame["read_as_of"] = snapshot.watermark
    frame["origin"] = _origins(frame["observed_at"], now, timedelta(minutes=interval_minutes), began)
    frame = _with_off_grid(frame, snapshot, ML_FEATURES, days)
    scopes = tuple(ML_FEATURES.scope("", day) for day in days)
    return ScopedWrite((Replacement(ML_FEATURES, frame),), scopes, snapshot.watermark)


def build_indicator(
    indicator: Indicator,
    logs: dict[str, TickerLog],
    days: DayRange,
    now: datetime,
    *,
    snapshot: Snapshot,
    interval_minutes: int,
) -> ScopedWrite:
    """Compute one indicator over `days` up to `now` from the logs of its tickers, which were read before `snapshot`.

    Rows at times off the grid stay as they are stored.
    """
    at_us = observation_times(days, now, interval_minutes)
    frame = compute_indicator(indicator, logs, at_us, interval_minutes=interval_minutes)
    frame = _with_off_grid(frame, snapshot, ML_INDICATORS, days, series=[indicator.name])
    scopes = tuple(ML_INDICATORS.scope(indicator.name, day) for day in days)
    return ScopedWrite((Replacement(ML_INDICATORS, frame),), scopes, snapshot.watermark)


def build_correlations(snapshot: Snapshot, days: DayRange, now: datetime, universe: Universe) -> ScopedWrite:
    """Compute the crypto correlations of the sessions labelled with `days` that have closed by `now`."""
    # At most ticks of a day none of its sessions has closed yet, and half a year of bars need not be read.
    closed = [ticker for ticker in universe.features if _has_closed(ticker, days, now)]
    frames = [pd.DataFrame(columns=list(CORRELATION_FRAME_COLUMNS))]
    if closed:
        window = days.widened(CORRELATION_LOOKBACK_DAYS)
        logs = read_ticker_logs(snapshot, (*closed, *universe.crypto), window.start, window.end)
        tickers = {ticker.name: logs[ticker.name] for ticker in closed}
        frames = [
            session_correlations(logs[crypto.name], tickers, start=days.first, end=days.last, now_us=to_us(now))
            for crypto in universe.crypto
        ]
    scopes = tuple(CRYPTO_CORRELATIONS.scope(crypto.name, day) for crypto in universe.crypto for day in days)
    return ScopedWrite(
        (Replacement(CRYPTO_CORRELATIONS, pd.concat(frames, ignore_index=True)),), scopes, snapshot.watermark
    )


def build_crypto_rows(
    snapshot: Snapshot,
    days: DayRange,
    now: datetime,
    universe: Universe,
    indicators: Sequence[Indicator],
    *,
    left: pd.DataFrame | None,
) -> ScopedWrite:
    """Join the crypto rows stamped within `days` up to `now` with what was known at their time.

    `left`: rows (symbol, timestamp, price, volume, market_cap) of the user's own table; None takes the collected bars.
    """
    if left is None:
        window = days.widened(1)
        bars = snapshot.read(
            MARKET_BARS, start=window.start, end=window.end, series=[crypto.name for crypto in universe.crypto]
        )
        left = crypto_rows_from_bars(bars)
    inside = (left["timestamp"] >= days.start) & (left["timestamp"] < days.end) & (left["timestamp"] <= now)
    left = left.loc[inside]
    # The row at 00:00 of the first day may stand on the last observation time of the day before.
    features = snapshot.read(ML_FEATURES, start=days.widened(1).start, end=days.end)
    sessions = days.widened(CORRELATION_JOIN_DAYS)
    correlations = snapshot.read(CRYPTO_CORRELATIONS, start=sessions.first, end=sessions.last + ONE_DAY)
    frame = join_crypto_rows(left, features, correlations, universe=universe, indicators=indicators)
    scopes = tuple(
        CRYPTO_ML_FEATURES.scope(symbol, day)
        for symbol in sorted({crypto.name for crypto in universe.crypto} | set(left["symbol"]))
        for day in days
    )
    return ScopedWrite((Replacement(CRYPTO_ML_FEATURES, frame),), scopes, snapshot.watermark)


def build_macro_rows(
    snapshot: Snapshot, days: DayRange, interval: timedelta, universe: Universe, indicators: Sequence[Indicator]
) -> ScopedWrite:
    """Put the feature rows of `days` into the old system's shape, a line for each close that was known by then."""
    features = snapshot.read(ML_FEATURES, start=days.start, end=days.end)
    frame = macro_rows(features, days, interval, universe=universe, indicators=indicators)
    scopes = tuple(MACRO_INDICATORS.scope("", day) for day in days)
    return ScopedWrite((Replacement(MACRO_INDICATORS, frame),), scopes, snapshot.watermark)


def _has_closed(ticker: Ticker, days: DayRange, now: datetime) -> bool:
    """Whether a session labelled with one of `days` is completed at `now`, feed lag included."""
    sessions = venue_calendar(ticker.venue).sessions(days.first, days.last)
    return bool((sessions.close_us <= to_us(now - ticker.feed_lag)).any())


def _with_off_grid(
    frame: pd.DataFrame,
    snapshot: Snapshot,
    table: VersionedTable,
    days: DayRange,
    *,
    series: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Add the stored rows that `frame` has no time for: a write replaces whole days, and would withdraw them."""
    times = snapshot.read(table, start=days.start, end=days.end, series=series, columns=())["observed_at"]
    if times.isin(frame["observed_at"]).all():
        return frame
    stored = snapshot.read(table, start=days.start, end=days.end, series=series)
    kept = stored.loc[~stored["observed_at"].isin(frame["observed_at"]), list(frame.columns)]
    return pd.concat([frame, kept], ignore_index=True).sort_values("observed_at", ignore_index=True)


def _origins(observed_at: pd.Series, now: datetime, interval: timedelta, began: datetime | None) -> list[str]:
    return [
        "live" if now - at <= interval else "backfill" if began is None or at < began else "catch_up"
        for at in observed_at.tolist()
    ]
