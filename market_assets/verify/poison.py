"""The look-ahead gate: whatever the future holds, the row at T has the same bits.

Belongs here: the judgement of one row, from a log and the same log with its future poisoned. Does not belong here: the
poison itself (`scramble.py`), formulas, and reading a store (`lookahead.py`).

The gate looks both ways: a row must not move with what could not be known, and must move with what just could. A bar
taken a moment too late is no look-ahead, but the same off-by-one on the other side.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import US_PER_DAY, venue_calendar
from market_assets.columns import feature_columns, metric_column
from market_assets.maths.bars import session_of
from market_assets.metrics import StalenessLimits, TickerSeries
from market_assets.verify.history import TickerHistory
from market_assets.verify.observe import Difference, Observer, differences, same_bits
from market_assets.verify.scramble import Scrambler

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from market_assets.maths.arrays import BoolArray, FloatArray
    from market_assets.verify.history import LogHistory

#: by how much a bar is moved that a row must see
_NUDGE = 1.01
#: a span that contains two sessions of any venue
_REACH_US = 14 * US_PER_DAY


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges rows at T, served from the knowledge of `as_of`; both in microseconds UTC."""

    observer: Observer

    def leaks(self, history: LogHistory, at_us: int, as_of_us: int, rng: np.random.Generator) -> list[Difference]:
        """Return what moved, of everything that can be read at T, when all that could not be known was scrambled."""
        clean = self.observer.everything(history.as_of(as_of_us), at_us)
        poisoned = Scrambler(at_us, as_of_us, rng).history(history)
        dirty = self.observer.everything(poisoned.as_of(as_of_us), at_us)
        found = differences(clean["features"], dirty["features"], "observed_at")
        for crypto in self.observer.universe.crypto:
            if crypto.name in clean:
                found += differences(clean[crypto.name], dirty[crypto.name], "timestamp")
        return found + self._misjoined(clean)

    def _misjoined(self, observed: Mapping[str, pd.DataFrame]) -> list[Difference]:
        """Return where a crypto row at T has other features than the last observation time up to T."""
        columns = feature_columns(self.observer.universe, self.observer.indicators)
        expected = observed["joined"].rename(columns={"observed_at": "timestamp"})
        found = []
        for crypto in self.observer.universe.crypto:
            if crypto.name in observed:
                row = observed[crypto.name].tail(1).assign(timestamp=expected["timestamp"].to_numpy())
                found += differences(expected, row.reset_index(drop=True), "timestamp", columns)
        return found

    def overlooked(self, history: TickerHistory, at_us: int, as_of_us: int) -> list[str]:
        """Return what should have moved with one ticker's newest usable bars, and did not.

        The price must move with the newest bar, and the volatility with the close of the last completed session, from
        the microsecond on at which they become available. What is NULL cannot move.
        """
        before = self._metrics(history, at_us, as_of_us)
        missed = []
        for metric, bars in (
            ("price", self._newest(history, at_us, as_of_us)),
            ("volatility", self._closing(history, at_us, as_of_us)),
        ):
            if not bars.any() or np.isnan(before[metric]).all():
                continue
            moved = np.where(bars, _NUDGE, 1.0) * history.bars["close"]
            nudged = TickerHistory(history.ticker, history.bars.with_columns(close=moved), history.actions)
            if same_bits(self._metrics(nudged, at_us, as_of_us)[metric], before[metric]).all():
                missed.append(metric_column(history.ticker, metric))
        return missed

    def _metrics(self, history: TickerHistory, at_us: int, as_of_us: int) -> Mapping[str, FloatArray]:
        limits = StalenessLimits.for_interval(self.observer.interval_minutes)
        metrics = TickerSeries.prepare(history.as_of(as_of_us)).at(np.array([at_us]), limits)
        return {"price": metrics.price.value, "volatility": metrics.volatility.value}

    def _newest(self, history: TickerHistory, at_us: int, as_of_us: int) -> BoolArray:
        """Return which versions are bars of a session that end last, of those that may be used."""
        bars = history.bars
        ends, usable = bars["bar_end"], self._usable(history, at_us, as_of_us)
        return np.asarray(usable & (ends == ends[usable].max(initial=0)), dtype=np.bool_)

    def _closing(self, history: TickerHistory, at_us: int, as_of_us: int) -> BoolArray:
        """Return which versions are bars that end with the last completed session.

        None if the session before has no such bar: then no return leads to the close, and it counts for nothing.
        """
        calendar = venue_calendar(history.ticker.venue)
        lag_us = history.ticker.feed_lag // timedelta(microseconds=1)
        sessions = calendar.sessions_between_us(at_us - _REACH_US, at_us)
        before, last = sessions.close_us[sessions.close_us + lag_us <= at_us][-2:].tolist()
        usable, ends = self._usable(history, at_us, as_of_us), history.bars["bar_end"]
        return np.asarray(usable & (ends == last) & (usable & (ends == before)).any(), dtype=np.bool_)

    @staticmethod
    def _usable(history: TickerHistory, at_us: int, as_of_us: int) -> BoolArray:
        bars, calendar = history.bars, venue_calendar(history.ticker.venue)
        sessions = calendar.sessions(calendar.first_day, calendar.last_day)
        lag_us = history.ticker.feed_lag // timedelta(microseconds=1)
        usable = bars.in_force(as_of_us) & (bars["bar_end"] + lag_us <= at_us)
        usable &= (session_of(sessions, bars["bar_start"]) >= 0) & (bars["close"] > 0.0) & (bars["basis"] > 0.0)
        if history.ticker.is_fx:
            # The close of an FX day is the price at its start: never one at T.
            usable &= bars["interval"] != "1d"
        return np.asarray(usable, dtype=np.bool_)
