"""The bars that a value stands on, and why two values at one time differ.

Belongs here: naming bars. Does not belong here: computing values, and judging whether a difference is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from market_assets.calendars import from_us, to_us, venue_calendar
from market_assets.columns import METRICS, metric_column
from market_assets.maths.arrays import floats, instants_us
from market_assets.maths.bars import INTERVALS
from market_assets.maths.closes import APPROXIMATE, FROM_DAILY
from market_assets.metrics import METRIC_SESSIONS, TickerSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from market_assets.indicators import Indicator
    from market_assets.maths.arrays import FloatArray, IntArray, TextArray
    from market_assets.metrics import TickerLog
    from market_assets.universe import Ticker, Universe


class BarKey(NamedTuple):
    """What names a bar."""

    ticker: str
    interval: str
    bar_start: datetime

    def __str__(self) -> str:
        """Return e.g. `QQQ 15m 2026-03-02T15:00Z`."""
        return f"{self.ticker} {self.interval} {self.bar_start:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class UsedBar:
    """One bar that a value stands on."""

    key: BarKey
    bar_end: datetime
    close: float
    basis: float
    #: `price`, or `close of <session>`
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "bar": str(self.key),
            "bar_end": self.bar_end.isoformat(),
            "close": self.close,
            "basis": self.basis,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a value computed from one log differs from the one computed from another."""

    #: a bar, or an action such as `USO split 2020-04-29`
    what: str
    ticker: str
    #: `late`: only the second log has it; `withdrawn`: only the first has it; `revised`: both, with other values
    kind: str
    first: float | None
    second: float | None

    def __str__(self) -> str:
        """Return e.g. `QQQ 15m 2026-03-02T15:00Z late: none, then 612.5`."""
        one, two = ("none" if value is None else repr(value) for value in (self.first, self.second))
        return f"{self.what} {self.kind}: {one}, then {two}"


def tickers_of(column: str, universe: Universe, indicators: Sequence[Indicator]) -> tuple[str, ...]:
    """Return the tickers that a column of the feature row depends on; all for counts and texts."""
    for indicator in indicators:
        if indicator.column == column:
            return indicator.inputs
    for ticker in universe.features:
        if column in {metric_column(ticker, metric) for metric in METRICS}:
            return (ticker.name,)
    return tuple(ticker.name for ticker in universe.features)


def bars_behind(log: TickerLog, at_us: int, *, sessions: int = METRIC_SESSIONS) -> list[UsedBar]:
    """Return the bar that gives the price at T and those that give the closes of the last `sessions` sessions."""
    series = TickerSeries.prepare(log)
    bars, closes = _Bars.of(log), series.closes
    at = np.array([at_us], dtype=np.int64)
    found: list[UsedBar] = []
    last = int(closes.completed(at)[0])
    row = int(series.prices.choose(at).row[0])
    if row >= 0:
        price = series.prices.bars
        position = bars.named(INTERVALS[int(price.interval[row])], int(price.start_us[row]))
        found.append(bars.used(log.ticker, position, "price"))
        last = max(last, int(price.session[row]))
    for session in range(max(last - sessions, 0), last + 1):
        if closes.known_us[session] <= at_us:
            span = (int(closes.table.open_us[session]), int(closes.table.close_us[session]))
            position = bars.closing(int(closes.origin[session]), *span)
            found.append(bars.used(log.ticker, position, f"close of {closes.table.label[session]}"))
    return found


