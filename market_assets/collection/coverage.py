"""Coverage: the state of every bar that the venue calendar expects, judged from what is stored.

Belongs here: the pure judgement of bars and days, and its letters. Does not belong here: reading what is stored
(`ledger.py`), recording it (`store/`), when a hole is asked for again (`holes.py`).

A day of one ticker and interval is a text with one letter per expected bar, in order of time:

    o  ok         l  late                      r  revised          v  revised in its volume only
    h  hole: the source answered without it    f  fetch failed     .  not due yet

`closed` needs no letter: no bar is expected. Bars that the calendar does not expect count for nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import US_PER_DAY, to_us, venue_calendar
from market_assets.collection.days import day_start
from market_assets.sources.base import Interval
from market_assets.store import DayState, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from numpy.typing import NDArray

    from market_assets.collection.days import DayRange
    from market_assets.settings import Settings
    from market_assets.sources.base import FetchRequest
    from market_assets.universe import Ticker

OK, LATE, REVISED, REVISED_VOLUME, HOLE, FAILED, PENDING = "olrvhf."
#: state of each letter but PENDING
STATE_OF = MappingProxyType(
    {
        OK: DayState.OK,
        LATE: DayState.LATE,
        REVISED: DayState.REVISED,
        REVISED_VOLUME: DayState.REVISED,
        HOLE: DayState.HOLE_AT_SOURCE,
        FAILED: DayState.FETCH_FAILED,
    }
)
#: worst first; a day is what the worst of its bars is, and closed only if none is expected
PRECEDENCE = (*(state for state in DayState if state is not DayState.CLOSED), DayState.CLOSED)
#: states of bars that are due and not there
GAPS = (DayState.FETCH_FAILED, DayState.HOLE_AT_SOURCE)
#: how long after it was due a bar's absence means something: daily rows get their final stamp hours after the close
GRACE = MappingProxyType(
    {Interval.M15: timedelta(minutes=15), Interval.H1: timedelta(minutes=15), Interval.D1: timedelta(hours=6)}
)


def late_after(settings: Settings) -> timedelta:
    """Return how long after it was due a bar must have been stored to count as late: two ticks could have had it."""
    return 2 * settings.interval + timedelta(minutes=settings.settle_minutes)


def worst(states: Iterable[DayState]) -> DayState:
    """Return the state that stands first in PRECEDENCE; `closed` if there is none."""
    return min(states, key=PRECEDENCE.index, default=DayState.CLOSED)


@dataclass(frozen=True, slots=True, eq=False)
class StoredBars:
    """What is stored of one ticker and interval, one element per bar that ever was, ascending by start."""

    start_us: NDArray[np.int64]
    first_known_us: NDArray[np.int64]
    #: in the current table: not withdrawn
    held: NDArray[np.bool_]
    #: has more than one version
    revised: NDArray[np.bool_]
    #: a version differs from the first in a price or in its basis
    price_revised: NDArray[np.bool_]

    @classmethod
    def none(cls) -> StoredBars:
        """Return no bars."""
        empty, never = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        return cls(empty, empty, never, never, never)


@dataclass(frozen=True, slots=True)
class Rules:
    """What late means: more than `late_after` after a bar was due, if collections had begun by then."""

    late_after: timedelta
    began: datetime | None


def judge_days(
    ticker: Ticker,
    interval: Interval,
    days: Sequence[date],
    stored: StoredBars,
    *,
    asked_at: Mapping[date, datetime],
    failure: str,
    now: datetime,
    rules: Rules,
) -> list[LedgerEntry]:
    """Return one entry per day of `days` (ascending), without `hole_since`.

    Args:
        ticker: whose bars.
        interval: of which length.
        days: UTC days, by the start of their bars.
        stored: at least the bars of those days.
        asked_at: by day the start of the last request that was answered; days that never were are missing.
        failure: why the last request was not answered; empty if it was.
        now: what is due later is pending.
        rules: what late means.
    """
    if not days:
        return []
    calendar = venue_calendar(ticker.venue)
    starts, ends = calendar.expected_bars(interval, to_us(day_start(days[0])), to_us(day_start(days[-1])) + US_PER_DAY)
    due = ends + _us(ticker.feed_lag)
    of_day = starts // US_PER_DAY
    asked_us = np.array([_asked_us(asked_at, day) for day in days], dtype=np.int64)
    numbers = np.array([to_us(day_start(day)) // US_PER_DAY for day in days], dtype=np.int64)
    row = np.minimum(np.searchsorted(numbers, of_day), len(days) - 1)
    asked_us = np.where(numbers[row] == of_day, asked_us[row], 0)
    held = _letters_of_held(starts, due, stored, rules, _us(GRACE[interval]))
    pending = due + _us(GRACE[interval]) > to_us(now)
    absent = np.select([pending, asked_us >= due], [np.array(PENDING), np.array(HOLE)], np.array(FAILED))
    letters: list[str] = np.where(held == "", absent, held).tolist()
    first = np.searchsorted(of_day, numbers, side="left")
    last = np.searchsorted(of_day, numbers, side="right")
    return [
        _entry(ticker.name, interval, day, "".join(letters[begin:end]), asked_at=asked_at.get(day), failure=failure)
        for day, begin, end in zip(days, first.tolist(), last.tolist(), strict=True)
    ]


def with_holes_since(
    entries: Iterable[LedgerEntry], before: Mapping[tuple[str, str, date], LedgerEntry], now: datetime
) -> list[LedgerEntry]:
    """Return `entries` with the instant at which the hole of a day was first seen, taken from `before` if it was."""
    dated = []
    for entry in entries:
        if HOLE not in (entry.slots or ""):
            dated.append(entry)
            continue
        known = before.get((entry.ticker, entry.interval, entry.day))
        dated.append(replace(entry, hole_since=(known.hole_since if known else None) or now))
    return dated


def bars_are_due(ticker: Ticker, windows: Sequence[FetchRequest], days: DayRange, now: datetime) -> bool:
    """Return whether a bar of `days` should long have been there, in any of the requested windows."""
    calendar = venue_calendar(ticker.venue)
    for request in windows:
        start, end = max(days.start, request.start), min(days.end, request.end)
        if start < end:
            _, ends = calendar.expected_bars(request.interval, to_us(start), to_us(end))
            if (ends + _us(ticker.feed_lag) <= to_us(now - GRACE[Interval.M15])).any():
                return True
    return False


def _letters_of_held(
    starts: NDArray[np.int64], due: NDArray[np.int64], stored: StoredBars, rules: Rules, grace_us: int
) -> NDArray[np.str_]:
    """Return the letter of each expected bar that is held, empty for those that are not."""
    if not len(stored.start_us):
        return np.full(len(starts), "")
    row = np.minimum(np.searchsorted(stored.start_us, starts), len(stored.start_us) - 1)
    held = (stored.start_us[row] == starts) & stored.held[row]
    late = stored.first_known_us[row] - due > max(_us(rules.late_after), grace_us)
    # What a first collection or a backfill brings was not late: nobody had asked.
    late &= due >= (np.iinfo(np.int64).max if rules.began is None else to_us(rules.began))
    cases = {
        "": ~held,
        REVISED: stored.price_revised[row],
        REVISED_VOLUME: stored.revised[row],
        LATE: late,
    }
    return np.select(list(cases.values()), [np.array(letter) for letter in cases], np.array(OK))


def _entry(
    name: str, interval: Interval, day: date, slots: str, *, asked_at: datetime | None, failure: str
) -> LedgerEntry:
    counts = Counter(slots)
    due = len(slots) - counts[PENDING]
    if not due:
        detail = f"none of {len(slots)} bars is due yet" if slots else ""
        return LedgerEntry(name, interval.value, day, DayState.CLOSED, detail, slots, asked_at)
    state = worst(STATE_OF[letter] for letter in counts if letter != PENDING)
    revised = counts[REVISED] + counts[REVISED_VOLUME]
    told = [
        f"{counts[FAILED]} of {due} bars not fetched: {failure or 'not asked for since they were due'}"
        if counts[FAILED]
        else "",
        f"{counts[HOLE]} of {due} bars missing at the source" if counts[HOLE] else "",
        f"{revised} revised{'' if counts[REVISED] else ' in their volume'}" if revised else "",
        f"{counts[LATE]} late" if counts[LATE] else "",
    ]
    return LedgerEntry(name, interval.value, day, state, ", ".join(filter(None, told)), slots, asked_at)


def _asked_us(asked_at: Mapping[date, datetime], day: date) -> int:
    asked = asked_at.get(day)
    return 0 if asked is None else to_us(asked)


def _us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
