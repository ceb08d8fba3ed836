"""When each venue is open and when the source has bars of it: one builder per venue, and the registry.

Belongs here: facts about venues, and the measurements they rest on. Does not belong here: questions asked of a calendar
(`venue.py`), feed lags and which ticker trades where (`universe.py`).

A *session* is when the venue trades; its label is the venue-local date on which it ends. Where Yahoo has no intraday
bars for a part of a session, the session stays (the market moves on and the price goes stale), but no bars are
expected. For some venues there are bars outside of sessions, named below; they belong to no session.
"""

from __future__ import annotations

import warnings
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from market_assets.calendars.instants import US_PER_DAY, US_PER_MINUTE
from market_assets.calendars.venue import Hours, SessionTable, VenueCalendar
from market_assets.sources.base import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: every calendar covers the labels in [FIRST_DAY, LAST_DAY]; a fixed range, so that no calendar depends on the clock
FIRST_DAY = date(2015, 1, 1)
LAST_DAY = date(2040, 12, 31)

_NEW_YORK = ZoneInfo("America/New_York")
_LONDON = ZoneInfo("Europe/London")

_US_PER_HOUR = 60 * US_PER_MINUTE
_MIDNIGHT = time(0)
_SATURDAY = 5
_FULL_NYSE_DAY_US = 390 * US_PER_MINUTE


@cache
def venue_calendar(key: str) -> VenueCalendar:
    """Return the calendar of a venue, built once per process; raise KeyError naming the known ones."""
    try:
        build = _BUILDERS[key]
    except KeyError:
        raise KeyError(f"unknown venue {key!r}; known: {', '.join(_BUILDERS)}") from None
    return build(key)


def _xnys(key: str) -> VenueCalendar:
    """Build the New York Stock Exchange: 09:30 to 16:00, half days to 13:00, ad-hoc closures such as 2025-01-09.

    Measured: the labels equal the dates of Yahoo's daily rows of QQQ and SPY, 2,319 of 2,319 from 2017-06 to 2026-08.
    """
    return _calendar(key, _NEW_YORK, _nyse_sessions())


def _fx(key: str) -> VenueCalendar:
    """Build the currency week: 17:00 to 17:00 New York, labels Monday to Friday, without 25 December and 1 January.

    The two missing sessions take their hours with them: the market is shut from 17:00 New York on 24 (31) December to
    17:00 on 25 December (1 January). Bars of a broker from 2019-12 agree, but they and Yahoo's of 2024-12 trickle
    on until about 03:00 New York on 25 December; Yahoo resumed on 2025-01-01 at 13:00. Such bars belong to no session.

    Yahoo keeps the London calendar: its intraday bars of a Monday begin at 00:00 London (19:00 or 20:00 New York on
    Sunday), and its daily row D spans the London day D, the close being the price at its start. It also has daily rows
    dated 25 December and 1 January (10 of 10 weekdays from 2017 to 2024), which are not expected here.
    """
    weekdays = [day for day in _days().tolist() if day.weekday() < _SATURDAY]
    labels = np.array([d for d in weekdays if (d.month, d.day) not in {(12, 25), (1, 1)}], dtype="datetime64[D]")
    table = SessionTable(labels, _wall(labels - 1, time(17)), _wall(labels, time(17)))
    london = Hours(_wall(labels, _MIDNIGHT, _LONDON), _wall(labels + 1, _MIDNIGHT, _LONDON))
    printed = Hours(np.where(_is_sunday(labels - 1), london.start_us, table.open_us), table.close_us)
    return _calendar(key, _NEW_YORK, table, {Interval.D1: london, Interval.H1: printed, Interval.M15: printed})


