"""What the checks of one ticker look at: the run's outcome, and what is stored of the days it is about.

Belongs here: reading that evidence, once per ticker and run. Does not belong here: judging it, Dagster.

Only the run's days are read, and so much before them as the judgement of their bars needs. It is what is *stored*, bars
and ledger, read after the write: a failed fetch, a refused or a skipped write are judged as rightly as a good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.checks.movement import VOLATILITY_RETURNS
from market_assets.collection.days import ONE_DAY
from market_assets.metrics import StalenessLimits, lookback_days
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS, QUARANTINED_BARS

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.collection.days import DayRange
    from market_assets.collection.outcome import TickerOutcome
    from market_assets.store import LedgerEntry, Store
    from market_assets.universe import Ticker

#: intraday bars before the run's days: no venue closes for longer, so that the bar before the first one is there
_INTRADAY_DAYS = 5
_DAILY_DAYS = lookback_days(VOLATILITY_RETURNS + 1)
_COLUMNS = ("bar_end", "open", "high", "low", "close", "volume", "basis", "source")


@dataclass(frozen=True, slots=True, eq=False)
class TickerEvidence:
    """Everything that the checks of one ticker may ask for."""

    ticker: Ticker
    outcome: TickerOutcome
    #: the days that the run is about
    days: DayRange
    #: the run's clock, UTC
    now: datetime
    limits: StalenessLimits
    #: label of the source that rows must carry
    source: str
    #: stored bars: intraday from five days before `days` on, 1d bars of the sessions before; rows by key
    bars: pd.DataFrame
    #: corporate actions since the first of these bars
    actions: pd.DataFrame
    #: quarantined rows of the run's days and windows
    quarantined: pd.DataFrame
    #: the ledger's entries of the run's days, as this run has left them
    coverage: list[LedgerEntry]

    @property
    def is_current(self) -> bool:
        """Whether the run is about the day that its clock stands in."""
        return self.now < self.days.end

    @property
    def own_bars(self) -> pd.DataFrame:
        """The stored bars of the run's days."""
        start = self.bars["bar_start"]
        own: pd.DataFrame = self.bars.loc[(start >= self.days.start) & (start < self.days.end)]
        return own


def read_evidence(
    store: Store,
    ticker: Ticker,
    outcome: TickerOutcome,
    *,
    days: DayRange,
    now: datetime,
    interval_minutes: int,
    source: str,
) -> TickerEvidence:
    """Read the evidence for one ticker from one snapshot of `store`.

    Rows read do not grow with what is stored: about 200 for an ETF's day, 650 for a ticker that trades around the
    clock.
    """
    daily_start = days.start - timedelta(days=_DAILY_DAYS)
    asked_start = min([days.start, *(window.start for window in outcome.windows)])
    with store.snapshot() as snapshot:
        parts = [
            snapshot.read(
                MARKET_BARS,
                start=start,
                end=days.end,
                series=[ticker.name],
                intervals=intervals,
                columns=_COLUMNS,
            )
            for start, intervals in (
                (daily_start, ["1d"]),
                (days.start - timedelta(days=_INTRADAY_DAYS), ["15m", "1h"]),
            )
        ]
        actions = snapshot.read(
            CORPORATE_ACTIONS,
            start=daily_start.date(),
            end=days.end.date(),
            series=[ticker.name],
        )
        quarantined = snapshot.read(QUARANTINED_BARS, start=asked_start, end=days.end, series=[ticker.name])
    return TickerEvidence(
        ticker=ticker,
        outcome=outcome,
        days=days,
        now=now,
        limits=StalenessLimits.for_interval(interval_minutes),
        source=source,
        bars=pd.concat(parts, ignore_index=True),
        actions=actions,
        quarantined=quarantined,
        coverage=store.runs.states(days.first, days.last + ONE_DAY, tickers=[ticker.name]),
    )
