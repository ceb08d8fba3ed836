"""The coverage states of a ticker's days: what was expected by the calendar against what came.

Belongs here: the pure judgement of one (ticker, interval, UTC day). Does not belong here: recording it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from market_assets.calendars import to_us, venue_calendar
from market_assets.collection.days import ONE_DAY, DayRange, day_start
from market_assets.store import DayState, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from market_assets.sources.base import FetchRequest, Interval
    from market_assets.universe import Ticker

#: how late a bar may be before its absence means something
_SETTLED = timedelta(minutes=15)


def coverage_of_failure(
    ticker: Ticker, windows: tuple[FetchRequest, ...], days: DayRange, cause: str
) -> list[LedgerEntry]:
    """Return `fetch_failed` for every day and interval that was asked for in vain."""
    return [
        LedgerEntry(ticker.name, request.interval.value, day, DayState.FETCH_FAILED, cause)
        for request in windows
        for day in days
        if request.start < day_start(day + ONE_DAY) and day_start(day) < request.end
    ]


def coverage_of_answer(
    ticker: Ticker, windows: tuple[FetchRequest, ...], days: DayRange, bars: pd.DataFrame, now: datetime
) -> list[LedgerEntry]:
    """Return ok, closed or hole_at_source for every day of `days` that lies in an answered window.

    A bar is expected once its end and the feed lag have passed.
    """
    states = []
    for request in windows:
        mine = bars.loc[bars["interval"] == request.interval.value, "bar_start"] if len(bars) else None
        for day in days:
            start, end = max(day_start(day), request.start), min(day_start(day + ONE_DAY), request.end)
            if start >= end:
                continue
            expected = _expected(ticker, request.interval, start, end, now)
            if not expected:
                states.append(LedgerEntry(ticker.name, request.interval.value, day, DayState.CLOSED, ""))
                continue
            held = (
                set() if mine is None else {to_us(value) for value in mine.loc[(mine >= start) & (mine < end)].tolist()}
            )
            missing = [value for value in expected if value not in held]
            state, detail = (
                (DayState.HOLE_AT_SOURCE, f"{len(missing)} of {len(expected)} bars missing")
                if missing
                else (DayState.OK, "")
            )
            states.append(LedgerEntry(ticker.name, request.interval.value, day, state, detail))
    return states


def bars_are_due(ticker: Ticker, windows: Sequence[FetchRequest], days: DayRange, now: datetime) -> bool:
    """Return whether a bar of `days` should long have been there, in any of the requested windows."""
    settled = now - _SETTLED
    return any(
        _expected(ticker, request.interval, max(days.start, request.start), min(days.end, request.end), settled)
        for request in windows
        if request.start < days.end and days.start < request.end
    )


def _expected(ticker: Ticker, interval: Interval, start: datetime, end: datetime, now: datetime) -> list[int]:
    starts, ends = venue_calendar(ticker.venue).expected_bars(interval, to_us(start), to_us(end))
    lag = ticker.feed_lag // timedelta(microseconds=1)
    return list(starts[ends + lag <= to_us(now)].tolist())