def _cboe_index(key: str) -> VenueCalendar:
    """Build Cboe's regular index hours: NYSE's sessions, each 15 minutes longer (09:30 to 16:15, half days to 13:15).

    Derived from NYSE because exchange_calendars' XCBF misses the half day of 3 July.

    Cboe also calculates the VIX in its global hours, from 03:15 New York, and since 2022 until 11:30 on most days on
    which NYSE is shut: Cboe's own history has 32 such rows from 2022-05 to 2026-07, 2025-01-09 among them. They are not
    sessions: there are none before 2022, so that a window of 20 sessions would change its meaning; those days have no
    regular hours, and their close is an overnight quote; and Yahoo's daily rows lack most of them (5 of the 6 from
    2025-11 to 2026-07), so that each would cost two returns. All other days agree, 2,298 of 2,298 since 2017-06.

    Yahoo's 1h bars of the VIX begin on the whole hour. The one that begins at 09:00 lies half before the open and is
    not expected: the first one of a session is 10:00, the last one 16:00 to 16:15. Its 15m bars begin at 09:30.
    """
    nyse = _nyse_sessions()
    table = SessionTable(nyse.label, nyse.open_us, nyse.close_us + 15 * US_PER_MINUTE)
    first_hour = -(-table.open_us // _US_PER_HOUR) * _US_PER_HOUR
    return _calendar(key, _NEW_YORK, table, {Interval.H1: Hours(first_hour, table.close_us)})


def _ice_usdx(key: str) -> VenueCalendar:
    """Build the ICE US dollar index as Yahoo serves it: 19:00 New York of the day before (Sunday 18:00) to 17:00.

    Session dates are NYSE's. ICE itself is open on most US holidays (exchange_calendars' IEPA), but Yahoo's daily rows
    are not: each of the 2,298 NYSE days from 2017-06 to 2026-07 has one, of IEPA's further 60 only 2025-05-26 has, and
    2025-01-09 has one though IEPA is shut. With IEPA's dates every other holiday would be a missing close. What Yahoo
    prints on such days (2025-06-19: bars all day, no daily row) belongs to no session.

    The hours are measured on Yahoo's 1h bars from 2024-10 to 2026-09. The daily open is the open of the bar at 19:00
    (Sunday 18:00). The daily close was the price at 15:00 on 35 of 38 days compared in 2024 and 2025, and one between
    15:00 and 17:00 on 17 of 18 in 2026: known when the session ends. The bars between 17:00 and 19:00 lag behind the
    market (on 2025-05-28 they stood still while it moved by 0.7 %) and belong to no session.

    No intraday bars are expected in the evening of a weekday on which NYSE is shut (they begin at 00:00 New York), nor
    on half days outside of NYSE's hours and the evening before (4 of 4 half days compared).
    """
    nyse = _nyse_sessions()
    labels = nyse.label
    opens = np.where(_is_sunday(labels - 1), _wall(labels - 1, time(18)), _wall(labels - 1, time(19)))
    table = SessionTable(labels, opens, _wall(labels, time(17)))
    midnight = _wall(labels, _MIDNIGHT)
    has_evening = _is_sunday(labels - 1) | np.isin(labels - 1, labels)
    is_half = nyse.close_us - nyse.open_us < _FULL_NYSE_DAY_US
    printed = Hours(np.where(has_evening, opens, midnight), np.where(is_half, midnight, table.close_us))
    half_days = Hours(nyse.open_us[is_half], nyse.close_us[is_half])
    starts = np.concatenate((printed.start_us, half_days.start_us))
    ends = np.concatenate((printed.end_us, half_days.end_us))
    # A half day after a holiday has no evening before it: its first span is empty.
    order = np.argsort(starts)
    order = order[starts[order] < ends[order]]
    hours = Hours(starts[order], ends[order])
    return _calendar(key, _NEW_YORK, table, {Interval.H1: hours, Interval.M15: hours})


def _utc_24_7(key: str) -> VenueCalendar:
    """Build the market that never closes: every UTC day is a session, 00:00 to 24:00."""
    labels = _days()
    open_us = labels.astype("datetime64[us]").astype(np.int64)
    return _calendar(key, ZoneInfo("UTC"), SessionTable(labels, open_us, open_us + US_PER_DAY))


_BUILDERS: dict[str, Callable[[str], VenueCalendar]] = {
    "XNYS": _xnys,
    "FX": _fx,
    "CBOE_INDEX": _cboe_index,
    "ICE_USDX": _ice_usdx,
    "UTC_24_7": _utc_24_7,
}


def _calendar(
    key: str, timezone: ZoneInfo, table: SessionTable, bar_hours: dict[Interval, Hours] | None = None
) -> VenueCalendar:
    return VenueCalendar(key, timezone, table, first_day=FIRST_DAY, last_day=LAST_DAY, bar_hours=bar_hours)


@cache
def _nyse_sessions() -> SessionTable:
    # Imported late: it costs 0.2 CPU seconds that a process without a calendar need not pay.
    import exchange_calendars  # noqa: PLC0415

    with warnings.catch_warnings():
        # The package's own use of pandas; pandas names itself as the origin, so that only the message tells it apart.
        warnings.filterwarnings("ignore", message="Series.values returning", category=DeprecationWarning)
        # An explicit end: by default the package stops about one year after today.
        calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
    schedule = calendar.schedule
    return SessionTable(
        label=schedule.index.to_numpy(dtype="datetime64[D]"),
        open_us=schedule["open"].to_numpy(dtype="datetime64[us]").astype(np.int64),
        close_us=schedule["close"].to_numpy(dtype="datetime64[us]").astype(np.int64),
    )


def _days() -> NDArray[np.datetime64]:
    return np.arange(np.datetime64(FIRST_DAY, "D"), np.datetime64(LAST_DAY, "D") + 1)


def _is_sunday(days: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    return np.asarray(np.is_busday(days, weekmask="0000001"))


def _wall(days: NDArray[np.datetime64], clock: time, timezone: ZoneInfo = _NEW_YORK) -> NDArray[np.int64]:
    """Return the instant at which the wall clock of `timezone` shows `clock` on each day, microseconds UTC."""
    dates: list[date] = days.tolist()
    # Whole seconds, so that the float of `timestamp` is exact.
    seconds = np.array([datetime.combine(day, clock, timezone).timestamp() for day in dates], dtype=np.int64)
    return seconds * 1_000_000
