"""The stored bars and corporate actions behind a data set.

Belongs here: reading every version of them, their fingerprints, and naming one. Does not belong here: how fingerprints
are written down, and what a difference does to the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, from_us
from market_assets.maths.arrays import days, floats, instants_us
from market_assets.receipts.hashes import float_bits
from market_assets.receipts.prints import UNNAMED, Series, differences, text_words, written_down
from market_assets.store.tables import CORPORATE_ACTIONS, KNOWN_FROM, KNOWN_TO, MARKET_BARS, REMOVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from market_assets.maths.arrays import IntArray
    from market_assets.receipts.prints import RowChange
    from market_assets.store import Store

_BAR_DOUBLES = ("open", "high", "low", "close", "volume", "basis")
_ACTION_DOUBLES = ("value", "basis")
_ACTIONS = frozenset({"dividend", "split"})


@dataclass(frozen=True, slots=True)
class Basement:
    """Which bars a data set stands on: by ticker those that start in [start, end), as known at one instant.

    All corporate actions of these tickers belong to it, whatever their date.
    """

    known_at: datetime
    windows: Mapping[str, tuple[datetime, datetime]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        windows = {ticker: [start.isoformat(), end.isoformat()] for ticker, (start, end) in self.windows.items()}
        return {"known_at": self.known_at.isoformat(), "windows": windows}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Basement:
        """Return what `to_json` wrote."""
        windows = {
            ticker: (datetime.fromisoformat(start), datetime.fromisoformat(end))
            for ticker, (start, end) in values["windows"].items()
        }
        return cls(datetime.fromisoformat(values["known_at"]), windows)


@dataclass(frozen=True, slots=True)
class LogChange:
    """One bar or corporate action that is not what the receipt says."""

    #: as in `prints.RowChange`
    what: str
    ticker: str
    #: `15m` and so on; `dividend` or `split` for an action
    interval: str
    #: start of the bar; 00:00 UTC of the ex-date of an action
    at_us: int
    #: the row as it is stored now, in words; empty if it is missing
    stored: str = ""

    @property
    def name(self) -> str:
        """Return e.g. `bar QQQ 15m 2026-03-02T15:00Z`."""
        at = from_us(self.at_us)
        if self.what == UNNAMED:
            return f"a bar or action of {self.ticker} {self.interval}"
        if self.interval in _ACTIONS:
            return f"{self.interval} {self.ticker} {at:%Y-%m-%d}"
        return f"bar {self.ticker} {self.interval} {at:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True, eq=False)
class LogVersions:
    """Every version of the bars and actions that a data set stands on, as the store has them now."""

    bars: pd.DataFrame
    actions: pd.DataFrame

    @classmethod
    def read(cls, store: Store, basement: Basement) -> LogVersions:
        """Read them from a snapshot at `basement.known_at`."""
        together: dict[tuple[datetime, datetime], list[str]] = {}
        for ticker, window in basement.windows.items():
            together.setdefault(window, []).append(ticker)
        with store.snapshot(basement.known_at) as snapshot:
            bars = [
                snapshot.versions(MARKET_BARS, start=start, end=end, series=tickers)
                for (start, end), tickers in together.items()
            ]
            actions = snapshot.versions(CORPORATE_ACTIONS, series=list(basement.windows))
        return cls(pd.concat(bars, ignore_index=True) if bars else pd.DataFrame(), actions)

    def fingerprints(self) -> dict[str, Any]:
        """Return the fingerprints of all versions, by ticker and interval, as plain values."""
        return written_down([series for series, _ in self._series()])

    def differences(self, receipt: Mapping[str, Any]) -> list[LogChange]:
        """Return what differs from the fingerprints that a receipt holds, by ticker, interval and time."""
        rows = {series.name: (series, frame) for series, frame in self._series()}
        changes = differences(receipt, [series for series, _ in rows.values()])
        return [_named(change, rows[change.series][1] if change.series in rows else None) for change in changes]

    def _series(self) -> Iterator[tuple[Series, pd.DataFrame]]:
        if len(self.bars):
            ends = instants_us(self.bars["bar_end"])
            yield from _by_series(
                self.bars, self.bars["interval"], instants_us(self.bars["bar_start"]), [ends], _BAR_DOUBLES
            )
        if len(self.actions):
            ex_us = days(self.actions["ex_date"]).astype(np.int64) * US_PER_DAY
            yield from _by_series(self.actions, self.actions["kind"], ex_us, [], _ACTION_DOUBLES)


def _by_series(
    frame: pd.DataFrame, interval: pd.Series, at_us: IntArray, words: list[IntArray], doubles: tuple[str, ...]
) -> Iterator[tuple[Series, pd.DataFrame]]:
    """Return each (ticker, interval) with its rows, which stand by time and then by knowledge already."""
    words = [
        *words,
        *(instants_us(frame[name]) for name in (KNOWN_FROM, KNOWN_TO)),
        *(float_bits(floats(frame[name])) for name in doubles),
        frame[REMOVED].to_numpy().astype(np.int64),
        text_words(frame["source"]),
    ]
    names = frame["ticker"].astype(str) + " " + interval.astype(str)
    for name, rows in sorted(frame.groupby(names, sort=False).indices.items()):
        yield Series.of(str(name), at_us[rows], *(word[rows] for word in words)), frame.iloc[rows]


def _named(change: RowChange, rows: pd.DataFrame | None) -> LogChange:
    ticker, interval = change.series.split(" ")
    stored = "" if rows is None or change.position is None else _in_words(rows.iloc[change.position])
    return LogChange(change.what, ticker, interval, change.at_us, stored)


def _in_words(row: pd.Series[Any]) -> str:
    values = [f"{name}={float(row[name])!r}" for name in (*_BAR_DOUBLES, "value") if name in row.index]
    return f"{', '.join(values)}, known from {row[KNOWN_FROM].isoformat()}"
