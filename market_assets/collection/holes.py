"""Which holes are to be asked for again: after an hour, a day and a week.

Belongs here: when a hole is due. Does not belong here: telling holes (`coverage.py`), starting runs.

An ordinary tick asks for all of its own day, so the holes of a day that is running are asked for anyway. The waits
count from the end of the day, or from when the hole was first seen, whichever is later: all holes of a day are due
together.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.collection.coverage import GAPS, HOLE
from market_assets.collection.days import ONE_DAY, DayRange, day_start

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.settings import Settings
    from market_assets.store import LedgerEntry, Store

#: how long after a hole was seen it is asked for again
WAITS = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
#: the kind of runs that ask for holes
REFILL = "refill"


def is_due(entry: LedgerEntry, now: datetime, settings: Settings) -> bool:
    """Return whether the hole of a day that has ended is to be asked for now.

    A hole that was first seen when the day had been over for longer than the nightly settle run reaches back belongs to
    a backfill: it is asked for when a person collects the day again.
    """
    ended = day_start(entry.day + ONE_DAY)
    if entry.hole_since is None or HOLE not in (entry.slots or "") or now < ended:
        return False
    seen = max(entry.hole_since, ended)
    if seen - ended > timedelta(days=settings.settle_days):
        return False
    asked = entry.asked_at
    return any(seen + wait <= now and (asked is None or asked < seen + wait) for wait in WAITS)


def holes_due(store: Store, now: datetime, settings: Settings) -> dict[DayRange, list[str]]:
    """Return the names of the tickers to ask for, by contiguous range of days, oldest first."""
    oldest = now.date() - timedelta(days=settings.settle_days) - max(WAITS) - ONE_DAY
    found = store.runs.states(oldest, now.date(), states=GAPS)
    due = [entry for entry in found if is_due(entry, now, settings)]
    ranges: dict[DayRange, list[str]] = {}
    for day in sorted({entry.day for entry in due}):
        last = next(reversed(ranges), None)
        if last is not None and last.last + ONE_DAY == day:
            names, days = ranges.pop(last), DayRange(last.first, day)
        else:
            names, days = [], DayRange(day, day)
        ranges[days] = sorted({*names, *(entry.ticker for entry in due if entry.day == day)})
    return ranges
