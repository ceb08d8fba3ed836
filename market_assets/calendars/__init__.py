"""Sessions of the venues, expected bars and the grid of observation times.

Belongs here: when things happen. Does not belong here: prices, and anything that reads the clock or imports Dagster.
"""

from market_assets.calendars.instants import (
    ALLOWED_INTERVALS,
    US_PER_DAY,
    US_PER_MINUTE,
    from_us,
    local_midnight_us,
    observation_grid,
    to_us,
)
from market_assets.calendars.venue import SessionTable, VenueCalendar
from market_assets.calendars.venues import FIRST_DAY, LAST_DAY, venue_calendar

__all__ = [
    "ALLOWED_INTERVALS",
    "FIRST_DAY",
    "LAST_DAY",
    "US_PER_DAY",
    "US_PER_MINUTE",
    "SessionTable",
    "VenueCalendar",
    "from_us",
    "local_midnight_us",
    "observation_grid",
    "to_us",
    "venue_calendar",
]
