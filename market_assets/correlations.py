"""Measured correlations of crypto with every ticker.

Belongs here: how crypto is sampled at a ticker's session closes, and the windows of paired returns. Does not belong
here: what the correlations are said to be (`universe.py`), joining them to crypto rows (`crypto_join.py`).

The correlation of a session is what could be known at that session's close plus the ticker's feed lag, whenever it is
computed: closes that became known later (approximate ones of FX and of crypto) count as missing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from market_assets.maths.arrays import NEVER_US, map_floats
from market_assets.maths.windows import pearson, required_pairs
from market_assets.metrics import StalenessLimits, TickerSeries, lookback_days

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray
    from market_assets.metrics import TickerLog

#: windows, in sessions of the ticker
WINDOWS = (20, 90)
#: how many days of bars in front of a session the longest window needs
CORRELATION_LOOKBACK_DAYS = lookback_days(max(WINDOWS) + 1)

CORRELATION_FRAME_COLUMNS = ("crypto", "ticker", "sessions", "session", "correlation", "pairs")

#: crypto may be sampled as stale as any price may be at the default interval
_SAMPLE_LIMITS = StalenessLimits.for_interval(30)


def session_correlations(
    crypto_log: TickerLog,
    ticker_logs: Mapping[str, TickerLog],
    *,
    start: date,
    end: date,
    now_us: int,
    sessions: Sequence[int] = WINDOWS,
) -> pd.DataFrame:
    """Correlate one crypto reference with every ticker, session by session.

    Pearson correlation of daily log total returns over the last N sessions of the ticker's calendar. Crypto is sampled
    at the ticker's own session close: the last bar that has ended by then. Where there is none (or a stale one only),
    the next UTC-daily close stands in, known when that day is over: the pair of the last session is then missing. The
    UTC-daily close *before* the session's would be known in time, but it is 20 hours old, and no correlation is left:
    on 2020-2024 the 90-session means with QQQ are .33 with the close after and -.02 with the close before. A return
    never joins one kind of sample with the other: if either end must be daily, both are.

    Args:
        crypto_log: bars of the crypto reference, `CORRELATION_LOOKBACK_DAYS` in front of `start`.
        ticker_logs: by name, likewise.
        start: first session label.
        end: last session label; both included.
        now_us: sessions that are not completed (close plus feed lag) by then are left out; microseconds UTC.
        sessions: the windows.

    Returns:
        One row per ticker, window and session: CORRELATION_FRAME_COLUMNS, with session a datetime.date, correlation
        NaN where fewer than 90 % of the pairs are valid or one side has no variance, and the number of valid pairs.
    """
    crypto = TickerSeries.prepare(crypto_log)
    rows: list[tuple[str, str, int, date, float, int]] = []
    for name, log in ticker_logs.items():
        closes = TickerSeries.prepare(log).closes
        label = closes.table.label
        wanted = np.flatnonzero(
            (label >= np.datetime64(start, "D")) & (label <= np.datetime64(end, "D")) & (closes.complete_us <= now_us)
        )
        if len(wanted) == 0:
            continue
        # From the first return of the first window on; it also needs the close before it.
        first, stop = max(int(wanted[0]) + 1 - max(sessions), 1), int(wanted[-1]) + 1
        x, x_known_us, _ = crypto_returns(crypto, closes.table.close_us[first - 1 : stop])
        y, y_known_us = closes.log_return[first:stop], closes.return_known_us[first:stop]
        known_us = np.where(np.isnan(x) | np.isnan(y), NEVER_US, np.maximum(x_known_us, y_known_us))
        for window in sessions:
            for row in wanted.tolist():
                last = row + 1 - first
                part = slice(max(last - window, 0), last)
                valid = known_us[part] <= closes.complete_us[row]
                pairs = int(valid.sum())
                value = pearson(x[part][valid], y[part][valid]) if pairs >= required_pairs(window) else math.nan
                rows.append((crypto_log.ticker.name, name, window, label[row].item(), value, pairs))
    return pd.DataFrame(rows, columns=list(CORRELATION_FRAME_COLUMNS))


class CryptoReturns(NamedTuple):
    """One entry per step between two consecutive instants."""

    #: log return; NaN where a sample is missing
    value: FloatArray
    #: when it is known, microseconds UTC
    known_us: IntArray
    #: whether the UTC-daily closes after the instants stand in for samples at them
    is_daily: BoolArray


def crypto_returns(crypto: TickerSeries, close_us: IntArray) -> CryptoReturns:
    """Return crypto's return into each of the instants `close_us` but the first from the one before."""
    # A bar of a day is followed by quarter hours: two hours after midnight it is too stale to be a sample.
    sampled = crypto.price_at(close_us, _SAMPLE_LIMITS).value
    growth = sampled[1:] / sampled[:-1]
    days = crypto.closes
    day = np.searchsorted(days.complete_us, close_us, side="left")
    daily = days.close[day] * days.basis[day]
    known = np.maximum(days.known_us[day[1:]], days.known_us[day[:-1]])
    is_daily = np.isnan(growth)
    return CryptoReturns(
        map_floats(math.log, np.where(is_daily, daily[1:] / daily[:-1], growth)),
        np.where(is_daily, known, close_us[1:]),
        is_daily,
    )
