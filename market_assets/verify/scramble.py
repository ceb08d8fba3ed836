"""Nonsense for everything that a row must not see: the poison of the look-ahead gate.

Belongs here: which versions of the log a row at T, served from the knowledge of `as_of`, may not depend on, and what is
done to them. Does not belong here: computing rows and comparing them (`poison.py`).

A bar may be used at T once `bar_end` plus the feed lag has passed, a corporate action from 00:00 venue time of its
ex-date on, and a version if it was known at `as_of`. Whatever breaks one of these is scrambled, deleted and joined by
rows made up where they tempt most: the running bars, the day's own daily bar, the next ex-dates. What may be used stays
as it is, but for when it arrived and in which order it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE, from_us, venue_calendar
from market_assets.maths.arrays import NEVER_US
from market_assets.maths.bars import INTERVALS
from market_assets.store.tables import KNOWN_FROM, KNOWN_TO
from market_assets.verify.history import LogHistory, TickerHistory, Versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray
    from market_assets.universe import Ticker

#: decades that nonsense spans; beyond, quotients would overflow, which no price does
_SMALLEST, _LARGEST = -3.0, 5.0
#: part of the nonsense that is no price at all
_IMPOSSIBLE = 0.1
#: how far around T made-up bars of each interval start, in days (before, after)
_REACH = {"15m": (1, 1), "1h": (1, 2), "1d": (5, 8)}
#: part of the bars that the calendar expects there and the log has not
_MADE_UP = 0.7
#: made-up bars of the wrong length, starting anywhere
_MISSHAPEN = 4
_MISSHAPEN_REACH_DAYS = 40


@cache
def keeps_to_its_date(venue: str) -> bool:
    """Return whether the sessions of a venue begin on the date they are named after.

    Where they begin the evening before, a dividend or split of that date has no defined part of the session; the
    tickers there (currencies, the dollar index) have none, and none are made up.
    """
    calendar = venue_calendar(venue)
    table = calendar.sessions(calendar.first_day, calendar.first_day + timedelta(days=14))
    return all(
        open_us >= calendar.day_start_us(label)
        for label, open_us in zip(table.label.tolist(), table.open_us.tolist(), strict=True)
    )


@dataclass(frozen=True, slots=True)
class Scrambler:
    """Makes nonsense of what a row at `at_us`, served from the knowledge of `as_of_us`, must not see."""

    at_us: int
    as_of_us: int
    rng: np.random.Generator

    def history(self, history: LogHistory) -> LogHistory:
        """Return `history` with the same rows where they may be used, and nonsense everywhere else."""
        return LogHistory({name: self.ticker(one) for name, one in history.tickers.items()})

    def ticker(self, history: TickerHistory) -> TickerHistory:
        """Return one ticker's history, scrambled."""
        bars, actions = self._bars(history.ticker, history.bars), self._actions(history.ticker, history.actions)
        return replace(history, bars=self._shuffled(bars), actions=self._shuffled(actions))

    # --- bars ---------------------------------------------------------------------------------------------------------

    def _bars(self, ticker: Ticker, bars: Versions) -> Versions:
        lag_us = ticker.feed_lag // timedelta(microseconds=1)
        too_late = bars["bar_end"] + lag_us > self.at_us
        usable = ~too_late & (bars[KNOWN_FROM] <= self.as_of_us)
        kept = self._rearrived(bars.take(usable))
        loose = self._scrambled(bars.take(~usable & self._kept(len(bars))))
        loose = loose.with_columns(bar_end=self._later_ends(loose, lag_us))
        parts = [kept, loose, self._unknown(kept)]
        if self.rng.random() < _MADE_UP:
            taken = Versions.concatenated([kept, loose])
            parts += [self._expected(ticker, taken, lag_us), self._misshapen(taken, lag_us)]
        return Versions.concatenated(parts)

    def _later_ends(self, bars: Versions, lag_us: int) -> IntArray:
        """Return ends that are still too late, by a microsecond at least, for some of the bars that are so already."""
        ends: IntArray = bars["bar_end"]
        first_too_late = self.at_us - lag_us + 1
        moved = first_too_late + np.where(self._some(len(ends), 0.5), 0, self._spans(len(ends), 2))
        return np.where((ends >= first_too_late) & self._some(len(ends), 0.2), moved, ends)

    def _expected(self, ticker: Ticker, taken: Versions, lag_us: int) -> Versions:
        """Return bars that the calendar expects and `taken` has not, among them every one that is running."""
        calendar = venue_calendar(ticker.venue)
        parts = []
        for interval, (before, after) in _REACH.items():
            window = (self.at_us - before * US_PER_DAY, self.at_us + after * US_PER_DAY)
            starts, ends = calendar.expected_bars(interval, *window)
            wanted = (ends + lag_us > self.at_us) & ~np.isin(starts, taken["bar_start"][taken["interval"] == interval])
            wanted &= (starts <= self.at_us) | self._some(len(starts), _MADE_UP)
            parts.append(self._made_up(taken, starts[wanted], ends[wanted], np.array([interval], dtype=object)))
        return Versions.concatenated(parts)

    def _misshapen(self, taken: Versions, lag_us: int) -> Versions:
        """Return bars that start anywhere and end too late to be used; no source would send them."""
        names = self.rng.choice(np.array(INTERVALS, dtype=object), _MISSHAPEN)
        offsets = self._spans(_MISSHAPEN, _MISSHAPEN_REACH_DAYS + 5) - _MISSHAPEN_REACH_DAYS * US_PER_DAY
        # Seven minutes past any bar's start, plus a microsecond each: never the key of another bar.
        starts = (self.at_us + offsets) // (15 * US_PER_MINUTE) * (15 * US_PER_MINUTE) + 7 * US_PER_MINUTE
        starts += np.arange(_MISSHAPEN)
        ends = np.maximum(starts, self.at_us - lag_us) + 1 + self._spans(_MISSHAPEN, 2)
        return self._made_up(taken, starts, ends, names)

    def _made_up(self, like: Versions, starts: IntArray, ends: IntArray, interval: NDArray[np.object_]) -> Versions:
        count = len(starts)
        columns: dict[str, NDArray[Any]] = dict.fromkeys(like.columns, np.empty(count))
        columns |= {
            "interval": np.resize(interval, count) if count else np.empty(0, dtype=object),
            "bar_start": starts,
            "bar_end": ends,
            KNOWN_FROM: self.as_of_us - self._spans(count, 10),
            KNOWN_TO: np.full(count, NEVER_US, dtype=np.int64),
        }
        return self._scrambled(Versions(columns))

    # --- corporate actions --------------------------------------------------------------------------------------------

    def _actions(self, ticker: Ticker, actions: Versions) -> Versions:
        calendar = venue_calendar(ticker.venue)
        begins = np.array([calendar.day_start_us(day) for day in actions["ex_date"].tolist()], dtype=np.int64)
        usable = (begins <= self.at_us) & (actions[KNOWN_FROM] <= self.as_of_us)
        kept = self._rearrived(actions.take(usable))
        loose = self._scrambled(actions.take(~usable & self._kept(len(actions))))
        parts = [kept, loose, self._unknown(kept)]
        if keeps_to_its_date(ticker.venue) and self.rng.random() < _MADE_UP:
            today = from_us(self.at_us).astimezone(calendar.timezone).date()
            days = np.arange(1, 8, dtype=np.int64) + np.datetime64(today, "D")
            for kind in ("dividend", "split"):
                free = ~np.isin(days, loose["ex_date"][loose["kind"] == kind])
                # The next day tempts most; it is always there.
                chosen = days[free & ((days == days[0]) | self._some(len(days), 0.3))]
                parts.append(self._made_up_actions(loose, kind, chosen))
        return Versions.concatenated(parts)

    def _made_up_actions(self, like: Versions, kind: str, days: NDArray[np.datetime64]) -> Versions:
        count = len(days)
        columns: dict[str, NDArray[Any]] = dict.fromkeys(like.columns, np.empty(count))
        columns |= {
            "kind": np.full(count, kind, dtype=object),
            "ex_date": days,
            KNOWN_FROM: self.as_of_us - self._spans(count, 10),
            KNOWN_TO: np.full(count, NEVER_US, dtype=np.int64),
        }
        return self._scrambled(Versions(columns))

    # --- both ---------------------------------------------------------------------------------------------------------

    def _kept(self, count: int) -> BoolArray:
        """Return which of the rows that must not be seen are there at all: none (a truncated future), half, or all."""
        return self._some(count, float(self.rng.choice([0.0, 0.5, 1.0])))

    def _scrambled(self, versions: Versions) -> Versions:
        """Return the versions with other values; a version still to come may come at any later time."""
        values: dict[str, NDArray[Any]] = {
            name: self._nonsense(len(versions))
            for name, column in versions.columns.items()
            if column.dtype == np.float64
        }
        to_come = versions[KNOWN_FROM] > self.as_of_us
        begun = np.where(to_come, self.as_of_us + 1 + self._spans(len(versions), 5), versions[KNOWN_FROM])
        ended = np.where(to_come & (versions[KNOWN_TO] <= begun), NEVER_US, versions[KNOWN_TO])
        return versions.with_columns(**values, known_from=begun, known_to=ended)

    def _rearrived(self, versions: Versions) -> Versions:
        """Return versions in force with another past and another ending: both are unknown to the row."""
        in_force = versions[KNOWN_TO] > self.as_of_us
        begun = self.as_of_us - self._spans(len(versions), 10)
        ended = np.where(self._some(len(versions), 0.2), self.as_of_us + 1 + self._spans(len(versions), 5), NEVER_US)
        return versions.with_columns(
            known_from=np.where(in_force, begun, versions[KNOWN_FROM]),
            known_to=np.where(in_force, ended, versions[KNOWN_TO]),
        )

    def _unknown(self, kept: Versions) -> Versions:
        """Return further versions of rows that may be used, known too late."""
        chosen = kept.take(self._some(len(kept), 0.1))
        begun = self.as_of_us + 1 + self._spans(len(chosen), 5)
        return self._scrambled(chosen.with_columns(known_from=begun, known_to=np.full(len(chosen), NEVER_US)))

    def _shuffled(self, versions: Versions) -> Versions:
        return versions.take(self.rng.permutation(len(versions)))

    def _nonsense(self, count: int) -> FloatArray:
        values = 10.0 ** self.rng.uniform(_SMALLEST, _LARGEST, count)
        return np.where(self._some(count, _IMPOSSIBLE), self.rng.choice([np.nan, 0.0, -1.0], count), values)

    def _some(self, count: int, part: float) -> BoolArray:
        """Return a mask that holds for about this part of `count` rows."""
        return np.asarray(self.rng.random(count) < part, dtype=np.bool_)

    def _spans(self, count: int, days: int) -> IntArray:
        """Return spans of up to so many days, microseconds."""
        return self.rng.integers(0, days * US_PER_DAY, count)
