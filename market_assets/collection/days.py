"""Ranges of UTC days: the unit that is collected, stored and rebuilt.

Belongs here: the day range and its conversions. Does not belong here: calendars of venues.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from market_assets.clock import ensure_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_DAY = timedelta(days=1)


def day_start(day: date) -> datetime:
    """Return 00:00 UTC of `day`."""
    return datetime.combine(day, time(0), UTC)


@dataclass(frozen=True, slots=True)
class DayRange:
    """The UTC days `first` to `last`, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        """Refuse a reversed range."""
        if self.first > self.last:
            msg = f"the range of days starts on {self.first} after its end {self.last}; swap them"
            raise ValueError(msg)

    def __iter__(self) -> Iterator[date]:
        """Iterate over the days in order."""
        day = self.first
        while day <= self.last:
            yield day
            day += ONE_DAY

    def __len__(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    def __contains__(self, day: object) -> bool:
        """Whether `day` lies in the range."""
        return isinstance(day, date) and self.first <= day <= self.last

    @property
    def start(self) -> datetime:
        """00:00 UTC of the first day."""
        return day_start(self.first)

    @property
    def end(self) -> datetime:
        """00:00 UTC after the last day."""
        return day_start(self.last + ONE_DAY)

    @property
    def before(self) -> DayRange:
        """The day before the range."""
        return DayRange(self.first - ONE_DAY, self.first - ONE_DAY)

    def split(self, days: int) -> list[DayRange]:
        """Return the range as ranges of at most `days` days each, in order."""
        length = timedelta(days=days)
        firsts = [self.first + number * length for number in range(-(-len(self) // days))]
        return [DayRange(first, min(first + length - ONE_DAY, self.last)) for first in firsts]

    def widened(self, days_before: int) -> DayRange:
        """Return the range with `days_before` more days in front."""
        return DayRange(self.first - timedelta(days=days_before), self.last)

    @classmethod
    def of(cls, instant: datetime) -> DayRange:
        """Return the UTC day that `instant` lies in."""
        day = ensure_utc(instant, "instant").date()
        return cls(day, day)


def whole_days(start: datetime, end: datetime, fetched_at: datetime) -> list[date]:
    """Return the UTC days wholly inside [start, end), where the day of `fetched_at` counts up to `fetched_at`.

    Only these may be replaced in the store: a source's limit rolls by the second, so the first day may be partial.
    """
    start, end, fetched_at = ensure_utc(start, "start"), ensure_utc(end, "end"), ensure_utc(fetched_at, "fetched_at")
    first = start.date() if start == day_start(start.date()) else start.date() + ONE_DAY
    days = []
    day = first
    while min(day_start(day + ONE_DAY), max(fetched_at, day_start(day))) <= end and day_start(day) < end:
        days.append(day)
        day += ONE_DAY
    return days
