"""Which days still have to be collected.

Belongs here: comparing the run log with the days that have ended. Does not belong here: starting runs.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from market_assets.collection.days import ONE_DAY, DayRange, day_start

if TYPE_CHECKING:
    from market_assets.settings import Settings
    from market_assets.store import Store

#: 15m bars older than this cannot be had any more; a longer outage is a backfill that a person starts
MAX_CATCH_UP_DAYS = 58
#: statuses of collections that stored what they could: a ticker that failed is asked again by every tick
GOOD_STATUSES = frozenset({"ok", "partial"})


def uncollected_days(store: Store, now: datetime, settings: Settings) -> DayRange | None:
    """Return the days from the first one that was not collected after it had ended to yesterday; None if there is none.

    A day counts as collected once a complete, successful collection that covers it began after its end: the observation
    times of a day lie before its end, so bars that a feed lag delays beyond it change none of its rows (the next tick
    fetches them with the look-back). Days before the first collection are not missed: they are a backfill.
    """
    yesterday = now.astimezone(UTC).date() - ONE_DAY
    began = store.runs.collection_began()
    if began is None:
        return None
    since = now - timedelta(days=MAX_CATCH_UP_DAYS + 2)
    covered = [
        (
            run.started_at,
            DayRange(date.fromisoformat(run.summary["first_day"]), date.fromisoformat(run.summary["last_day"])),
        )
        for run in store.runs.collections_since(since)
        if run.status in GOOD_STATUSES and run.summary.get("complete")
    ]
    first = max(
        began.astimezone(UTC).date(), settings.collection_start_date, yesterday - timedelta(days=MAX_CATCH_UP_DAYS - 1)
    )
    day = first
    while day <= yesterday:
        if not any(day in days and started_at >= day_start(day + ONE_DAY) for started_at, days in covered):
            return DayRange(day, yesterday)
        day += ONE_DAY
    return None
