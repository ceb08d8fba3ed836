"""Session closes, and the daily returns between them.

Belongs here: which price is a session's close, when it is known, and the total return that joins two of them. Does not
belong here: the price at T (`bars.py`), windows of returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.maths.arrays import NEVER_US, days, floats, map_floats, utc_index
from market_assets.maths.bars import DAILY, HOUR, QUARTER_HOUR
from market_assets.maths.splits import Splits, rescale

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.calendars import SessionTable
    from market_assets.maths.arrays import DayArray, FloatArray, IntArray
    from market_assets.maths.bars import Bars
    from market_assets.universe import Ticker

#: where a session's close comes from
MISSING, FROM_DAILY, FROM_INTRADAY, APPROXIMATE = range(4)

#: Yahoo's FX day is London's
_FX_DAY_TIMEZONE = "Europe/London"


@dataclass(frozen=True, slots=True, eq=False)
class SessionCloses:
    """One entry per session of the venue's whole calendar, so that a row means the same session in every frame."""

    ticker: Ticker
    table: SessionTable
    splits: Splits
    #: close of the session plus feed lag: from here on the session counts as completed
    complete_us: IntArray
    #: as stored; NaN where missing
    close: FloatArray
    basis: FloatArray
    #: when the close is known; NEVER_US where missing
    known_us: IntArray
    #: MISSING, FROM_DAILY, FROM_INTRADAY or APPROXIMATE
    origin: IntArray
    #: dividends with ex-date after the previous session and up to this one, on `dividend_basis`
    dividend: FloatArray
    dividend_basis: FloatArray
    #: log total return from the previous session's close to this one's; NaN where either is missing
    log_return: FloatArray
    #: when both closes are known
    return_known_us: IntArray

    @classmethod
    def of(
        cls, ticker: Ticker, bars: Bars, actions: pd.DataFrame, table: SessionTable, splits: Splits
    ) -> SessionCloses:
        """Find the closes of all sessions of `table`.

        The close is the 1d bar's; where that is missing, and for FX always, the last intraday bar that ends at the
        close. An FX close without an intraday bar is the daily row of the next FX day, whose close is the price at the
        start of that day; it is known when that row is complete, and marked as approximate.
        """
        lag_us = ticker.feed_lag // timedelta(microseconds=1)
        found = _find(ticker, bars, table, lag_us)
        dividends = _dividends(actions, table.label)
        log_return, return_known = _returns(found, dividends, table.label, splits)
        return cls(ticker, table, splits, table.close_us + lag_us, *found, *dividends, log_return, return_known)

    def completed(self, at_us: IntArray) -> IntArray:
        """Return the row of the last session completed at each instant, -1 before the first."""
        return np.asarray(np.searchsorted(self.complete_us, at_us, side="right") - 1, dtype=np.int64)

    def events_us(self) -> IntArray:
        """Return the instants at which the set of known closes changes, ascending, some of them twice."""
        # np.unique takes five times as long, and repeated instants do no harm.
        return np.sort(np.concatenate((self.complete_us, self.known_us[self.known_us < NEVER_US])))

    def on_basis(self, rows: IntArray, at_us: IntArray, session: IntArray, basis: FloatArray) -> FloatArray:
        """Return the closes of the sessions `rows` as known at `at_us`, on the scale of a bar of `session` and `basis`.

        NaN where a row is negative, or its close missing or not yet known.
        """
        known = (rows >= 0) & (self.known_us[rows] <= at_us)
        label = self.table.label
        target = self.splits.between(label[rows], label[session]) * basis
        return np.where(known, rescale(self.close[rows], self.basis[rows], target), np.nan)


class _Found(NamedTuple):
    """Parallel to the session table."""

    close: FloatArray
    basis: FloatArray
    known_us: IntArray
    origin: IntArray


class _Dividends(NamedTuple):
    """Parallel to the session table."""

    amount: FloatArray
    basis: FloatArray


