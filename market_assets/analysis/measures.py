"""One window of paired returns, measured in every way that is told of it.

Belongs here: the coefficients of one window and what there is to know beside them. Does not belong here: where the
pairs come from (`sessions.py`, `series.py`), what the market is said to do (`verdict.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.analysis.bootstrap import FEWEST_PAIRS, LEVEL, RESAMPLES, SEED, Interval, correlation_interval
from market_assets.analysis.definitions import Method, check_window
from market_assets.maths.windows import pearson

if TYPE_CHECKING:
    from datetime import date

    from market_assets.maths.arrays import BoolArray, DayArray, FloatArray

#: by how many steps one side is moved against the other; positive: the ticker leads
LAGS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class ReturnPairs:
    """Returns of crypto and of one ticker over the same steps, oldest first; NaN where missing."""

    #: the day that the step ends on; weekly, the Monday of the week that it ends in
    label: DayArray
    crypto: FloatArray
    ticker: FloatArray
    #: whether the crypto price is not the one at the ticker's close but that of a later midnight
    approximate: BoolArray

    def __len__(self) -> int:
        """Return the number of steps, missing returns included."""
        return len(self.label)

    def last(self, steps: int) -> ReturnPairs:
        """Return the last `steps` steps."""
        part = slice(max(len(self) - steps, 0), len(self))
        return ReturnPairs(self.label[part], self.crypto[part], self.ticker[part], self.approximate[part])

    @property
    def valid(self) -> BoolArray:
        """Where both sides have a return."""
        return ~(np.isnan(self.crypto) | np.isnan(self.ticker))


@dataclass(frozen=True, slots=True)
class LagCorrelation:
    """The correlation with one side moved against the other.

    A positive lag of k: the ticker's return of a step with crypto's return k steps later (the ticker leads).
    """

    lag: int
    correlation: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class WindowCorrelation:
    """What was measured of the last `window` steps; None, with a reason, where it could not be."""

    window: int
    #: labels of the first and the last step, None without any
    first: date | None
    last: date | None
    #: steps with a return on both sides
    pairs: int
    #: of these, with a crypto price that is not of the ticker's close
    approximate_pairs: int
    #: Pearson's
    correlation: float | None
    reason: str | None
    #: of Pearson's correlation, 95 %
    interval: Interval | None
    interval_reason: str | None
    #: Spearman's rank correlation, average ranks for ties
    rank: float | None
    lead_lag: tuple[LagCorrelation, ...]

    @property
    def noise(self) -> float | None:
        """Below this, a correlation is what so many unrelated returns give 19 times of 20 (1.96 / sqrt(pairs)).

        Bartlett's bound; returns with clustered volatility exceed it more often than that.
        """
        return 1.96 / math.sqrt(self.pairs) if self.pairs else None


def coefficient(x: FloatArray, y: FloatArray, method: Method = Method.PEARSON) -> float:
    """Return the correlation of two equally long samples without NaN; NaN if either has no variance."""
    if method is Method.SPEARMAN:
        return pearson(*(np.asarray(pd.Series(side).rank(), dtype=np.float64) for side in (x, y)))
    return pearson(x, y)


def measure(
    pairs: ReturnPairs,
    window: int,
    *,
    required: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> WindowCorrelation:
    """Measure the last `window` steps; `required` of them must have a return on both sides.

    Raises:
        CorrelationInputError: the window is too short.
    """
    part = pairs.last(check_window(window))
    valid = part.valid
    count = int(valid.sum())
    x, y = part.crypto[valid], part.ticker[valid]
    correlation = rank = None
    reason = interval_reason = None
    interval = None
    if count < required:
        reason = f"{count} of {window} pairs, {required} are needed"
    else:
        correlation = _known(coefficient(x, y))
        rank = _known(coefficient(x, y, Method.SPEARMAN))
        reason = "one side does not move" if correlation is None else None
    if correlation is not None:
        interval = correlation_interval(x, y, level=level, resamples=resamples, seed=seed)
        if interval is None:
            interval_reason = f"{count} pairs, {FEWEST_PAIRS} are needed" if count < FEWEST_PAIRS else "too few differ"
    return WindowCorrelation(
        window=window,
        first=part.label[0].item() if len(part) else None,
        last=part.label[-1].item() if len(part) else None,
        pairs=count,
        approximate_pairs=int((part.approximate & valid).sum()),
        correlation=correlation,
        reason=reason,
        interval=interval,
        interval_reason=reason or interval_reason,
        rank=rank,
        lead_lag=tuple(_lagged(part, lag, required - abs(lag)) for lag in LAGS),
    )


def _lagged(part: ReturnPairs, lag: int, required: int) -> LagCorrelation:
    """Correlate the ticker's returns with crypto's `lag` steps later, both within the window."""
    steps = len(part) - abs(lag)
    if steps <= 0:
        return LagCorrelation(lag, None, 0)
    crypto, ticker = part.crypto[max(lag, 0) :][:steps], part.ticker[max(-lag, 0) :][:steps]
    valid = ~(np.isnan(crypto) | np.isnan(ticker))
    count = int(valid.sum())
    value = _known(pearson(crypto[valid], ticker[valid])) if count >= max(required, 1) else None
    return LagCorrelation(lag, value, count)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
