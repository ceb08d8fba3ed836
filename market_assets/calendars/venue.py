"""What a venue calendar can answer, independent of any one venue.

Belongs here: the session table and the questions asked of it (open minutes, expected bars). Does not belong here: when
a particular venue is open (`venues.py`), and feed lags (`universe.py`).

All instants are integer microseconds since the epoch, UTC; all windows are half-open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.calendars.instants import US_PER_MINUTE, from_us, local_midnight_us
from market_assets.errors import CalendarRangeError
from market_assets.sources.base import BAR_LENGTH, Interval

if TYPE_CHECKING:
    from datetime import date, timedelta
    from zoneinfo import ZoneInfo

    from numpy.typing import ArrayLike, NDArray


class SessionTable(NamedTuple):
    """Sessions of one venue as parallel arrays, ascending and disjoint."""

    #: venue-local session date, datetime64[D]
    label: NDArray[np.datetime64]
    #: first instant of the session, inclusive
    open_us: NDArray[np.int64]
    #: end of the session, exclusive
    close_us: NDArray[np.int64]

    def rows(self, first: int, last: int) -> SessionTable:
        """Return the rows [first, last)."""
        return SessionTable(self.label[first:last], self.open_us[first:last], self.close_us[first:last])


class VenueCalendar:
    """The sessions of one venue between `first_day` and `last_day`; get one with `venue_calendar(key)`."""

    def __init__(
        self,
        key: str,
        timezone: ZoneInfo,
        table: SessionTable,
        *,
        first_day: date,
        last_day: date,
        daily_bar_timezone: ZoneInfo | None = None,
    ) -> None:
        """Take the venue's complete `table` for the labels in [first_day, last_day].

        `daily_bar_timezone`: zone whose calendar day a 1d bar spans; None where a 1d bar spans the session.
        """
        self.key = key
        self.timezone = timezone
        self.first_day = first_day
        self.last_day = last_day
        self._table = table
        for column in table:
            column.setflags(write=False)
        opened = table.close_us - table.open_us
        #: open microseconds before each session; integers, so that sums of parts equal the whole to the bit
        self._opened_before = np.concatenate(([0], np.cumsum(opened)))
        self._lower_us = local_midnight_us(first_day, timezone)
        self._upper_us = int(table.close_us[-1])
        if daily_bar_timezone is None:
            self._daily_start, self._daily_end = table.open_us, table.close_us
        else:
            days: list[date] = table.label.tolist()
            one_day = np.timedelta64(1, "D")
            following: list[date] = (table.label + one_day).tolist()
            self._daily_start = np.array([local_midnight_us(day, daily_bar_timezone) for day in days], dtype=np.int64)
            self._daily_end = np.array(
                [local_midnight_us(day, daily_bar_timezone) for day in following], dtype=np.int64
            )

    def sessions(self, start: date, end: date) -> SessionTable:
        """Return the sessions whose label lies in [start, end], both ends included.

        Raises:
            CalendarRangeError: `start` or `end` lies outside of the calendar.
        """
        for name, day in (("start", start), ("end", end)):
            if not self.first_day <= day <= self.last_day:
                raise self._range_error(name, day.isoformat())
        first = int(np.searchsorted(self._table.label, np.datetime64(start, "D"), side="left"))
        last = int(np.searchsorted(self._table.label, np.datetime64(end, "D"), side="right"))
        return self._table.rows(first, max(first, last))

    def sessions_between_us(self, start_us: int, end_us: int) -> SessionTable:
        """Return the sessions that overlap [start_us, end_us).

        Raises:
            CalendarRangeError: an end of the window lies outside of the calendar.
        """
        self._check(np.array([start_us, end_us], dtype=np.int64))
        if end_us <= start_us:
            return self._table.rows(0, 0)
        first = int(np.searchsorted(self._table.close_us, start_us, side="right"))
        last = int(np.searchsorted(self._table.open_us, end_us, side="left"))
        return self._table.rows(first, max(first, last))

    def open_minutes(self, from_us: ArrayLike, to_us: ArrayLike) -> NDArray[np.float64]:
        """Return how many minutes the venue is open in (from_us, to_us], 0 where to_us <= from_us; arguments broadcast.

        Raises:
            CalendarRangeError: an instant lies outside of the calendar.
        """
        opened = self._opened_until(to_us) - self._opened_until(from_us)
        return np.asarray(np.maximum(opened, 0) / US_PER_MINUTE, dtype=np.float64)

    def is_open(self, at_us: ArrayLike) -> NDArray[np.bool_]:
        """Return whether each instant lies inside a session (its open included, its close not).

        Raises:
            CalendarRangeError: an instant lies outside of the calendar.
        """
        at = np.asarray(at_us, dtype=np.int64)
        self._check(at)
        row = np.searchsorted(self._table.open_us, at, side="right") - 1
        return np.asarray((row >= 0) & (at < self._table.close_us[row]), dtype=np.bool_)

    def expected_bars(
        self, interval: Interval | str, start_us: int, end_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return starts and ends of the bars whose start lies in [start_us, end_us), ascending.

        Intraday bars tile each session from its open; the last one ends at the close, however short it is. A 1d bar
        spans its session, except for FX, where it spans the London calendar day of the label.

        Raises:
            CalendarRangeError: an end of the window lies outside of the calendar.
            ValueError: `interval` is not an interval of bars.
        """
        interval = Interval(interval)
        self._check(np.array([start_us, end_us], dtype=np.int64))
        if interval is Interval.D1:
            starts, ends = self._daily_start, self._daily_end
            first, last = np.searchsorted(starts, [start_us, max(start_us, end_us)], side="left")
            return starts[first:last], ends[first:last]
        starts, ends = _tile(self.sessions_between_us(start_us, end_us), BAR_LENGTH[interval])
        inside = (starts >= start_us) & (starts < end_us)
        return starts[inside], ends[inside]

    def day_start_us(self, day: date) -> int:
        """Return 00:00 venue-local time of `day`, e.g. the instant from which a dividend with this ex-date counts."""
        return local_midnight_us(day, self.timezone)

    def _opened_until(self, at_us: ArrayLike) -> NDArray[np.int64]:
        """Return the open microseconds from the start of the calendar until each instant."""
        at = np.asarray(at_us, dtype=np.int64)
        self._check(at)
        row = np.maximum(np.searchsorted(self._table.open_us, at, side="right") - 1, 0)
        inside = np.clip(at, self._table.open_us[row], self._table.close_us[row]) - self._table.open_us[row]
        return np.asarray(self._opened_before[row] + inside, dtype=np.int64)

    def _check(self, at: NDArray[np.int64]) -> None:
        outside = (at < self._lower_us) | (at > self._upper_us)
        if np.any(outside):
            raise self._range_error("instant", from_us(int(at[outside].flat[0])).isoformat())

    def _range_error(self, name: str, value: str) -> CalendarRangeError:
        return CalendarRangeError(
            f"{name}={value} lies outside of the {self.key} calendar, which covers "
            f"{self.first_day} to {self.last_day}; ask for a window inside it, or move FIRST_DAY or LAST_DAY in "
            "calendars/venues.py"
        )


def _tile(sessions: SessionTable, length: timedelta) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts and ends of the bars of `length` that tile each session, the last one clipped at the close."""
    step = int(length.total_seconds()) * 1_000_000
    counts = -(-(sessions.close_us - sessions.open_us) // step)
    total = int(counts.sum())
    # position of each bar within its own session: 0, 1, 2, ..., 0, 1, ...
    position = np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(sessions.open_us, counts) + position * step
    return starts, np.minimum(starts + step, np.repeat(sessions.close_us, counts))
