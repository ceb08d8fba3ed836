"""The bars of one ticker as arrays, and the choice of the bar that gives the price at T.

Belongs here: reading a bar frame, availability, staleness. Does not belong here: session closes (`closes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE
from market_assets.maths.arrays import NO_TEXT, floats, instants_us

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.calendars import SessionTable, VenueCalendar
    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray, TextArray
    from market_assets.universe import Ticker

#: intervals of bars; at equal ends the earlier one here gives the price
INTERVALS = ("1d", "15m", "1h")
DAILY, QUARTER_HOUR, HOUR = range(len(INTERVALS))
#: what should follow a bar of the interval: after a 1d bar the next session begins with 15m bars
_FOLLOWED_BY = {DAILY: "15m", QUARTER_HOUR: "15m", HOUR: "1h"}
#: no venue leaves a longer gap between two bars
_LONGEST_GAP_US = 14 * US_PER_DAY
#: an older bar never gives a price; far longer than any venue closes, and a bound for what must be read
PRICE_LOOKBACK = timedelta(days=10)
_PRICE_LOOKBACK_US = PRICE_LOOKBACK // timedelta(microseconds=1)

NO_BARS = "no_bars"
NULL_PRICE = "null_price"
NOT_POSITIVE = "not_positive"


def session_of(table: SessionTable, at_us: IntArray) -> IntArray:
    """Return the row of the session that contains each instant (open included, close not), -1 outside of sessions."""
    row = np.searchsorted(table.open_us, at_us, side="right") - 1
    inside = (row >= 0) & (at_us < table.close_us[row])
    return np.where(inside, row, -1).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one ticker, ascending by end; at equal ends the preferred interval comes last."""

    #: position in INTERVALS
    interval: IntArray
    start_us: IntArray
    end_us: IntArray
    #: as stored; NaN where null
    close: FloatArray
    basis: FloatArray
    #: row of the venue's session table, -1 outside of sessions
    session: IntArray

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, table: SessionTable) -> Bars:
        """Read a bar frame whose rows may stand in any order.

        Raises:
            ValueError: an unknown interval, or two bars with the same interval and start.
            NaiveTimestampError: a time column has no time zone.
        """
        names = frame["interval"].astype(object).to_numpy()
        interval = np.full(len(frame), -1, dtype=np.int64)
        for position, name in enumerate(INTERVALS):
            interval[names == name] = position
        if (interval < 0).any():
            raise ValueError(f"interval={names[interval < 0][0]!r} is not one of {', '.join(INTERVALS)}")
        start, end = instants_us(frame["bar_start"]), instants_us(frame["bar_end"])
        bars = cls(interval, start, end, floats(frame["close"]), floats(frame["basis"]), session_of(table, start))
        bars = bars.take(np.lexsort((start, -interval, end)))
        order = np.lexsort((start, interval))
        if ((np.diff(start[order]) == 0) & (np.diff(interval[order]) == 0)).any():
            raise ValueError("two bars share interval and bar_start; pass one version of each bar, as of one instant")
        return bars

    @property
    def usable(self) -> BoolArray:
        """Whether the close is a positive number and its basis is known."""
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.close) & (self.close > 0.0) & np.isfinite(self.basis) & (self.basis > 0.0)

    def take(self, rows: IntArray | BoolArray) -> Bars:
        """Return the bars at `rows` (positions or a mask), in that order."""
        return Bars(
            self.interval[rows],
            self.start_us[rows],
            self.end_us[rows],
            self.close[rows],
            self.basis[rows],
            self.session[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class ChosenBars:
    """The bar that gives the price at each T; rows of `PriceBars.bars`, -1 where there is none."""

    row: IntArray
    #: minutes since the bar's end; NaN without a bar
    age_minutes: FloatArray
    #: open-market minutes since the next bar should have been available; NaN without a bar
    stale_minutes: FloatArray
    #: None where the bar has a usable price
    reason: TextArray


@dataclass(frozen=True, slots=True, eq=False)
class PriceBars:
    """The bars that may give a price: inside a session, and not FX days."""

    bars: Bars
    available_us: IntArray
    #: end of the bar that should follow
    next_end_us: IntArray
    calendar: VenueCalendar
    lag_us: int

    @classmethod
    def of(cls, ticker: Ticker, bars: Bars, calendar: VenueCalendar) -> PriceBars:
        """Select from `bars`. The close of an FX day is the price at the start of that day: it never is a price."""
        eligible = bars.session >= 0
        if ticker.is_fx:
            eligible &= bars.interval != DAILY
        bars = bars.take(eligible)
        # At equal ends a bar without a usable price must not hide one that has it.
        bars = bars.take(np.lexsort((-bars.interval, bars.usable, bars.end_us)))
        lag_us = ticker.feed_lag // timedelta(microseconds=1)
        return cls(bars, bars.end_us + lag_us, _next_end(bars, calendar), calendar, lag_us)

    def choose(self, at_us: IntArray) -> ChosenBars:
        """Choose the last bar available at each T (latest end; at equal ends 1d, then 15m, then 1h)."""
        row = np.searchsorted(self.available_us, at_us, side="right") - 1
        age = np.full(len(at_us), np.nan)
        stale = np.full(len(at_us), np.nan)
        reason = np.full(len(at_us), NO_BARS, dtype=object)
        has = row >= 0
        has[has] = at_us[has] - self.bars.end_us[row[has]] < _PRICE_LOOKBACK_US
        chosen, at = row[has], at_us[has]
        age[has] = (at - self.bars.end_us[chosen]) / US_PER_MINUTE
        stale[has] = self.calendar.open_minutes(self.next_end_us[chosen], at - self.lag_us)
        close = self.bars.close[chosen]
        reason[has] = np.where(
            self.bars.usable[chosen],
            NO_TEXT,
            np.where(np.isnan(close) | np.isnan(self.bars.basis[chosen]), NULL_PRICE, NOT_POSITIVE),
        )
        return ChosenBars(np.where(has, row, -1), age, stale, reason)


def _next_end(bars: Bars, calendar: VenueCalendar) -> IntArray:
    """Return the end of the bar that should follow each bar."""
    next_end = np.empty(len(bars.end_us), dtype=np.int64)
    for interval, following in _FOLLOWED_BY.items():
        rows = np.flatnonzero(bars.interval == interval)
        if len(rows) == 0:
            continue
        end_us = bars.end_us[rows]
        starts, ends = calendar.expected_bars(following, int(end_us[0]), int(end_us[-1]) + _LONGEST_GAP_US)
        next_end[rows] = ends[np.searchsorted(starts, end_us, side="left")]
    return next_end
