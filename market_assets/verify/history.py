"""The log of versions in memory, and the log as it stood at any instant.

Belongs here: reading every version once and cutting the state of an instant out of it. Does not belong here: what is
done with it. A proof over thousands of rows would otherwise read the same bars thousands of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.maths.arrays import NEVER_US, days, instants_us, utc_index
from market_assets.metrics import TickerLog
from market_assets.store.tables import CORPORATE_ACTIONS, KNOWN_FROM, KNOWN_TO, MARKET_BARS, REMOVED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from market_assets.maths.arrays import BoolArray, IntArray
    from market_assets.store import Snapshot
    from market_assets.universe import Ticker

#: what a feature row is computed from
LOG_VALUES = ("close", "basis")
#: columns of instants, int64 microseconds UTC while in a `Versions`
_INSTANTS = frozenset({"bar_start", "bar_end", KNOWN_FROM, KNOWN_TO})


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """Versions of rows of one ticker as parallel arrays by column.

    Instants are int64 microseconds UTC, dates datetime64[D], texts objects. A version is in force from `known_from`
    until just before `known_to` (NEVER_US: it still is).
    """

    columns: Mapping[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one column."""
        return self.columns[name]

    def __len__(self) -> int:
        """Return the number of versions."""
        return len(self.columns[KNOWN_FROM])

    def take(self, rows: NDArray[np.intp] | BoolArray) -> Versions:
        """Return the versions at positions or under a mask."""
        return Versions({name: values[rows] for name, values in self.columns.items()})

    def with_columns(self, **columns: NDArray[Any]) -> Versions:
        """Return the versions with some columns replaced."""
        return Versions({**self.columns, **columns})

    def in_force(self, as_of_us: int) -> BoolArray:
        """Return which versions were in force at an instant of the knowledge axis."""
        known: BoolArray = (self[KNOWN_FROM] <= as_of_us) & (as_of_us < self[KNOWN_TO])
        return known

    def frame(self) -> pd.DataFrame:
        """Return the rows without what is known of their versions; times as datetime64[us, UTC]."""
        columns: dict[str, object] = {}
        for name, values in self.columns.items():
            if name in {KNOWN_FROM, KNOWN_TO}:
                continue
            if name in _INSTANTS:
                columns[name] = utc_index(values)
            elif name == "ex_date":
                columns[name] = pd.Series(values.astype(object), dtype=object)
            else:
                columns[name] = values
        return pd.DataFrame(columns)

    @staticmethod
    def of(frame: pd.DataFrame) -> Versions:
        """Take a frame of `Snapshot.versions`."""
        columns: dict[str, NDArray[Any]] = {}
        for name in frame.columns:
            if name in _INSTANTS:
                columns[name] = instants_us(frame[name])
            elif name == "ex_date":
                columns[name] = days(frame[name])
            else:
                columns[name] = frame[name].to_numpy()
        known_to = columns[KNOWN_TO]
        columns[KNOWN_TO] = np.where(known_to == np.iinfo(np.int64).min, NEVER_US, known_to)
        return Versions(columns)

    @staticmethod
    def concatenated(parts: Sequence[Versions]) -> Versions:
        """Return the versions of all `parts`, at least one, which have the same columns."""
        return Versions({name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns})


@dataclass(frozen=True, slots=True, eq=False)
class TickerHistory:
    """Every version of one ticker's bars and corporate actions."""

    ticker: Ticker
    #: interval, bar_start, bar_end, values, known_from, known_to
    bars: Versions
    #: kind, ex_date, value, basis, known_from, known_to
    actions: Versions

    def as_of(self, as_of_us: int) -> TickerLog:
        """Return the log as it was known at an instant, microseconds UTC."""
        return TickerLog(self.ticker, *(one.take(one.in_force(as_of_us)).frame() for one in (self.bars, self.actions)))


@dataclass(frozen=True, slots=True, eq=False)
class LogHistory:
    """Every version of several tickers' bars within a window, and of all their corporate actions."""

    tickers: Mapping[str, TickerHistory]

    def as_of(self, as_of_us: int) -> dict[str, TickerLog]:
        """Return the logs by ticker as they were known at an instant, microseconds UTC."""
        return {name: history.as_of(as_of_us) for name, history in self.tickers.items()}

    def only(self, names: Collection[str]) -> LogHistory:
        """Return the histories of the tickers in `names`."""
        return LogHistory({name: history for name, history in self.tickers.items() if name in names})

    @classmethod
    def read(
        cls,
        snapshot: Snapshot,
        tickers: Sequence[Ticker],
        start: datetime,
        end: datetime,
        values: Sequence[str] = LOG_VALUES,
    ) -> LogHistory:
        """Read the versions of the bars of `tickers` that start in [start, end), and of all their actions."""
        names = [ticker.name for ticker in tickers]
        bars = snapshot.versions(MARKET_BARS, start=start, end=end, series=names, columns=("bar_end", *values))
        actions = snapshot.versions(CORPORATE_ACTIONS, series=names, columns=("value", "basis"))
        return cls(
            {
                ticker.name: TickerHistory(ticker, own_bars, own_actions)
                for ticker, own_bars, own_actions in zip(
                    tickers, _by_ticker(bars, names), _by_ticker(actions, names), strict=True
                )
            }
        )


def _by_ticker(frame: pd.DataFrame, names: Sequence[str]) -> list[Versions]:
    """Return the versions of each of `names`; `frame` is sorted by ticker."""
    everything = Versions.of(frame)
    tickers = everything["ticker"].astype(str) if len(everything) else np.empty(0, dtype=str)
    rest = Versions({name: values for name, values in everything.columns.items() if name not in {"ticker", REMOVED}})
    first: IntArray = np.searchsorted(tickers, names, side="left")
    last: IntArray = np.searchsorted(tickers, names, side="right")
    return [rest.take(np.arange(start, stop)) for start, stop in zip(first.tolist(), last.tolist(), strict=True)]
