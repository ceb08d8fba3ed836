"""What an indicator is, and the view of the metrics that it computes from.

Belongs here: the interface that every indicator file satisfies. Does not belong here: any one indicator, and the
registry that finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market_assets.maths.arrays import NEVER_US
from market_assets.maths.bars import NO_BARS
from market_assets.maths.quantity import Quantity
from market_assets.maths.windows import required_pairs, stretches
from market_assets.metrics import lookback_days

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray
    from market_assets.metrics import TickerMetrics


@dataclass(frozen=True, slots=True)
class Indicator:
    """One calculated series. Its file in this package defines it as `INDICATOR`, and nothing else names it."""

    name: str
    #: position among the indicators: the order of columns
    order: int
    column: str
    title: str
    #: the definition, in words that a reader can recompute it from
    formula: str
    unit: str
    #: tickers it reads; the asset's upstream assets
    inputs: tuple[str, ...]
    #: sessions it looks back on, the one of the price bar included; gives the partitions to read
    lookback_sessions: int
    #: closed range of values to be expected (WARN outside of it); `scripts/derive_plausible_ranges.py` derives it
    plausible: tuple[float, float]
    #: what a user should know before trusting it
    caveat: str
    compute: Callable[[IndicatorInputs], Quantity]

    @property
    def lookback_days(self) -> int:
        """How many days of bars in front of T it needs."""
        return lookback_days(self.lookback_sessions)


class IndicatorInputs:
    """The metrics of an indicator's declared inputs, one entry per observation time.

    Every quantity names the ticker in its reasons, e.g. `VIX stale`.
    """

    def __init__(self, inputs: tuple[str, ...], metrics: Mapping[str, TickerMetrics], length: int) -> None:
        """Restrict `metrics` to `inputs`; a ticker without metrics has no bars. `length`: observation times."""
        self._inputs = inputs
        self._metrics = metrics
        self._length = length

    def price(self, name: str) -> Quantity:
        """Return the price, on the basis in force at T."""
        metrics = self._of(name)
        return self._named(name, metrics.price if metrics else None)

    def change_1d(self, name: str) -> Quantity:
        """Return the change since the previous session's close, in percent."""
        metrics = self._of(name)
        return self._named(name, metrics.change_1d if metrics else None)

    def close_before(self, name: str, sessions: int) -> Quantity:
        """Return the close `sessions` calendar sessions before the price bar's, on the basis in force at T."""
        metrics = self._of(name)
        return self._named(name, metrics.close_before(sessions) if metrics else None)

    def same_session(self, first: str, second: str) -> BoolArray:
        """Return whether the price bars of two tickers belong to sessions of the same date."""
        one, two = self._of(first), self._of(second)
        if one is None or two is None:
            return np.zeros(self._length, dtype=np.bool_)
        same = one.series.table.label[one.session] == two.series.table.label[two.session]
        return np.asarray(same & (one.session >= 0) & (two.session >= 0), dtype=np.bool_)

    def of_returns(
        self,
        first: str,
        second: str,
        sessions: int,
        statistic: Callable[[FloatArray, FloatArray], float],
        undefined: str,
    ) -> Quantity:
        """Return a statistic of two tickers' daily log total returns over the last `sessions` common sessions.

        A session counts once it is completed for both; a pair of returns where all four closes are known. With fewer
        valid pairs than 90 % of the window the value is missing. `undefined`: reason where `statistic` returns NaN.
        """
        one, two = self._of(first), self._of(second)
        if one is None:
            return self._named(first, None)
        if two is None:
            return self._named(second, None)
        pairs = _PairedReturns(one, two)
        instants, position = stretches(pairs.events_us, one.at_us)
        results = [pairs.window(instant, sessions) for instant in instants]
        values, reasons = np.full(len(results), np.nan), np.full(len(results), None, dtype=object)
        for row, (x, y, _) in enumerate(results):
            if len(x) < required_pairs(sessions):
                reasons[row] = f"{len(x)}_of_{sessions}_returns"
            else:
                values[row] = statistic(x, y)
                reasons[row] = undefined if np.isnan(values[row]) else None
        fresh = np.array([is_fresh for _, _, is_fresh in results], dtype=np.bool_)
        return Quantity(values[position], reasons[position], fresh[position])

    def _of(self, name: str) -> TickerMetrics | None:
        if name not in self._inputs:
            raise KeyError(f"{name!r} is not among the indicator's inputs ({', '.join(self._inputs)}); add it there")
        return self._metrics.get(name)

    def _named(self, name: str, quantity: Quantity | None) -> Quantity:
        return (quantity or Quantity.missing(self._length, NO_BARS)).with_reason_prefix(name)


class _PairedReturns:
    """Daily returns of two tickers at the sessions that both venues have."""

    def __init__(self, one: TickerMetrics, two: TickerMetrics) -> None:
        first, second = one.series.closes, two.series.closes
        _, rows, others = np.intersect1d(first.table.label, second.table.label, assume_unique=True, return_indices=True)
        self._x, self._y = first.log_return[rows], second.log_return[others]
        self._complete_us = np.maximum(first.complete_us[rows], second.complete_us[others])
        self._known_us = np.maximum(first.return_known_us[rows], second.return_known_us[others])
        self._known_us[np.isnan(self._x) | np.isnan(self._y)] = NEVER_US
        self.events_us: IntArray = np.sort(np.concatenate((self._complete_us, self._known_us)))

    def window(self, instant_us: int, sessions: int) -> tuple[FloatArray, FloatArray, bool]:
        """Return the valid pairs of the last `sessions` completed at the instant, and whether the last is valid."""
        end = int(np.searchsorted(self._complete_us, instant_us, side="right"))
        window = slice(max(end - sessions, 0), end)
        valid = self._known_us[window] <= instant_us
        return self._x[window][valid], self._y[window][valid], bool(valid[-1:].all())
