"""Names and order of the feature columns, derived from the universe and the indicator registry.

Belongs here: column names. Does not belong here: values, SQL types, tables.

Order is part of the contract: feature tickers in universe order, each with price, change_1d and volatility, then the
indicators in their documented order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.indicators import Indicator
    from market_assets.universe import Ticker, Universe

#: the metrics of a ticker, in column order
METRICS = ("price", "change_1d", "volatility")
#: a second name of the VIX price; it exists in the crypto table and in the client only, never in the feature row
VIX_FEAR_INDEX = "ml_vix_fear_index"
#: the column that `ml_vix_fear_index` repeats
VIX_FEAR_INDEX_SOURCE = "ml_vix_price"
#: columns of the crypto table that hold a correlation, and the ticker it is taken with
CORRELATION_COLUMNS = {
    "ml_nasdaq_correlation": "QQQ",
    "ml_arkk_correlation": "ARKK",
    "ml_gold_correlation": "GLD",
}


def metric_column(ticker: Ticker, metric: str) -> str:
    """Return the column of one metric of one ticker, e.g. `ml_qqq_change_1d`."""
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
    return f"{ticker.column_prefix}_{metric}"


def ticker_columns(ticker: Ticker) -> tuple[str, ...]:
    """Return the metric columns of one ticker, in order."""
    return tuple(metric_column(ticker, metric) for metric in METRICS)


def metric_columns(universe: Universe = UNIVERSE) -> tuple[str, ...]:
    """Return the metric columns of every feature ticker, in order."""
    return tuple(column for ticker in universe.features for column in ticker_columns(ticker))


def indicator_columns(indicators: Sequence[Indicator] = INDICATORS) -> tuple[str, ...]:
    """Return the columns of the indicators, in order."""
    return tuple(indicator.column for indicator in indicators)


def feature_columns(universe: Universe = UNIVERSE, indicators: Sequence[Indicator] = INDICATORS) -> tuple[str, ...]:
    """Return every column of the feature row, in order (58 for the documented universe)."""
    return metric_columns(universe) + indicator_columns(indicators)


def core_columns(universe: Universe = UNIVERSE, indicators: Sequence[Indicator] = INDICATORS) -> tuple[str, ...]:
    """Return the core columns: metrics of the core tickers and every indicator (43 for the documented universe)."""
    core = tuple(column for ticker in universe.features if ticker.is_core for column in ticker_columns(ticker))
    return core + indicator_columns(indicators)
