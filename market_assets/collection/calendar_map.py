"""A ticker's coverage as a small calendar: a row per week, a mark per day.

Belongs here: marks and their layout as text. Does not belong here: judging days, colours, Dagster.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from market_assets.collection.coverage import REVISED, worst
from market_assets.store import DayState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from market_assets.store import LedgerEntry

MARKS = MappingProxyType(
    {
        DayState.OK: "■",
        DayState.CLOSED: "·",
        DayState.HOLE_AT_SOURCE: "□",
        DayState.FETCH_FAILED: "x",
        DayState.REVISED: "r",
        DayState.LATE: "l",
    }
)
LEGEND = "■ complete  · closed  □ holes at the source  x not fetched  l late  r prices revised  blank: not asked"
#: weeks that are shown
WEEKS = 5
_NEVER = " "
_DAYS_OF_WEEK = "M T W T F S S"


def shown_state(entry: LedgerEntry) -> DayState:
    """Return the state that a mark shows: Yahoo revises the volumes of most days, which no feature stands on."""
    volumes_only = entry.state is DayState.REVISED and entry.slots is not None and REVISED not in entry.slots
    return DayState.OK if volumes_only else entry.state


def states_by_day(entries: Iterable[LedgerEntry]) -> dict[date, DayState]:
    """Return for each day the worst shown state of its intervals."""
    by_day: defaultdict[date, list[DayState]] = defaultdict(list)
    for entry in entries:
        by_day[entry.day].append(shown_state(entry))
    return {day: worst(states) for day, states in sorted(by_day.items())}


def calendar_map(states: Mapping[date, DayState], last: date, weeks: int = WEEKS) -> str:
    """Return `weeks` lines that end with the week of `last`, Monday first, under a line with the days of the week."""
    monday = last - timedelta(days=last.weekday())
    lines = [f"{'week of':<10}  {_DAYS_OF_WEEK}"]
    for ago in reversed(range(weeks)):
        begin = monday - timedelta(weeks=ago)
        week = [begin + timedelta(days=day) for day in range(7)]
        marks = " ".join(MARKS[states[day]] if day in states else _NEVER for day in week)
        lines.append(f"{begin.isoformat()}  {marks}".rstrip())
    return "\n".join(lines)
