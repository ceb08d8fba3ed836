"""What a ticker's prices did that its own past does not lead one to expect: jumps, levels, standing still.

Belongs here: pure functions over stored bars, and the limits with the data that they come from. Does not belong here:
verdicts (`sane.py`), and bars that cannot be true at all (`collection/sanity.py` holds those back at the write).

The limits come from real prices, by `scripts/derive_check_limits.py`: daily rows of the 12 ETFs, three currencies, VIX,
DXY, BTC and ETH from 2017-06 to 2026-08 (44,000), and intraday bars of 15 of them between 2019 and 2025 (72,000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.calendars import US_PER_MINUTE, from_us, to_us, venue_calendar
from market_assets.maths.arrays import floats, instants_us, map_floats
from market_assets.maths.bars import INTERVALS, session_of
from market_assets.maths.splits import Splits, rescale

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import pandas as pd

    from market_assets.calendars import VenueCalendar
    from market_assets.collection.days import DayRange
    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray
    from market_assets.universe import Ticker

#: own daily volatilities from one bar to the next, overnight gaps included. Of 44,000 daily rows 4 exceed it: BTC twice
#: in 2018-11 and once in 2020-03, USO in 2020-03; the largest 15m bar has 5.2
JUMP_LIMIT = 12.0
#: a price this many times, or one part in so many, of the median of the last 20 sessions' closes. The largest factor of
#: any close is 3.3 (VIX, 2018-02); a hundredfold price stays beyond it for ten sessions
LEVEL_LIMIT = 5.0
#: open-market minutes in which open, high, low and close of every bar are one and the same price. The longest stretch
#: in 15m bars is 30 minutes (ARKQ, and euro and pound in the last half hour of a week); no daily row has it
STUCK_LIMIT = 120.0

#: the own volatility stands on so many daily returns, and on no fewer than half of them
VOLATILITY_RETURNS = 30
#: sessions whose median close is the level
LEVEL_SESSIONS = 20
#: the 90 % quantile of absolute returns of a normal distribution, in standard deviations: unlike the standard
#: deviation itself, it is not moved by one bad price among thirty, which makes two bad returns
_QUANTILE, _QUANTILE_IN_DEVIATIONS = 0.9, 1.6449
#: a daily volatility below a basis point is a price that stands still, not a scale for the next move
_LEAST_VOLATILITY = 1e-4


class Kind:
    """Words for what is unusual."""

    JUMP = "jump"
    LEVEL = "level"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Unusual:
    """One bar, or the last of a stretch of bars."""

    kind: str
    interval: str
    bar_start: datetime
    close: float
    #: close of the bar before on the same split basis, median of closes, or the price it stands still at
    against: float
    observed: float
    limit: float

    def __str__(self) -> str:
        """Name the bar and what is unusual about it, in one line."""
        bar = f"{self.interval} {self.bar_start:%Y-%m-%dT%H:%MZ} at {self.close:.6g}"
        if self.kind == Kind.JUMP:
            return f"{bar}: {self.observed:.1f} own daily volatilities from {self.against:.6g}"
        if self.kind == Kind.LEVEL:
            return f"{bar}: {self.observed:.3g} times off the median close {self.against:.6g}"
        return f"{bar}: the same price for {self.observed:.0f} open-market minutes"


@dataclass(frozen=True, slots=True)
class Movement:
    """What was found in the bars of some days."""

    bars: int
    #: bars whose jump could not be judged: no bar before, or too few sessions
    without_past: int
    #: in own daily volatilities, a factor, and minutes; 0.0 where nothing could be judged
    largest_jump: float
    largest_level: float
    longest_stuck: float
    #: volume traded during the longest stretch without a move
    stuck_volume: float
    unusual: list[Unusual] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Unusual]:
        """Return what is unusual in one way, worst first."""
        return sorted((one for one in self.unusual if one.kind == kind), key=lambda one: -one.observed)


class _Bars(NamedTuple):
    """Bars of one interval, ascending by start; closes on the newest split basis."""

    start_us: IntArray
    end_us: IntArray
    close: FloatArray
    #: whether open, high and low are the close
    flat: BoolArray
    volume: FloatArray


def examine(
    ticker: Ticker,
    bars: pd.DataFrame,
    actions: pd.DataFrame,
    days: DayRange,
    intervals: Collection[str] = INTERVALS,
) -> Movement:
    """Look at the bars that start within `days`, against those before them.

    Args:
        ticker: whose bars they are.
        bars: a bar frame of one ticker, rows in any order: the days, the bar before each, and 1d bars of the
            `VOLATILITY_RETURNS` sessions before.
        actions: its corporate actions, splits among them.
        days: the days to judge.
        intervals: of these intervals.
    """
    calendar = venue_calendar(ticker.venue)
    by_interval = _comparable(bars, actions, calendar)
    daily = by_interval.get("1d")
    past = _Past.of(daily) if daily is not None else None
    start_us, end_us = to_us(days.start), to_us(days.end)
    judged, without_past = 0, 0
    largest = {Kind.JUMP: 0.0, Kind.LEVEL: 0.0, Kind.STUCK: 0.0}
    stuck_volume = 0.0
    unusual: list[Unusual] = []
    for interval, own in by_interval.items():
        inside = (own.start_us >= start_us) & (own.start_us < end_us) & (interval in intervals)
        judged += int(inside.sum())
        if not inside.any():
            continue
        volatility, level = past.before(own.start_us, inside) if past else (own.close * np.nan, own.close * np.nan)
        previous = np.concatenate(([np.nan], own.close[:-1]))
        jump = np.abs(_log(own.close / previous)) / volatility
        factor = np.exp(np.abs(_log(own.close / level)))
        without_past += int((inside & np.isnan(jump)).sum())
        minutes, volume = _standing_still(own, interval, calendar)
        for kind, observed, against, limit in (
            (Kind.JUMP, jump, previous, JUMP_LIMIT),
            (Kind.LEVEL, factor, level, LEVEL_LIMIT),
            (Kind.STUCK, minutes, own.close, STUCK_LIMIT),
        ):
            known = np.flatnonzero(inside & np.isfinite(observed))
            if not len(known):
                continue
            worst = int(known[np.argmax(observed[known])])
            if observed[worst] > largest[kind]:
                largest[kind] = float(observed[worst])
                stuck_volume = float(volume[worst]) if kind == Kind.STUCK else stuck_volume
            beyond = known[observed[known] >= limit]
            if kind == Kind.STUCK:
                # The last bar of each stretch stands for all of it.
                beyond = beyond[np.diff(beyond, append=-1) != 1]
            unusual += [
                Unusual(
                    kind,
                    interval,
                    from_us(int(own.start_us[row])),
                    float(own.close[row]),
                    float(against[row]),
                    float(observed[row]),
                    limit,
                )
                for row in beyond.tolist()
            ]
    return Movement(
        judged, without_past, largest[Kind.JUMP], largest[Kind.LEVEL], largest[Kind.STUCK], stuck_volume, unusual
    )


class _Past(NamedTuple):
    """Daily closes, to measure others by."""

    end_us: IntArray
    log_close: FloatArray

    @classmethod
    def of(cls, daily: _Bars) -> _Past:
        log_close = _log(daily.close)
        known = np.isfinite(log_close)
        return cls(daily.end_us[known], log_close[known])

    def before(self, start_us: IntArray, wanted: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return daily volatility and median close of the sessions that ended by each start; NaN where unwanted."""
        volatility, level = np.full(len(start_us), np.nan), np.full(len(start_us), np.nan)
        ended = np.searchsorted(self.end_us, start_us, side="right")
        for count in np.unique(ended[wanted]).tolist():
            rows = ended == count
            returns = np.abs(np.diff(self.log_close[max(count - VOLATILITY_RETURNS - 1, 0) : count]))
            if len(returns) < VOLATILITY_RETURNS // 2:
                continue
            scale = float(np.quantile(returns, _QUANTILE)) / _QUANTILE_IN_DEVIATIONS
            volatility[rows] = max(scale, _LEAST_VOLATILITY)
            level[rows] = math.exp(float(np.median(self.log_close[max(count - LEVEL_SESSIONS, 0) : count])))
        return volatility, level


