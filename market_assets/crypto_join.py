"""Crypto rows beside the features and correlations that were known at their time.

Belongs here: the as-of join behind `crypto_ml_features_materialized`. Does not belong here: computing what is joined,
reading, writing.

Never a date join: a row at 03:00 UTC must not see the close of the same date.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import venue_calendar
from market_assets.columns import CORRELATION_COLUMNS, VIX_FEAR_INDEX, VIX_FEAR_INDEX_SOURCE, feature_columns
from market_assets.indicators import INDICATORS
from market_assets.maths.arrays import days, floats, instants_us, take
from market_assets.maths.bars import DAILY, HOUR, INTERVALS, PRICE_LOOKBACK, QUARTER_HOUR
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.indicators import Indicator
    from market_assets.maths.arrays import FloatArray, IntArray, TextArray
    from market_assets.universe import Ticker, Universe

LEFT_COLUMNS = ("symbol", "timestamp", "price", "volume", "market_cap")
#: window of the correlations that are joined, in sessions
CORRELATION_SESSIONS = 20
#: a feature row is known for a crypto row up to this age: whichever range of days is joined, the result is the same
FEATURE_MAX_AGE = timedelta(days=1)
#: how many days of correlations in front of a crypto row the join needs: no venue closes for longer
CORRELATION_JOIN_DAYS = PRICE_LOOKBACK.days
#: what may follow a crypto reference's name in a user's symbol, besides punctuation
_QUOTES = ("USD", "USDT", "USDC", "EUR")


def crypto_rows_from_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the left side of the join from collected bars: one row per bar end, symbol being the ticker's name.

    Where bars of several intervals end together, the shortest one gives price and volume: a row's volume is the volume
    since the row before, as far as the resolution goes. `market_cap` is NULL: bars do not have it.

    Args:
        bars: a bar frame (ticker, interval, bar_end, close, volume).
    """
    shortest_first = [INTERVALS[interval] for interval in (QUARTER_HOUR, HOUR, DAILY)]
    rank = bars["interval"].map({interval: rank for rank, interval in enumerate(shortest_first)})
    rows = (
        bars.assign(rank=rank)
        .sort_values(["ticker", "bar_end", "rank"])
        .drop_duplicates(["ticker", "bar_end"])
        .rename(columns={"ticker": "symbol", "bar_end": "timestamp", "close": "price"})
    )
    rows["market_cap"] = np.nan
    return rows[list(LEFT_COLUMNS)].reset_index(drop=True)


def reference_of(symbol: str, universe: Universe = UNIVERSE) -> str | None:
    """Return the crypto reference that a user's symbol means (BTC, btc-usd, BTCUSDT, BTC/USDT, ...), or None."""
    wanted = "".join(character for character in symbol.upper() if character.isalnum())
    for ticker in universe.crypto:
        if wanted in {ticker.name, *(f"{ticker.name}{quote}" for quote in _QUOTES)}:
            return ticker.name
    return None


def join_crypto_rows(
    left: pd.DataFrame,
    features: pd.DataFrame,
    correlations: pd.DataFrame,
    *,
    universe: Universe = UNIVERSE,
    indicators: Sequence[Indicator] = INDICATORS,
) -> pd.DataFrame:
    """Give each crypto row what was known at its timestamp.

    A row at t gets the feature row with the latest observed_at <= t (none if that is older than FEATURE_MAX_AGE), and
    the correlations of the last session whose close plus feed lag is <= t.

    Args:
        left: LEFT_COLUMNS; timestamp timezone-aware, the instant at which the row's price was known (a bar's end).
        features: observed_at (timezone-aware) and the feature columns, in any order, from FEATURE_MAX_AGE before the
            first row on.
        correlations: crypto, ticker, sessions, session (datetime.date), correlation, from CORRELATION_JOIN_DAYS before
            the first row on; other columns are ignored.
        universe: names the feature columns and the crypto references.
        indicators: name the other feature columns.

    Returns:
        One row per row of `left`, in its order: LEFT_COLUMNS, the feature columns, the correlation columns,
        `ml_vix_fear_index`. Symbols that are no crypto reference have features but no correlations.

    Raises:
        NaiveTimestampError: a time column has no time zone.
        ValueError: two feature rows share an observed_at.
    """
    at_us = instants_us(left["timestamp"])
    observed_us = instants_us(features["observed_at"])
    order = np.argsort(observed_us, kind="stable")
    observed_us = observed_us[order]
    if (np.diff(observed_us) == 0).any():
        raise ValueError("two feature rows share an observed_at; pass one version of each row, as of one instant")
    known = np.searchsorted(observed_us, at_us, side="right") - 1
    has = known >= 0
    has[has] = at_us[has] - observed_us[known[has]] <= FEATURE_MAX_AGE // timedelta(microseconds=1)
    columns: dict[str, object] = {name: left[name].to_numpy() for name in LEFT_COLUMNS if name != "timestamp"}
    columns["timestamp"] = pd.DatetimeIndex(left["timestamp"])
    names = feature_columns(universe, indicators)
    for column in names:
        columns[column] = take(floats(features[column])[order], np.where(has, known, -1), np.nan)
    references = left["symbol"].map(lambda symbol: reference_of(symbol, universe)).to_numpy(dtype=object)
    windows = correlations[correlations["sessions"] == CORRELATION_SESSIONS]
    for column, ticker in CORRELATION_COLUMNS.items():
        columns[column] = (
            _correlations_at(references, at_us, windows[windows["ticker"] == ticker], universe[ticker])
            if ticker in universe
            else np.nan
        )
    columns[VIX_FEAR_INDEX] = columns.get(VIX_FEAR_INDEX_SOURCE, np.nan)
    return pd.DataFrame(columns)[[*LEFT_COLUMNS, *names, *CORRELATION_COLUMNS, VIX_FEAR_INDEX]]


def _correlations_at(references: TextArray, at_us: IntArray, rows: pd.DataFrame, ticker: Ticker) -> FloatArray:
    """Return the correlation of each row's reference with `ticker` at the last session completed at its time."""
    calendar = venue_calendar(ticker.venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    lag_us = ticker.feed_lag // timedelta(microseconds=1)
    completed = np.searchsorted(table.close_us + lag_us, at_us, side="right") - 1
    result = np.full(len(at_us), np.nan)
    for crypto, own in rows.groupby("crypto", sort=False):
        by_session = floats(pd.Series(floats(own["correlation"]), index=days(own["session"])).reindex(table.label))
        result = np.where(references == crypto, take(by_session, completed, np.nan), result)
    return result
