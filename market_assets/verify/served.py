"""The rows that were served, as the store still has them: each with the knowledge it was computed from.

Belongs here: choosing versions of feature rows and reading the log that belongs to them. Does not belong here: judging
them.

A row's `read_as_of` belongs to a version: it is the watermark of the snapshot that this version was computed from. An
equal row computed later makes no new version and leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.calendars import ALLOWED_INTERVALS
from market_assets.collection.days import DayRange
from market_assets.features import FEATURE_LOOKBACK_DAYS, feature_version
from market_assets.store.tables import ML_FEATURES
from market_assets.verify.history import LogHistory
from market_assets.verify.observe import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import pandas as pd

    from market_assets.indicators import Indicator
    from market_assets.store import Snapshot, Store
    from market_assets.universe import Universe

#: days whose bars are in memory at once
_DAYS_AT_ONCE = 31
_KEY = "observed_at"


@dataclass(frozen=True, slots=True)
class Definitions:
    """What this program computes, and how it recognises rows that were computed in the same way."""

    universe: Universe
    indicators: Sequence[Indicator]

    def observer(self, interval_minutes: int = 30) -> Observer:
        """Return the computation for one collection interval."""
        return Observer(self.universe, self.indicators, interval_minutes)

    def observers(self) -> dict[str, Observer]:
        """Return the computation by the `feature_version` that it writes, for every collection interval."""
        return {
            feature_version(self.universe, self.indicators, minutes): self.observer(minutes)
            for minutes in ALLOWED_INTERVALS
        }

    @property
    def lookback_days(self) -> int:
        """How many days of bars in front of a row's day it may stand on."""
        return max([FEATURE_LOOKBACK_DAYS, *(indicator.lookback_days for indicator in self.indicators)])


def compared_columns(store: Store) -> tuple[str, ...]:
    """Return the columns of a feature row in which two versions can differ."""
    return tuple(spec.name for spec in store.schema.layout(ML_FEATURES).compared)


def row_versions(snapshot: Snapshot, start: datetime, end: datetime, *, every_version: bool = False) -> pd.DataFrame:
    """Return the versions of the rows with start <= observed_at < end: of each the one first served, or every one."""
    frame = snapshot.versions(ML_FEATURES, start=start, end=end)
    if every_version:
        return frame.reset_index(drop=True)
    return frame.drop_duplicates(_KEY, keep="first").reset_index(drop=True)


def blocks(
    snapshot: Snapshot, definitions: Definitions, rows: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, LogHistory]]:
    """Return `rows` (ascending) a month at a time, each with every version of the bars it may stand on."""
    position = 0
    while position < len(rows):
        first = rows[_KEY].iloc[position].date()
        days = DayRange(first, first + timedelta(days=_DAYS_AT_ONCE - 1))
        part = rows.iloc[position:]
        part = part.loc[part[_KEY] < days.end]
        last = part[_KEY].iloc[-1].date()
        window = DayRange(first, last).widened(definitions.lookback_days)
        yield part, LogHistory.read(snapshot, definitions.universe.features, window.start, window.end)
        position += len(part)
