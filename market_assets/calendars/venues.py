"""When each venue is open: one builder per venue, and the registry.

Belongs here: facts about venues. Does not belong here: questions asked of a calendar (`venue.py`), feed lags and which
ticker trades where (`universe.py`).
"""

from __future__ import annotations

import warnings
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from market_assets.calendars.instants import US_PER_DAY, US_PER_MINUTE, to_us
from market_assets.calendars.venue import SessionTable, VenueCalendar

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: every calendar covers the labels in [FIRST_DAY, LAST_DAY]; a fixed range, so that no calendar depends on the clock
FIRST_DAY = date(2015, 1, 1)
LAST_DAY = date(2040, 12, 31)

_NEW_YORK = ZoneInfo("America/New_York")
_LONDON = ZoneInfo("Europe/London")


def _at_local(labels: NDArray[np.datetime64], wall: time, timezone: ZoneInfo, day_offset: int = 0) -> NDArray[np.int64]:
    """Return the instant of the wall-clock time `wall` on each label (plus `day_offset` days), microseconds UTC."""
    days: list[date] = (labels + np.timedelta64(day_offset, "D")).tolist()
    return np.array([to_us(datetime.combine(day, wall, timezone)) for day in days], dtype=np.int64)


def _weekdays() -> NDArray[np.datetime64]:
    days = np.arange(np.datetime64(FIRST_DAY, "D"), np.datetime64(LAST_DAY, "D") + 1)
    return days[np.is_busday(days)]


@cache
def _nyse_sessions() -> SessionTable:
    """Return NYSE's sessions, half days and ad-hoc closures included."""
    # Imported late: it costs a quarter of a CPU second that a process without a calendar need not pay.
    import exchange_calendars  # noqa: PLC0415

    with warnings.catch_warnings():
        # The package's own use of pandas, and pandas names its own module as the origin: only the message tells it apart.
        warnings.filterwarnings("ignore", message="Series.values returning", category=DeprecationWarning)
        # An explicit end: by default the package stops about one year after today.
        calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
    schedule = calendar.schedule
    return SessionTable(
        label=schedule.index.to_numpy(dtype="datetime64[D]"),
        open_us=schedule["open"].to_numpy(dtype="datetime64[us]").astype(np.int64),
        close_us=schedule["close"].to_numpy(dtype="datetime64[us]").astype(np.int64),
    )


def _xnys() -> VenueCalendar:
    return VenueCalendar("XNYS", _NEW_YORK, _nyse_sessions(), first_day=FIRST_DAY, last_day=LAST_DAY)


def _fx() -> VenueCalendar:
    labels = np.array(
        [day for day in _weekdays().tolist() if (day.month, day.day) not in {(12, 25), (1, 1)}], dtype="datetime64[D]"
    )
    table = SessionTable(
        label=labels,
        open_us=_at_local(labels, time(17), _NEW_YORK, day_offset=-1),
        close_us=_at_local(labels, time(17), _NEW_YORK),
    )
    return VenueCalendar("FX", _NEW_YORK, table, first_day=FIRST_DAY, last_day=LAST_DAY, daily_bar_timezone=_LONDON)


def _cboe_index() -> VenueCalendar:
    nyse = _nyse_sessions()
    table = SessionTable(nyse.label, nyse.open_us, nyse.close_us + 15 * US_PER_MINUTE)
    return VenueCalendar("CBOE_INDEX", _NEW_YORK, table, first_day=FIRST_DAY, last_day=LAST_DAY)


def _ice_usdx() -> VenueCalendar:
    labels = _nyse_sessions().label
    table = SessionTable(
        label=labels,
        open_us=_at_local(labels, time(20), _NEW_YORK, day_offset=-1),
        close_us=_at_local(labels, time(17), _NEW_YORK),
    )
    return VenueCalendar("ICE_USDX", _NEW_YORK, table, first_day=FIRST_DAY, last_day=LAST_DAY)


def _utc_24_7() -> VenueCalendar:
    labels = np.arange(np.datetime64(FIRST_DAY, "D"), np.datetime64(LAST_DAY, "D") + 1)
    open_us = labels.astype("datetime64[us]").astype(np.int64)
    return VenueCalendar(
        "UTC_24_7",
        ZoneInfo("UTC"),
        SessionTable(labels, open_us, open_us + US_PER_DAY),
        first_day=FIRST_DAY,
        last_day=LAST_DAY,
    )


_BUILDERS: dict[str, Callable[[], VenueCalendar]] = {
    "XNYS": _xnys,
    "FX": _fx,
    "CBOE_INDEX": _cboe_index,
    "ICE_USDX": _ice_usdx,
    "UTC_24_7": _utc_24_7,
}


@cache
def venue_calendar(key: str) -> VenueCalendar:
    """Return the calendar of a venue, built once per process; raise KeyError naming the known ones."""
    try:
        build = _BUILDERS[key]
    except KeyError:
        raise KeyError(f"unknown venue {key!r}; known: {', '.join(_BUILDERS)}") from None
    return build()
