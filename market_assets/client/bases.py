"""Prices and level ratios on another basis: the splits known at the data set's as_of instead of those at T.

Belongs here: which columns a split rescales, and how. Does not belong here: the arithmetic of bases
(`maths/splits.py`).

A row says itself on which splits it stands (`ml_features.basis`). Prices are divided by the ratios of the splits that
came after. A level ratio such as (QQQ + HYG) / (VIX + TLT) has no factor of its own: it is computed again, by the
indicator's own function, from the rescaled prices of the same row. Returns, volatilities and correlations stand on no
basis.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import venue_calendar
from market_assets.columns import metric_column
from market_assets.errors import FeatureRequestError
from market_assets.indicators import Indicator, IndicatorInputs
from market_assets.maths.quantity import Quantity
from market_assets.maths.splits import Splits, rescale
from market_assets.store.tables import CORPORATE_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from market_assets.client.columns import Catalogue
    from market_assets.client.log import RowLog
    from market_assets.maths.arrays import BoolArray, FloatArray, TextArray
    from market_assets.store import Snapshot

_NO_SPLIT = np.datetime64("1678-01-01", "D")  # before any ex-date


class _NeedsBarsError(Exception):
    """The indicator reads more than the prices of its row."""


def columns_to_rescale(catalogue: Catalogue, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that rescaling `names` reads besides them: the prices in their level ratios."""
    inputs = {
        name
        for indicator in catalogue.indicators
        if indicator.column in names and level_tickers(indicator)
        for name in indicator.inputs
    }
    return tuple(name for name in catalogue.price_columns(inputs) if name not in names)


def read_splits(snapshot: Snapshot, catalogue: Catalogue) -> dict[str, Splits]:
    """Return by ticker the splits that the snapshot knows; tickers without one are left out."""
    actions = snapshot.read(CORPORATE_ACTIONS)
    actions = actions[actions["kind"] == "split"]
    return {
        ticker.name: Splits.from_actions(actions[actions["ticker"] == ticker.name], venue_calendar(ticker.venue))
        for ticker in catalogue.universe.features
        if (actions["ticker"] == ticker.name).any()
    }


def rescaled(log: RowLog, splits: Mapping[str, Splits], at_us: int, catalogue: Catalogue) -> RowLog:
    """Return the rows with prices and level ratios on the splits in force at `at_us`.

    Where no split lies between, the bits stay as they are. The log must hold `columns_to_rescale` of its columns.

    Raises:
        FeatureRequestError: a split changes an indicator that cannot be computed from the prices of its row alone.
    """
    factors = _factors(log, splits, at_us)
    if not factors:
        return log
    values = log.matrix.copy()
    position = {name: row for row, name in enumerate(log.names)}
    for ticker, factor in factors.items():
        price = position.get(metric_column(catalogue.universe[ticker], "price"))
        if price is not None:
            values[price, :-1] = rescale(values[price, :-1], np.ones(len(log)), factor)
    for indicator in catalogue.indicators:
        touched = level_tickers(indicator) & set(factors)
        if indicator.column not in position or not touched:
            continue
        rows = np.flatnonzero(np.any([factors[ticker] != 1.0 for ticker in touched], axis=0))
        prices = {
            name: values[position[metric_column(catalogue.universe[name], "price")], rows] for name in indicator.inputs
        }
        stored = values[position[indicator.column]]
        # What was missing stays missing, for whatever reason.
        stored[rows] = np.where(np.isnan(stored[rows]), np.nan, _from_prices(indicator, prices))
    return replace(log, matrix=values)


def _factors(log: RowLog, splits: Mapping[str, Splits], at_us: int) -> dict[str, FloatArray]:
    """Return by ticker the ratios of the splits in force at `at_us` that each row does not stand on yet."""
    factors: dict[str, FloatArray] = {}
    texts: TextArray = log.extra["basis"]
    codes, distinct = pd.factorize(texts)
    stands_on = [json.loads(text) for text in distinct]
    for ticker, known in splits.items():
        last = np.array([one.get(ticker, _NO_SPLIT) for one in stands_on], dtype="datetime64[D]")[codes]
        in_force = int(known.count_in_force(np.array([at_us]))[0])
        first = np.searchsorted(known.ex_day, last, side="right")
        factor = known.product[first, np.maximum(first, in_force)]
        if (factor != 1.0).any():
            factors[ticker] = factor
    return factors


