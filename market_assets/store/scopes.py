"""Scopes: the unit that a write is authoritative for and that writers order themselves by.

Belongs here: the scope and arithmetic on sets of scopes. Does not belong here: tables, SQL, locking.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.store.frames import look_up, row_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

#: days further apart than this are read by separate queries
_JOIN_GAP = timedelta(days=31)


@dataclass(frozen=True, order=True, slots=True)
class Scope:
    """All rows of one series and interval whose time lies in one UTC day (for date columns: on that date)."""

    series: str
    interval: str
    day: date

    def __str__(self) -> str:
        """Return e.g. `QQQ 1d 2026-01-02`."""
        return " ".join(part for part in (self.series, self.interval, self.day.isoformat()) if part)


@dataclass(frozen=True, slots=True)
class DayRun:
    """Days first..last (both included) of one series and interval that are read by one query."""

    series: str
    interval: str
    first: date
    last: date


class ScopeSet:
    """Distinct scopes in sorted order; a position in it is how arrays refer to a scope."""

    def __init__(self, scopes: Iterable[Scope]) -> None:
        """Sort `scopes` and drop duplicates. Sorted order is the order in which writers lock them."""
        self.scopes: list[Scope] = sorted(set(scopes), key=lambda scope: (scope.series, scope.interval, scope.day))
        self.series: NDArray[np.object_] = np.array([scope.series for scope in self.scopes], dtype=object)
        self.intervals: NDArray[np.object_] = np.array([scope.interval for scope in self.scopes], dtype=object)
        self.days: NDArray[np.datetime64] = np.array([scope.day for scope in self.scopes], dtype="datetime64[D]")
        keys = row_keys(self.series, self.intervals, self.days)
        self._positions = {key: position for position, key in enumerate(keys)}

    def __len__(self) -> int:
        """Return the number of scopes."""
        return len(self.scopes)

    def __iter__(self) -> Iterator[Scope]:
        """Iterate in sorted order."""
        return iter(self.scopes)

    def positions(
        self, series: NDArray[np.object_], intervals: NDArray[np.object_], days: NDArray[np.datetime64]
    ) -> NDArray[np.intp]:
        """Return for each row the position of its scope, or -1 if it lies in none."""
        return look_up(row_keys(series, intervals, days), self._positions)

    def runs(self) -> list[DayRun]:
        """Return the scopes as few runs of days; a run may span days that are not in the set."""
        runs: list[DayRun] = []
        for scope in self.scopes:
            last = runs[-1] if runs else None
            same = last is not None and (last.series, last.interval) == (scope.series, scope.interval)
            if last is not None and same and scope.day - last.last <= _JOIN_GAP:
                runs[-1] = DayRun(last.series, last.interval, last.first, scope.day)
            else:
                runs.append(DayRun(scope.series, scope.interval, scope.day, scope.day))
        return runs
