"""The clock that everything else is handed, so that no module reads the wall clock by itself.

Belongs here: clocks and the guard against naive datetimes. Does not belong here: calendars, grids, formatting.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from market_assets.errors import NaiveTimestampError


class Clock(Protocol):
    """Tells the current instant, timezone-aware, in UTC."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is moved: for tests and simulated days."""

    def __init__(self, start: datetime) -> None:
        """Start at `start` (timezone-aware)."""
        self._now = ensure_utc(start, "start")

    def now(self) -> datetime:
        """Return the instant the clock was last set to."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Move the clock to `instant` (timezone-aware)."""
        self._now = ensure_utc(instant, "instant")

    def advance(self, step: timedelta) -> None:
        """Move the clock by `step`."""
        self._now += step


class OffsetClock:
    """A clock that starts at a given instant and then runs at the pace of the machine's."""

    def __init__(self, start: datetime) -> None:
        """Start at `start` (timezone-aware)."""
        self._offset = ensure_utc(start, "start") - datetime.now(UTC)

    def now(self) -> datetime:
        """Return the shifted instant in UTC."""
        return datetime.now(UTC) + self._offset


def ensure_utc(value: datetime, name: str) -> datetime:
    """Return `value` in UTC; raise NaiveTimestampError if it has no time zone."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise NaiveTimestampError(
            f"{name}={value.isoformat()} has no time zone; pass an aware datetime such as 2026-01-02T14:30:00+00:00"
        )
    return value.astimezone(UTC)
