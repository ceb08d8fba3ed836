"""The feature row: every metric and every indicator at each observation time.

Belongs here: assembling rows and what is stored beside the numbers. Does not belong here: what a metric or an indicator
means (`metrics.py`, `indicators/`), reading bars, writing rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.columns import METRICS, core_columns, feature_columns, metric_column
from market_assets.indicators import INDICATORS, IndicatorInputs
from market_assets.maths.arrays import utc_index
from market_assets.maths.bars import NO_BARS
from market_assets.maths.quantity import Quantity
from market_assets.metrics import METRIC_SESSIONS, StalenessLimits, TickerSeries, lookback_days
from market_assets.row_texts import age_texts, basis_texts, reason_texts, resolution_texts
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from market_assets.indicators import Indicator
    from market_assets.maths.arrays import IntArray
    from market_assets.metrics import TickerLog, TickerMetrics
    from market_assets.universe import Universe

#: raised by hand when the computation changes in a way that the definitions' texts do not show
COMPUTATION_VERSION = 1

#: what each metric is, by name: (definition, unit); a unit of None is the ticker's own
METRIC_DEFINITIONS = {
    "price": ("close of the last completed bar, on the basis in force at T", None),
    "change_1d": (
        "100 x ((price + dividend with ex-date of the price's session) / close of the session before - 1)",
        "%",
    ),
    "volatility": (
        "100 x standard deviation (ddof 1) of the 20 daily log total returns of the last 21 completed sessions",
        "% per day",
    ),
}


#: how many days of bars in front of T a feature row needs
FEATURE_LOOKBACK_DAYS = lookback_days(max(METRIC_SESSIONS, *(indicator.lookback_sessions for indicator in INDICATORS)))


def definition_hash(column: str, universe: Universe = UNIVERSE, indicators: Sequence[Indicator] = INDICATORS) -> str:
    """Return a short hash that changes when the definition of a feature column does; raise KeyError if unknown."""
    for indicator in indicators:
        if indicator.column == column:
            return _hash(indicator.formula, indicator.unit, *indicator.inputs)
    for ticker in universe.features:
        for metric in METRICS:
            if metric_column(ticker, metric) == column:
                definition, unit = METRIC_DEFINITIONS[metric]
                lag, inverted = ticker.feed_lag, ticker.inverted
                return _hash(definition, unit or ticker.unit, ticker.yahoo_symbol, ticker.venue, lag, inverted)
    raise KeyError(f"unknown feature column {column!r}")


def feature_version(
    universe: Universe = UNIVERSE, indicators: Sequence[Indicator] = INDICATORS, interval_minutes: int = 30
) -> str:
    """Return the version of the whole row: a hash over the definitions of all of its columns.

    The collection interval is part of it, because it sets when a value is stale: a row says which one it was made with.
    """
    columns = feature_columns(universe, indicators)
    definitions = (f"{column}={definition_hash(column, universe, indicators)}" for column in columns)
    return _hash(*definitions, StalenessLimits.for_interval(interval_minutes))


def _hash(*parts: object) -> str:
    text = "\n".join(str(part) for part in (COMPUTATION_VERSION, *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows:
    """Feature rows, one per observation time, in the order the times were given."""

    at_us: IntArray
    universe: Universe
    indicators: tuple[Indicator, ...]
    interval_minutes: int
    #: by column, in column order
    quantities: dict[str, Quantity]
    #: by ticker, in universe order; tickers without a log are absent
    tickers: dict[str, TickerMetrics]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as columns of the table `ml_features`.

        observed_at (datetime64[us, UTC]); one float64 per feature, NaN for NULL; feature_count and core_count (int64):
        how many of all, and of the core, columns are known and fresh; then the compact JSON texts of `row_texts.py`
        (reasons, ages, resolution, basis), and feature_version.
        """
        counts = {column: quantity.counts for column, quantity in self.quantities.items()}
        core = core_columns(self.universe, self.indicators)
        frame: dict[str, object] = {"observed_at": utc_index(self.at_us)}
        frame |= {column: quantity.value for column, quantity in self.quantities.items()}
        frame["feature_count"] = np.sum(list(counts.values()), axis=0, dtype=np.int64)
        frame["core_count"] = np.sum([counts[column] for column in core], axis=0, dtype=np.int64)
        frame["reasons"] = reason_texts(self.universe, self.quantities, self.tickers)
        frame["ages"] = age_texts(self.tickers, len(self.at_us))
        frame["resolution"] = resolution_texts(self.tickers, len(self.at_us))
        frame["basis"] = basis_texts(self.tickers, len(self.at_us))
        frame["feature_version"] = feature_version(self.universe, self.indicators, self.interval_minutes)
        return pd.DataFrame(frame)


