"""What a venue calendar can answer, independent of any one venue.

Belongs here: the session table and the questions asked of it (open minutes, expected bars). Does not belong here: when
a particular venue is open (`venues.py`), and feed lags (`universe.py`).

All instants are integer microseconds since the epoch, UTC; windows are half-open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.calendars.instants import US_PER_MINUTE, from_us, local_midnight_us
from market_assets.errors import CalendarRangeError
from market_assets.sources.base import BAR_LENGTH, Interval

if TYPE_CHECKING:
    from collections.abc import Mapping
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


class Hours(NamedTuple):
    """Spans of time [start, end) as parallel arrays, ascending and disjoint."""

    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]


class VenueCalendar:
    """The sessions of one venue between `first_day` and `last_day`; get one with `venue_calendar(key)`. Immutable."""

    def __init__(
        self,
        key: str,
        timezone: ZoneInfo,
        table: SessionTable,
        *,
        first_day: date,
        last_day: date,
        bar_hours: Mapping[Interval, Hours] | None = None,
    ) -> None:
        """Take the venue's complete `table` for the labels in [first_day, last_day].

        `bar_hours` says for an interval in which hours the source has bars, where these are not the sessions: for 1d
        one span per bar, for the others spans that lie inside of sessions.
        """
        self.key = key
        self.timezone = timezone
        self.first_day = first_day
        self.last_day = last_day
        self._table = table
        hours = bar_hours or {}
        self._bar_hours = {it: hours.get(it, Hours(table.open_us, table.close_us)) for it in Interval}
        # Slices of these arrays are handed out; a caller who wrote into one would change the calendar of everyone.
        for column in (*table, *(column for spans in self._bar_hours.values() for column in spans)):
            column.setflags(write=False)
        #: open microseconds before each session; integers, so that sums of parts equal the whole to the bit
        self._opened_before = np.concatenate(([0], np.cumsum(table.close_us - table.open_us)))
        self._lower_us = local_midnight_us(first_day, timezone)
        self._upper_us = int(table.close_us[-1])

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
        """Return the sessions that overlap [start_us, end_us); none if the window is empty or reversed.

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
        """Return whether each instant lies inside of a session (its open included, its close not).

        Raises:
            CalendarRangeError: an instant lies outside of the calendar.
        """
        at = np.asarray(at_us, dtype=np.int64)
        self._check(at)
        # Before the first session the row is -1, whose close is the last one of all: hence the first comparison.
        row = np.searchsorted(self._table.open_us, at, side="right") - 1
        return np.asarray((row >= 0) & (at < self._table.close_us[row]), dtype=np.bool_)

    def last_closed_session(self, at_us: int) -> date | None:
        """Return the label of the last session that has closed at or before an instant; None before the first one.

        Raises:
            CalendarRangeError: the instant lies outside of the calendar.
        """
        self._check(np.array([at_us], dtype=np.int64))
        row = int(np.searchsorted(self._table.close_us, at_us, side="right")) - 1
        label: date | None = None if row < 0 else self._table.label[row].item()
        return label

    def expected_bars(
        self, interval: Interval | str, start_us: int, end_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return starts and ends of the bars whose start lies in [start_us, end_us), ascending; disjoint except FX 1d.

        These are the bars that a complete answer of the source has; it may have more (see `venues.py`). Intraday bars
        tile the hours from their beginning, and the last one ends with them, however short it is. A 1d bar spans its
        session, except for FX, where it spans the London calendar day of the label.

        Raises:
            CalendarRangeError: an end of the window lies outside of the calendar.
            ValueError: `interval` is not an interval of bars.
        """
        interval = Interval(interval)
        self._check(np.array([start_us, end_us], dtype=np.int64))
        hours = self._bar_hours[interval]
        if interval in BAR_LENGTH:
            # Only the spans that overlap the window: tiling all of them would cost milliseconds per call.
            first = np.searchsorted(hours.end_us, start_us, side="right")
            last = np.searchsorted(hours.start_us, end_us, side="left")
            hours = _tile(Hours(hours.start_us[first:last], hours.end_us[first:last]), BAR_LENGTH[interval])
        first, last = np.searchsorted(hours.start_us, [start_us, max(start_us, end_us)], side="left")
        return hours.start_us[first:last], hours.end_us[first:last]

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
            f"{name}={value} lies outside of the {self.key} calendar; "
            f"ask for a window inside of {self.first_day} to {self.last_day}"
        )


def _tile(hours: Hours, length: timedelta) -> Hours:
    """Return the bars of `length` that tile each span, the last one clipped at the span's end."""
    step = int(length.total_seconds()) * 1_000_000
    counts = -(-(hours.end_us - hours.start_us) // step)
    # position of each bar within its own span: 0, 1, 2, ..., 0, 1, ...
    position = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(hours.start_us, counts) + position * step
    return Hours(starts, np.minimum(starts + step, np.repeat(hours.end_us, counts)))
