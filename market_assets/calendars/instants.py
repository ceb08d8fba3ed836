"""Instants as integers, and the grid of observation times.

Belongs here: the conversion between timezone-aware datetimes and integer microseconds, and the UTC grid on which
features are observed. Does not belong here: anything that knows a venue, and reading the clock.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.clock import ensure_utc

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

#: minutes between two observation times that may be configured. Each divides a UTC day, so every day has the same grid.
ALLOWED_INTERVALS = (15, 30, 60, 120, 180, 240, 360, 720, 1440)

US_PER_MINUTE = 60_000_000
US_PER_DAY = 1440 * US_PER_MINUTE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Return `instant` as microseconds since the epoch, UTC; raise NaiveTimestampError if it has no time zone.

    Exact: `datetime.timestamp()` goes through a float and loses the last microsecond.
    """
    return (ensure_utc(instant, "instant") - _EPOCH) // _MICROSECOND


def from_us(instant_us: int) -> datetime:
    """Return the timezone-aware UTC datetime of `instant_us` microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=int(instant_us))


def local_midnight_us(day: date, timezone: ZoneInfo) -> int:
    """Return 00:00 of `day` in `timezone` as microseconds since the epoch, UTC."""
    return to_us(datetime(day.year, day.month, day.day, tzinfo=timezone))


def observation_grid(start_us: int, end_us: int, interval_minutes: int) -> NDArray[np.int64]:
    """Return the observation times `T` with `start_us <= T < end_us`, ascending, in microseconds UTC.

    The grid is counted from 00:00 UTC. An empty or reversed window has no observation times.

    Raises:
        ValueError: `interval_minutes` is not one of ALLOWED_INTERVALS.
    """
    if interval_minutes not in ALLOWED_INTERVALS:
        allowed = ", ".join(map(str, ALLOWED_INTERVALS))
        raise ValueError(
            f"interval_minutes={interval_minutes} does not divide a day into a usable grid; use one of {allowed}"
        )
    step = interval_minutes * US_PER_MINUTE
    # The epoch is a UTC midnight and every step divides a day: multiples of the step are the grid of every day.
    first = -(-start_us // step) * step
    return np.arange(first, max(first, end_us), step, dtype=np.int64)