def _find(ticker: Ticker, bars: Bars, table: SessionTable, lag_us: int) -> _Found:
    """Return the close of every session: the one known first, of those the one from the most preferred source."""
    count = len(table.label)
    found = _Found(
        np.full(count, np.nan),
        np.ones(count),
        np.full(count, NEVER_US, dtype=np.int64),
        np.full(count, MISSING, dtype=np.int64),
    )
    usable = bars.take(bars.usable)

    def assign(rows: IntArray, sessions: IntArray, origin: int) -> None:
        # Never before the session is over, even if a bar claims to end earlier.
        known_us = np.maximum(usable.end_us[rows], table.close_us[sessions]) + lag_us
        # A close known later must not hide one known before. Backwards, so that the earliest of several stays.
        better = np.flatnonzero(known_us <= found.known_us[sessions])[::-1]
        rows, sessions = rows[better], sessions[better]
        found.close[sessions], found.basis[sessions] = usable.close[rows], usable.basis[rows]
        found.known_us[sessions], found.origin[sessions] = known_us[better], origin

    # From the least to the most preferred source.
    daily = np.flatnonzero(usable.interval == DAILY)
    if ticker.is_fx:
        assign(*_sessions_before(usable, daily, table), APPROXIMATE)
    for interval in (HOUR, QUARTER_HOUR):
        rows = np.flatnonzero((usable.interval == interval) & (usable.session >= 0))
        rows = rows[usable.end_us[rows] == table.close_us[usable.session[rows]]]
        assign(rows, usable.session[rows], FROM_INTRADAY)
    if not ticker.is_fx:
        rows = daily[usable.session[daily] >= 0]
        assign(rows, usable.session[rows], FROM_DAILY)
    return found


def _sessions_before(bars: Bars, daily: IntArray, table: SessionTable) -> tuple[IntArray, IntArray]:
    """Return (bar rows, sessions): each FX day's row beside the session in front of that day."""
    day: DayArray = (
        utc_index(bars.start_us[daily])
        .tz_convert(_FX_DAY_TIMEZONE)
        .tz_localize(None)
        .to_numpy()
        .astype("datetime64[D]")
    )
    following = np.searchsorted(table.label, day, side="left")
    matches = (following > 0) & (following < len(table.label))
    matches[matches] = table.label[following[matches]] == day[matches]
    return daily[matches], following[matches] - 1


def _dividends(actions: pd.DataFrame, label: DayArray) -> _Dividends:
    """Return each session's dividends."""
    amount, basis = np.zeros(len(label)), np.ones(len(label))
    rows = np.flatnonzero(actions["kind"].to_numpy(dtype=object) == "dividend")
    if len(rows) == 0:
        return _Dividends(amount, basis)
    ex_day = days(actions["ex_date"])[rows]
    value, value_basis = floats(actions["value"])[rows], floats(actions["basis"])[rows]
    # A bad dividend makes its session's return missing, as a bad close would.
    sane = np.isfinite(value) & (value >= 0.0) & np.isfinite(value_basis) & (value_basis > 0.0)
    value, value_basis = np.where(sane, value, np.nan), np.where(sane, value_basis, 1.0)
    session = np.searchsorted(label, ex_day, side="left")
    for row in np.unique(session[session < len(label)]).tolist():
        paid = np.flatnonzero(session == row)
        # Of several with different bases only the native values add up.
        bases = set(value_basis[paid].tolist())
        basis[row] = bases.pop() if len(bases) == 1 else 1.0
        on_one_basis = rescale(value[paid], value_basis[paid], np.full(len(paid), basis[row]))
        amount[row] = math.fsum(on_one_basis.tolist())
    return _Dividends(amount, basis)


def _returns(found: _Found, dividends: _Dividends, label: DayArray, splits: Splits) -> tuple[FloatArray, IntArray]:
    """Return the log total return of each session and when it is known.

    Both closes are put on the later one's own stored scale, so that nothing is rescaled where no split lies between.
    """
    target = splits.between(label[:-1], label[1:]) * found.basis[1:]
    before = rescale(found.close[:-1], found.basis[:-1], target)
    growth = (found.close[1:] + rescale(dividends.amount[1:], dividends.basis[1:], found.basis[1:])) / before
    log_return = np.concatenate(([np.nan], map_floats(math.log, growth)))
    return log_return, np.concatenate(([NEVER_US], np.maximum(found.known_us[1:], found.known_us[:-1])))