def _from_prices(indicator: Indicator, prices: Mapping[str, FloatArray]) -> FloatArray:
    try:
        return indicator.compute(_RowInputs(indicator.inputs, prices)).value
    except _NeedsBarsError:
        tickers = " or ".join(sorted(level_tickers(indicator)))
        raise FeatureRequestError(
            f"{indicator.column}: a split of {tickers} changes it, and it cannot be computed again from the prices of "
            'its row; ask for basis="at_T"'
        ) from None


class _RowInputs(IndicatorInputs):
    """What a feature row tells about an indicator's inputs: their prices."""

    def __init__(self, inputs: tuple[str, ...], prices: Mapping[str, FloatArray]) -> None:
        super().__init__(inputs, {}, len(next(iter(prices.values()))))
        self._prices = prices

    def price(self, name: str) -> Quantity:
        values = self._prices[name]
        reasons = np.full(len(values), None, dtype=object)
        reasons[np.isnan(values)] = "missing"
        return Quantity(values, reasons, np.ones(len(values), dtype=np.bool_))

    def change_1d(self, name: str) -> Quantity:
        raise _NeedsBarsError(name)

    def close_before(self, name: str, sessions: int) -> Quantity:
        raise _NeedsBarsError(name, sessions)

    def same_session(self, first: str, second: str) -> BoolArray:
        raise _NeedsBarsError(first, second)

    def of_returns(
        self,
        first: str,
        second: str,
        sessions: int,
        statistic: Callable[[FloatArray, FloatArray], float],
        undefined: str,
    ) -> Quantity:
        raise _NeedsBarsError(first, second, sessions, statistic, undefined)


@lru_cache(maxsize=256)
def level_tickers(indicator: Indicator) -> frozenset[str]:
    """Return the tickers whose splits change the indicator's level, found by trying each of them.

    Doubling a ticker's prices and closes, which is exact in binary, leaves a ratio of the two as it is to the bit.
    """
    before = indicator.compute(_Probe(indicator.inputs, None)).value
    return frozenset(
        name
        for name in indicator.inputs
        if indicator.compute(_Probe(indicator.inputs, name)).value.tobytes() != before.tobytes()
    )


class _Probe(IndicatorInputs):
    """Made-up inputs, with the prices of one ticker doubled."""

    def __init__(self, inputs: tuple[str, ...], doubled: str | None) -> None:
        super().__init__(inputs, {}, len(_PROBED))
        self._level = {
            name: _PROBED * (number + 1.0) * (2.0 if name == doubled else 1.0) for number, name in enumerate(inputs)
        }

    def price(self, name: str) -> Quantity:
        return _known(self._level[name])

    def change_1d(self, name: str) -> Quantity:
        return _known(_PROBED / 100.0 * (1.0 + self._inputs.index(name)))

    def close_before(self, name: str, sessions: int) -> Quantity:
        return _known(self._level[name] * (1.0 + sessions / 1000.0))

    def same_session(self, first: str, second: str) -> BoolArray:
        return np.full(len(_PROBED), first in self._inputs and second in self._inputs)

    def of_returns(
        self,
        first: str,  # noqa: ARG002 - returns stand on no basis
        second: str,  # noqa: ARG002
        sessions: int,  # noqa: ARG002
        statistic: Callable[[FloatArray, FloatArray], float],  # noqa: ARG002
        undefined: str,  # noqa: ARG002
    ) -> Quantity:
        return _known(_PROBED / 1000.0)


_PROBED = np.array([0.73, 17.0, 431.0])


def _known(values: FloatArray) -> Quantity:
    return Quantity(values, np.full(len(values), None, dtype=object), np.ones(len(values), dtype=np.bool_))
