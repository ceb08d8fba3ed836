"""Correlations of two plain price series: figures that others publish, from the prices that they were computed from.

Belongs here: what is done with dated prices before they are correlated. Does not belong here: bars, sessions, feed lags
(`sessions.py`).

A date is all that is known of these prices. The close of a crypto day is hours later than that of an ETF of the same
date, so nothing computed here is ever a feature.
"""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.analysis.definitions import Join, Method, ReturnKind, Sampling, check_window, choice
from market_assets.analysis.measures import ReturnPairs, WindowCorrelation, coefficient, measure
from market_assets.errors import CorrelationInputError
from market_assets.maths.arrays import map_floats

if TYPE_CHECKING:
    from market_assets.maths.arrays import FloatArray

#: what figures are usually made with
_USUAL_JOIN = {Sampling.DAILY: Join.PRICES, Sampling.WEEKLY: Join.RETURNS}


def rolling_correlation(
    crypto: pd.Series,
    ticker: pd.Series,
    *,
    window: int,
    sampling: str = Sampling.DAILY,
    returns: str = ReturnKind.LOG,
    join: str | None = None,
    method: str = Method.PEARSON,
    min_periods: int | None = None,
) -> pd.Series:
    """Return the correlation of the last `window` returns, at every date.

    What `returns_x.rolling(window, min_periods).corr(returns_y)` of pandas means; each window is computed from its own
    values alone, so that no rounding is carried along.

    Args:
        crypto: prices by date, in any order; NaN where there is none. Of a time with a zone its own calendar date
            counts.
        ticker: likewise.
        window: how many returns; at least 3.
        sampling: `daily` (every date that has a price) or `weekly` (last price of each week from Monday to Sunday,
            labelled with the Monday: `resample("W-MON", label="left", closed="left").last()`).
        returns: `log` or `simple`.
        join: `prices`: dates are inner-joined before anything else is done. `returns`: each series is sampled on its
            own dates, then the returns are joined. Default, as most figures are made: `prices` for daily ones (crypto's
            return into a Monday begins on Friday), `returns` for weekly ones (crypto's week ends on Sunday).
        method: `pearson`, or `spearman` for the correlation of ranks.
        min_periods: how many of the returns must be there; default: all.

    Returns:
        One value per date of the joined prices or returns, ascending (datetime64[us], midnight, without a zone); NaN
        where there are too few returns or one side does not move.

    Raises:
        CorrelationInputError: an unknown choice, a window too short, an index without dates, a date twice, a price that
            is not positive.
    """
    kind = choice(Method, method, "method")
    needed = check_window(window) if min_periods is None else min_periods
    if not 1 <= needed <= window:
        raise CorrelationInputError(f"min_periods={min_periods!r}: must lie between 1 and the window of {window}")
    pairs = paired_returns(crypto, ticker, sampling=sampling, returns=returns, join=join)
    valid = pairs.valid
    values = np.full(len(pairs), np.nan)
    for last in range(len(pairs)):
        part = slice(max(last + 1 - window, 0), last + 1)
        inside = valid[part]
        # Two points are always on a line, and one is no sample at all.
        if int(inside.sum()) >= max(needed, 2):
            values[last] = coefficient(pairs.crypto[part][inside], pairs.ticker[part][inside], kind)
    return pd.Series(values, index=pd.DatetimeIndex(pairs.label.astype("datetime64[us]")), name="correlation")


def analyse(
    crypto: pd.Series,
    ticker: pd.Series,
    *,
    window: int,
    sampling: str = Sampling.DAILY,
    returns: str = ReturnKind.LOG,
    join: str | None = None,
) -> WindowCorrelation:
    """Measure the last `window` returns of two price series: correlation, interval, ranks, lead and lag.

    All `window` returns are needed. The arguments and errors are those of `rolling_correlation`.
    """
    check_window(window)
    pairs = paired_returns(crypto, ticker, sampling=sampling, returns=returns, join=join)
    return measure(pairs, window, required=window)


def paired_returns(
    crypto: pd.Series,
    ticker: pd.Series,
    *,
    sampling: str = Sampling.DAILY,
    returns: str = ReturnKind.LOG,
    join: str | None = None,
) -> ReturnPairs:
    """Return the paired returns of two price series; the first entry has none. See `rolling_correlation`."""
    steps = choice(Sampling, sampling, "sampling")
    kind = choice(ReturnKind, returns, "returns")
    joined = _USUAL_JOIN[steps] if join is None else choice(Join, join, "join")
    sides = [_cleaned(crypto, "crypto"), _cleaned(ticker, "ticker")]
    if joined is Join.PRICES:
        together = pd.concat(sides, axis=1, join="inner", keys=["crypto", "ticker"])
        sides = [together["crypto"], together["ticker"]]
    if steps is Sampling.WEEKLY:
        sides = [side.resample("W-MON", label="left", closed="left").last().dropna() for side in sides]
    moved = [pd.Series(_returns(side, kind), index=side.index) for side in sides]
    both = pd.concat(moved, axis=1, join="inner", keys=["crypto", "ticker"])
    label = pd.DatetimeIndex(both.index).to_numpy().astype("datetime64[D]")
    return ReturnPairs(
        label,
        both["crypto"].to_numpy(dtype=np.float64),
        both["ticker"].to_numpy(dtype=np.float64),
        np.zeros(len(both), dtype=np.bool_),
    )


def _cleaned(prices: pd.Series, name: str) -> pd.Series:
    """Return the prices that there are by naive midnight, ascending."""
    if not isinstance(prices, pd.Series):
        raise CorrelationInputError(f"{name}: pass a pandas Series of prices by date, not {type(prices).__name__}")
    dates = _dates(prices.index, name)
    try:
        values = prices.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise CorrelationInputError(
            f"{name}: prices have dtype {prices.dtype}; pass numbers, e.g. prices.astype(float)"
        ) from None
    clean = pd.Series(values, index=dates).dropna().sort_index()
    if clean.index.has_duplicates:
        twice = clean.index[clean.index.duplicated()][0]
        raise CorrelationInputError(f"{name}: {twice:%Y-%m-%d} has two prices; keep one a day")
    bad = clean[~(np.isfinite(clean) & (clean > 0.0))]
    if len(bad):
        day, value = bad.index[0], bad.iloc[0]
        raise CorrelationInputError(f"{name}: the price of {day:%Y-%m-%d} is {value}; leave out what is not positive")
    return clean


def _dates(index: pd.Index, name: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        if not len(index) or not all(isinstance(value, (str, date)) for value in index):
            raise CorrelationInputError(
                f"{name}: its index has dtype {index.dtype}; index the prices by date, e.g. frame.set_index('date')"
            )
        try:
            index = pd.DatetimeIndex(index)
        except ValueError as error:
            raise CorrelationInputError(f"{name}: its index holds what is no date: {error}") from None
    # The calendar date of the zone that the times stand in: New York's for an ETF, UTC's for crypto.
    return index.tz_localize(None).normalize().as_unit("us")


def _returns(prices: pd.Series, kind: ReturnKind) -> FloatArray:
    values = prices.to_numpy(dtype=np.float64)
    growth = np.concatenate(([np.nan], values[1:] / values[:-1]))[: len(values)]
    return growth - 1.0 if kind is ReturnKind.SIMPLE else map_floats(math.log, growth)
