"""Paired returns from the log, session by session: crypto at the ticker's own close.

Belongs here: which closes make up a step, and the returns between them. Does not belong here: measuring them, plain
price series (`series.py`).

Daily log total returns are, to the bit, those of the stored correlations (`market_assets.correlations`), and the same
returns count as known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from market_assets.analysis.definitions import Definition, ReturnKind, Sampling, mondays
from market_assets.analysis.measures import ReturnPairs
from market_assets.correlations import crypto_returns
from market_assets.maths.arrays import NEVER_US, map_floats
from market_assets.maths.splits import rescale

if TYPE_CHECKING:
    from datetime import date

    from market_assets.maths.arrays import DayArray, FloatArray, IntArray
    from market_assets.maths.closes import SessionCloses
    from market_assets.metrics import TickerSeries

_WEEK = np.timedelta64(7, "D")


class _Steps(NamedTuple):
    """The closes that steps lead between: rows of the session table, -1 where a week has none."""

    row: IntArray
    label: DayArray


class _Returns(NamedTuple):
    """One entry per step."""

    value: FloatArray
    known_us: IntArray


def session_pairs(
    crypto: TickerSeries, ticker: TickerSeries, *, end: date, now_us: int, steps: int, definition: Definition
) -> ReturnPairs:
    """Return the last `steps` steps up to the last session that is labelled `end` or earlier and completed by `now_us`.

    A daily return joins two consecutive sessions of the ticker's calendar, a weekly one the last closes of two
    consecutive weeks (of the week that is running, its last close so far); a missing close removes the returns on both
    sides of it. Returns that were not known when the last session was completed are missing.
    """
    closes = ticker.closes
    label = closes.table.label
    completed = np.flatnonzero((label <= np.datetime64(end, "D")) & (closes.complete_us <= now_us))
    if len(completed) == 0:
        return _no_pairs()
    last = int(completed[-1])
    chosen = _weeks(closes, last, steps) if definition.sampling is Sampling.WEEKLY else _sessions(closes, last, steps)
    before, after = chosen.row[:-1], chosen.row[1:]
    exists = (before >= 0) & (after >= 0)
    x = crypto_returns(crypto, closes.table.close_us[np.maximum(chosen.row, 0)])
    y = _returns(closes, np.maximum(before, 0), np.maximum(after, 0), dividends=definition.dividends)
    known = exists & (np.maximum(x.known_us, y.known_us) <= closes.complete_us[last])
    moved, own = (np.where(known, side, np.nan) for side in (x.value, y.value))
    if definition.returns is ReturnKind.SIMPLE:
        moved, own = map_floats(math.expm1, moved), map_floats(math.expm1, own)
    return ReturnPairs(chosen.label[1:], moved, own, x.is_daily)


def price_series(series: TickerSeries, *, end: date, now_us: int, dividends: bool) -> pd.Series:
    """Return a ticker's closes by session date (crypto: by UTC day), up to `end` and as far as known by `now_us`.

    On one basis throughout. With `dividends`, each is reinvested at the close of its ex-date.
    """
    closes = series.closes
    label = closes.table.label
    rows = np.flatnonzero(
        ~np.isnan(closes.close) & (label <= np.datetime64(end, "D")) & (closes.known_us <= now_us)
    ).astype(np.int64)
    index = pd.DatetimeIndex(label[rows].astype("datetime64[us]"))
    if len(rows) == 0:
        return pd.Series([], index=index, dtype=np.float64)
    growth = _growth(closes, rows[:-1], rows[1:]) if dividends else _price_growth(closes, rows[:-1], rows[1:])
    return pd.Series(closes.close[rows[0]] * np.concatenate(([1.0], np.cumprod(growth))), index=index)


def _no_pairs() -> ReturnPairs:
    nothing = np.empty(0)
    return ReturnPairs(np.empty(0, dtype="datetime64[D]"), nothing, nothing, np.empty(0, dtype=np.bool_))


def _sessions(closes: SessionCloses, last: int, steps: int) -> _Steps:
    row = np.arange(max(last - steps, 0), last + 1, dtype=np.int64)
    return _Steps(row, closes.table.label[row])


def _weeks(closes: SessionCloses, last: int, steps: int) -> _Steps:
    """Return the last close of each of the last weeks."""
    monday = mondays(closes.table.label[: last + 1])
    weeks: DayArray = monday[-1] - _WEEK * np.arange(steps, -1, -1)
    weeks = weeks[weeks >= monday[0]]
    has_close = np.flatnonzero(closes.known_us[: last + 1] < NEVER_US)
    found = np.searchsorted(monday[has_close], weeks, side="right") - 1
    row = np.where(found >= 0, np.append(has_close, -1)[found], -1)
    row = np.where((row >= 0) & (monday[row] == weeks), row, -1)
    return _Steps(row.astype(np.int64), weeks)


def _returns(closes: SessionCloses, before: IntArray, after: IntArray, *, dividends: bool) -> _Returns:
    """Return the log returns between the sessions of two lists of rows."""
    known_us = np.maximum(closes.known_us[before], closes.known_us[after])
    if not dividends:
        return _Returns(map_floats(math.log, _price_growth(closes, before, after)), known_us)
    if bool((after - before == 1).all()):
        return _Returns(closes.log_return[after], known_us)
    # Through every close in between, so that dividends are reinvested when they are paid.
    rows = np.flatnonzero(closes.known_us < NEVER_US).astype(np.int64)
    chain = np.append(map_floats(math.log, _growth(closes, rows[:-1], rows[1:])), np.nan)
    first, stop = np.searchsorted(rows, before), np.searchsorted(rows, after)
    there = known_us < NEVER_US
    values = [
        math.fsum(chain[one:two].tolist()) if known else math.nan
        for one, two, known in zip(first.tolist(), stop.tolist(), there.tolist(), strict=True)
    ]
    return _Returns(np.array(values), known_us)


def _price_growth(closes: SessionCloses, before: IntArray, after: IntArray) -> FloatArray:
    """Return close / close, both on the later one's scale; NaN where one is missing."""
    label = closes.table.label
    target = closes.splits.between(label[before], label[after]) * closes.basis[after]
    return closes.close[after] / rescale(closes.close[before], closes.basis[before], target)


def _growth(closes: SessionCloses, before: IntArray, after: IntArray) -> FloatArray:
    """Return (close + dividends since) / close, all on the later one's scale; `after` ascends, each after `before`."""
    label = closes.table.label
    of_prices = _price_growth(closes, before, after)
    growth = of_prices.copy()
    # The dividend of a session without a close belongs to the next close that there is.
    for row in np.flatnonzero(closes.dividend != 0.0).tolist():
        step = int(np.searchsorted(after, row, side="left"))
        if step == len(after) or before[step] >= row:
            continue
        split = closes.splits.between(label[[row]], label[[after[step]]])
        target = split * closes.basis[[after[step]]]
        paid = rescale(closes.dividend[[row]], closes.dividend_basis[[row]], target)
        growth[step] += of_prices[step] * paid[0] / closes.close[after[step]]
    return growth
