"""What a market-data source is, independent of any one source.

Belongs here: the request, the answer and the protocol that every source satisfies, so that a second source can be added
without touching the assets. Does not belong here: anything that knows a particular source, and anything that stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from market_assets.clock import ensure_utc

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.universe import Ticker


class Interval(StrEnum):
    """Length of a bar. A 1d bar spans one session of its venue, a 1h bar ends at the session close at the latest."""

    M15 = "15m"
    H1 = "1h"
    D1 = "1d"


#: length of an intraday bar; a 1d bar has no fixed length
BAR_LENGTH = {Interval.M15: timedelta(minutes=15), Interval.H1: timedelta(hours=1)}

#: reason of a row that may be the running bar of a late feed: whoever has this bar already keeps it
FEED_BEHIND = "feed_behind"

#: columns of `FetchAnswer.bars`, in order. Times are datetime64[us, UTC], values float64.
BAR_COLUMNS = ("bar_start", "bar_end", "open", "high", "low", "close", "volume")
#: columns of `FetchAnswer.actions`: kind is `dividend` or `split`, ex_date a datetime.date in venue time, value the
#: dividend per share as the source states it or new shares per old share (USO 2020: 0.125)
ACTION_COLUMNS = ("kind", "ex_date", "value")
#: columns of `FetchAnswer.rejected`: rows of the answer that are not bars, with the reason
#: (`null_bar`, `live_row`, `unfinished`, `feed_behind`, `off_grid`, `off_session`, `outside_window`, `duplicate`)
REJECTED_COLUMNS = ("bar_start", "open", "high", "low", "close", "volume", "reason")


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Bars of one ticker and interval whose `bar_start` lies in [start, end), both UTC."""

    ticker: Ticker
    interval: Interval
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive or reversed windows."""
        object.__setattr__(self, "start", ensure_utc(self.start, "start"))
        object.__setattr__(self, "end", ensure_utc(self.end, "end"))
        if self.start >= self.end:
            msg = (
                f"empty window for {self.ticker.name} {self.interval}: start {self.start} is not before end {self.end}"
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        """Name ticker, interval and window, for messages."""
        return f"{self.ticker.name} {self.interval} {self.start:%Y-%m-%dT%H:%M:%SZ}..{self.end:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class FetchAnswer:
    """What a source answered: finished bars only, in the ticker's published orientation.

    `covered_start`..`covered_end` is the part of the requested window for which the answer is authoritative: the
    request cut to the source's own limits and to `fetched_at`. Only UTC days wholly inside it (today: up to
    `fetched_at`) may be replaced in the store.
    """

    request: FetchRequest
    #: start of the request, UTC
    fetched_at: datetime
    #: label of the source, e.g. `yahoo` or `simulator`
    source: str
    bars: pd.DataFrame
    actions: pd.DataFrame
    rejected: pd.DataFrame
    covered_start: datetime
    covered_end: datetime


class MarketDataSource(Protocol):
    """A place that bars come from. Implementations are thread-safe."""

    @property
    def label(self) -> str:
        """Name stored beside every row."""
        ...

    def oldest_available(self, interval: Interval, now: datetime) -> datetime | None:
        """First instant the source still serves for `interval` at `now` (UTC), or None if there is no limit."""
        ...

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        """Fetch once, without retrying; raise a SourceError."""
        ...


def utc_midnight(instant: datetime) -> datetime:
    """Return 00:00 UTC of the UTC day that `instant` lies in."""
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