def _comparable(bars: pd.DataFrame, actions: pd.DataFrame, calendar: VenueCalendar) -> dict[str, _Bars]:
    """Return the bars by interval, their closes on the basis of all known splits."""
    if bars.empty:
        return {}
    start, end = instants_us(bars["bar_start"]), instants_us(bars["bar_end"])
    prices = np.stack([floats(bars[name]) for name in ("open", "high", "low", "close")])
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    splits = Splits.from_actions(actions, calendar)
    close = prices[3]
    if len(splits.ratio):
        label = table.label[session_of(table, start)]
        basis = floats(bars["basis"])
        close = rescale(close, basis, splits.between(label, np.full(len(label), splits.ex_day[-1])))
    flat = np.asarray((prices == prices[3]).all(axis=0), dtype=np.bool_)
    volume = floats(bars["volume"])
    names = bars["interval"].to_numpy(dtype=object)
    found = {}
    for interval in INTERVALS:
        rows = np.flatnonzero(names == interval)
        if len(rows):
            rows = rows[np.argsort(start[rows], kind="stable")]
            found[interval] = _Bars(start[rows], end[rows], close[rows], flat[rows], volume[rows])
    return found


def _standing_still(bars: _Bars, interval: str, calendar: VenueCalendar) -> tuple[FloatArray, FloatArray]:
    """Return for each bar how many open-market minutes, and how much volume, the price has been the same until its end.

    Only bars that the calendar expects count: outside of them sources repeat a price, and nobody trades.
    """
    expected, _ = calendar.expected_bars(interval, int(bars.start_us[0]), int(bars.start_us[-1]) + 1)
    minutes, volume = np.zeros(len(bars.close)), np.zeros(len(bars.close))
    # For most bars of most days there is nothing to add up.
    counts = bars.flat & np.isin(bars.start_us, expected)
    lengths = calendar.open_minutes(bars.start_us, bars.end_us) if interval == "1d" else _minutes(bars)
    for row in np.flatnonzero(counts).tolist():
        goes_on = row > 0 and bool(counts[row - 1]) and bars.close[row - 1] == bars.close[row]
        minutes[row] = lengths[row] + (minutes[row - 1] if goes_on else 0.0)
        volume[row] = np.nan_to_num(bars.volume[row]) + (volume[row - 1] if goes_on else 0.0)
    return minutes, volume


def _minutes(bars: _Bars) -> FloatArray:
    return np.asarray((bars.end_us - bars.start_us) / US_PER_MINUTE, dtype=np.float64)


def _log(values: FloatArray) -> FloatArray:
    return map_floats(lambda value: math.log(value) if 0.0 < value < math.inf else math.nan, values)
