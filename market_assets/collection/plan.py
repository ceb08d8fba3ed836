"""What to ask the source for: pure planning from the days wanted and the days already held.

Belongs here: windows of requests. Does not belong here: fetching, the source's wire, the store.

Resolution falls with age, because the source keeps 15m bars for 60 days and 1h bars for 730 only: 15m while it is
served, 1h beyond, 1d throughout for sessions, dividends and splits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import US_PER_DAY, from_us, to_us, venue_calendar
from market_assets.collection.days import ONE_DAY, DayRange, day_start
from market_assets.sources.base import FetchRequest, Interval

if TYPE_CHECKING:
    from market_assets.universe import Ticker

#: days of 1d bars in front of a collected day: 250 sessions of correlations and slack
LOOKBACK_DAILY = 400
#: days of 15m bars in front of a collected day: all that the source serves
LOOKBACK_M15 = 60

#: per interval, when each UTC day was last fetched (start of the request)
FetchedDays = Mapping[Interval, Mapping[date, datetime]]


@dataclass(frozen=True, slots=True)
class Limits:
    """First instant that the source still serves, per interval; None where it has no limit."""

    m15: datetime | None
    h1: datetime | None

    @classmethod
    def of(cls, oldest_available: Callable[[Interval, datetime], datetime | None], now: datetime) -> Limits:
        """Ask a source's `oldest_available` for both intraday intervals."""
        return cls(oldest_available(Interval.M15, now), oldest_available(Interval.H1, now))


def plan_requests(
    ticker: Ticker, days: DayRange, now: datetime, fetched: FetchedDays, limits: Limits
) -> list[FetchRequest]:
    """Return at most one request per interval, covering `days` and what is missing of the look-back before them.

    A look-back day counts as held once it was fetched after the last of its bars that is due, feed lag included: the
    first collection thus loads the whole look-back, the first ticks of a day the end of the day before, and a tick
    after an outage the gap.
    """
    if days.start >= now:
        msg = f"the days {days.first}..{days.last} have not begun at {now.isoformat()}; nothing can be collected"
        raise ValueError(msg)
    m15_from = _first_whole_day(limits.m15, days.first - timedelta(days=LOOKBACK_M15))
    h1_from = _first_whole_day(limits.h1, days.first - timedelta(days=LOOKBACK_DAILY))
    windows = (
        (Interval.D1, DayRange(days.first - timedelta(days=LOOKBACK_DAILY), days.last), days.first),
        (Interval.M15, _tail(m15_from, days.last), max(days.first, m15_from)),
        # 1h only where 15m is no longer served
        (Interval.H1, _tail(h1_from, min(days.last, m15_from - ONE_DAY)), max(days.first, h1_from)),
    )
    requests = []
    for interval, window, wanted_from in windows:
        if window is None:
            continue
        # A day held in 15m needs no 1h bars when the 60-day limit has moved past it.
        finer = fetched.get(Interval.M15, {}) if interval is Interval.H1 else {}
        held = {**fetched.get(interval, {}), **finer}
        start = _first_missing(ticker, interval, window, wanted_from=wanted_from, now=now, fetched=held)
        if start is not None:
            # A window ends with its day, today's too: what the answer covers ends when the request began.
            requests.append(FetchRequest(ticker, interval, day_start(start), day_start(window.last + ONE_DAY)))
    return requests


def _tail(first: date, last: date) -> DayRange | None:
    return DayRange(first, last) if first <= last else None


def _first_whole_day(limit: datetime | None, wanted: date) -> date:
    if limit is None:
        return wanted
    whole = limit.date() if limit == day_start(limit.date()) else limit.date() + ONE_DAY
    return max(whole, wanted)


def _first_missing(
    ticker: Ticker,
    interval: Interval,
    window: DayRange,
    *,
    wanted_from: date,
    now: datetime,
    fetched: Mapping[date, datetime],
) -> date | None:
    """Return the first day to ask for: a look-back day with bars that is not held, else the first wanted one."""
    until = min(window.end, day_start(wanted_from), now)
    starts, ends = venue_calendar(ticker.venue).expected_bars(interval, to_us(window.start), to_us(until))
    due = ends + ticker.feed_lag // timedelta(microseconds=1)
    # What is not due yet leaves nothing missing; of a day that a feed lags behind, the last bar that is due counts.
    is_due = due <= to_us(now)
    days, due = starts[is_due] // US_PER_DAY, due[is_due]
    # Bars are in order: the last one of a day is due last.
    last_of_day = np.flatnonzero(np.diff(days, append=-1))
    for day_us, due_us in zip((days * US_PER_DAY)[last_of_day].tolist(), due[last_of_day].tolist(), strict=True):
        day = from_us(day_us).date()
        held = fetched.get(day)
        if held is None or to_us(held) < due_us:
            return day
    return wanted_from if wanted_from <= window.last else None