def explain(
    at_us: int, tickers: Iterable[Ticker], first: Mapping[str, TickerLog], second: Mapping[str, TickerLog]
) -> list[Cause]:
    """Return why a row at T computed from the first logs differs from the one from the second.

    Those of the bars and actions that either row stands on which the two logs do not have in common, by ticker and
    time.
    """
    causes: list[Cause] = []
    for ticker in tickers:
        one, two = first[ticker.name], second[ticker.name]
        lag = ticker.feed_lag
        used = {used.key: used.bar_end for log in (one, two) for used in bars_behind(log, at_us)}
        bars = (_Bars.of(one), _Bars.of(two))
        for key in sorted(key for key, end in used.items() if end + lag <= from_us(at_us)):
            values = [_value(own, key) for own in bars]
            causes += _cause(str(key), ticker.name, values)
        actions = (_actions(one, at_us), _actions(two, at_us))
        for name in sorted(actions[0].keys() | actions[1].keys()):
            causes += _cause(f"{ticker.name} {name}", ticker.name, [own.get(name) for own in actions])
    return causes


#: what tells two versions of a bar or action apart, the first of them for people
_Values = tuple[float, ...]


def _cause(what: str, ticker: str, values: Sequence[_Values | None]) -> list[Cause]:
    one, two = values
    if one == two:
        return []
    kind = "late" if one is None else "withdrawn" if two is None else "revised"
    return [Cause(what, ticker, kind, None if one is None else one[0], None if two is None else two[0])]


def _value(bars: _Bars, key: BarKey) -> _Values | None:
    position = bars.find(key.interval, to_us(key.bar_start))
    if position is None:
        return None
    return float(bars.close[position]), float(bars.basis[position]), float(bars.end_us[position])


def _actions(log: TickerLog, at_us: int) -> dict[str, _Values]:
    """Return (value, basis) of the actions whose ex-date has begun, by name."""
    calendar = venue_calendar(log.ticker.venue)
    rows = log.actions
    return {
        f"{kind} {day}": (float(value), float(basis))
        for kind, day, value, basis in zip(
            rows["kind"], rows["ex_date"], floats(rows["value"]), floats(rows["basis"]), strict=True
        )
        if calendar.day_start_us(day) <= at_us
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Bars:
    """The bars of a log as arrays, to find single ones in."""

    interval: TextArray
    start_us: IntArray
    end_us: IntArray
    close: FloatArray
    basis: FloatArray

    @classmethod
    def of(cls, log: TickerLog) -> _Bars:
        bars = log.bars
        return cls(
            bars["interval"].to_numpy(dtype=object),
            instants_us(bars["bar_start"]),
            instants_us(bars["bar_end"]),
            floats(bars["close"]),
            floats(bars["basis"]),
        )

    def find(self, interval: str, start_us: int) -> int | None:
        """Return the position of a bar, None if there is none."""
        rows = np.flatnonzero((self.interval == interval) & (self.start_us == start_us))
        return int(rows[0]) if len(rows) else None

    def named(self, interval: str, start_us: int) -> int:
        """Return the position of a bar that is there."""
        return int(np.flatnonzero((self.interval == interval) & (self.start_us == start_us))[0])

    def closing(self, origin: int, open_us: int, close_us: int) -> int:
        """Return the position of the bar that gives the close of a session; `origin` as in `SessionCloses`."""
        good = (self.close > 0.0) & (self.basis > 0.0)
        if origin == APPROXIMATE:
            # The row of the next currency day: its close is the price at the start of that day.
            rows = np.flatnonzero(good & (self.interval == "1d") & (self.start_us > close_us))
            return int(rows[np.argmin(self.start_us[rows])])
        inside = good & (self.start_us >= open_us) & (self.start_us < close_us)
        if origin == FROM_DAILY:
            rows = np.flatnonzero(inside & (self.interval == "1d"))
            return int(rows[np.argmin(self.end_us[rows])])
        rows = np.flatnonzero(inside & (self.interval != "1d") & (self.end_us == close_us))
        return int(rows[np.argmax(self.start_us[rows])])  # 15m rather than 1h: it starts later

    def used(self, ticker: Ticker, position: int, why: str) -> UsedBar:
        """Return one bar, in words."""
        return UsedBar(
            BarKey(ticker.name, str(self.interval[position]), from_us(int(self.start_us[position]))),
            from_us(int(self.end_us[position])),
            float(self.close[position]),
            float(self.basis[position]),
            why,
        )