def compute_feature_rows(
    logs: Mapping[str, TickerLog],
    at_us: IntArray,
    *,
    interval_minutes: int = 30,
    universe: Universe = UNIVERSE,
    indicators: Sequence[Indicator] | None = None,
) -> FeatureRows:
    """Compute the feature row at each observation time.

    Args:
        logs: by ticker name; of the bars at least those from `FEATURE_LOOKBACK_DAYS` before the first T on. Metrics of
            tickers without a log, and what needs them, are NULL with the reason `no_bars`.
        at_us: observation times, microseconds since the epoch, UTC, in any order.
        interval_minutes: the collection interval; sets the limits of staleness.
        universe: whose feature tickers make up the row.
        indicators: defaults to the registry.

    Raises:
        ValueError: two bars share ticker, interval and start.
        NaiveTimestampError: a time column has no time zone.
    """
    at_us = np.ascontiguousarray(at_us, dtype=np.int64)
    chosen = INDICATORS if indicators is None else tuple(indicators)
    names = [ticker.name for ticker in universe.features]
    metrics = _metrics(logs, names, at_us, interval_minutes)
    quantities: dict[str, Quantity] = {}
    for ticker in universe.features:
        for metric in METRICS:
            quantities[metric_column(ticker, metric)] = (
                getattr(metrics[ticker.name], metric)
                if ticker.name in metrics
                else Quantity.missing(len(at_us), NO_BARS)
            )
    for indicator in chosen:
        quantities[indicator.column] = _indicator(indicator, metrics, len(at_us))
    return FeatureRows(at_us, universe, chosen, interval_minutes, quantities, metrics)


def compute_indicator(
    indicator: Indicator, logs: Mapping[str, TickerLog], at_us: IntArray, *, interval_minutes: int = 30
) -> pd.DataFrame:
    """Compute one indicator at each observation time, to the bit as the feature row has it.

    `logs` needs the indicator's inputs only, from `indicator.lookback_days` before the first T on. Returns the columns
    indicator, observed_at (datetime64[us, UTC]), value (NaN for NULL) and reason (None beside a value).
    """
    at_us = np.ascontiguousarray(at_us, dtype=np.int64)
    quantity = _indicator(indicator, _metrics(logs, indicator.inputs, at_us, interval_minutes), len(at_us))
    return pd.DataFrame(
        {
            "indicator": indicator.name,
            "observed_at": utc_index(at_us),
            "value": quantity.value,
            "reason": pd.Series(quantity.reasons, dtype=object),
        }
    )


def _metrics(
    logs: Mapping[str, TickerLog], names: Iterable[str], at_us: IntArray, interval_minutes: int
) -> dict[str, TickerMetrics]:
    limits = StalenessLimits.for_interval(interval_minutes)
    return {name: TickerSeries.prepare(logs[name]).at(at_us, limits) for name in names if name in logs}


def _indicator(indicator: Indicator, metrics: Mapping[str, TickerMetrics], length: int) -> Quantity:
    return indicator.compute(IndicatorInputs(indicator.inputs, metrics, length))
