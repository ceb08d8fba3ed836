"""What the page shows, as plain values: sparklines, cells, words.

Belongs here: from the collector's state to what stands on the page. Does not belong here: HTML, reading the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.collection.calendar_map import MARKS
from market_assets.columns import METRICS, metric_column
from market_assets.store import DayState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from market_assets.indicators import Indicator
    from market_assets.reading import FeatureRow, MeasuredCorrelation
    from market_assets.universe import Ticker, Universe

#: what a curve covers, and how many points it has
SPARK_DAYS = 7
_SPARK_POINTS = 84
_WIDTH, _HEIGHT, _MARGIN = 100.0, 24.0, 2.0
#: steps of a correlation's colour on each side of zero
_STEPS = 5
_WORDS = {
    DayState.OK: "complete",
    DayState.CLOSED: "closed",
    DayState.HOLE_AT_SOURCE: "holes at the source",
    DayState.FETCH_FAILED: "not fetched",
    DayState.REVISED: "prices revised",
    DayState.LATE: "late",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A sparkline: points of an SVG polyline in a box of 100 x 24, and what it shows in words."""

    points: str
    words: str


@dataclass(frozen=True, slots=True)
class Value:
    """One feature."""

    name: str
    label: str
    text: str
    unit: str
    curve: Curve | None
    #: why it is NULL; empty if it is not
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TickerView:
    """One ticker: its three metrics, its age, its last days."""

    name: str
    description: str
    category: str
    #: ok, closed, old, failed or unknown
    state: str
    says: str
    age: str
    values: tuple[Value, ...]
    days: tuple[DayView, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class DayView:
    """One day of a ticker's coverage."""

    day: date
    #: name of the state, `unasked` if none was recorded
    state: str
    mark: str
    words: str


@dataclass(frozen=True, slots=True)
class IndicatorView:
    """One indicator."""

    title: str
    formula: str
    age: str
    value: Value


@dataclass(frozen=True, slots=True)
class Cell:
    """A correlation with its colour: -5 .. 5."""

    text: str
    step: int | None
    words: str


@dataclass(frozen=True, slots=True)
class CorrelationView:
    """A line of the heat map: the documented value first."""

    ticker: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class PageView:
    """Everything that the page shows."""

    #: good, bad or empty
    verdict: str
    headline: str
    problems: tuple[str, ...]
    at: datetime
    facts: tuple[tuple[str, str], ...]
    simulated: bool
    tickers: tuple[TickerView, ...] = ()
    indicators: tuple[IndicatorView, ...] = ()
    correlation_heads: tuple[str, ...] = ()
    correlations: tuple[CorrelationView, ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    runs: tuple[dict[str, Any], ...] = ()
    days: tuple[date, ...] = ()

    @property
    def groups(self) -> list[tuple[TickerView, ...]]:
        """The tickers with features, by category, in their order."""
        shown = (ticker for ticker in self.tickers if ticker.values)  # noqa: PD011 - no frame
        return [tuple(group) for _, group in groupby(shown, key=lambda ticker: ticker.category)]


def curve(series: pd.Series, name: str, days: int = SPARK_DAYS) -> Curve | None:
    """Return the sparkline of a feature over the last days; None if it has fewer than two values."""
    values = series.to_numpy(dtype=np.float64)
    step = max(1, len(values) // _SPARK_POINTS)
    # From the end: the newest value is always there.
    picked = values[::-1][::step][::-1]
    known = np.isfinite(picked)
    if known.sum() < 2:  # noqa: PLR2004 - a line has two ends
        return None
    low, high = float(picked[known].min()), float(picked[known].max())
    span = high - low
    across = np.linspace(0.0, _WIDTH, len(picked))
    up = (
        np.full(len(picked), _HEIGHT / 2)
        if span == 0
        else (_HEIGHT - _MARGIN - (picked - low) / span * (_HEIGHT - 2 * _MARGIN))
    )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across[known], up[known], strict=True))
    return Curve(points, f"{name} over {days} days: between {_number(low)} and {_number(high)}")


def values_of(names: Sequence[tuple[str, str, str]], row: FeatureRow, rows: pd.DataFrame) -> tuple[Value, ...]:
    """Return the views of features given as (name, label, unit)."""
    views = []
    for name, label, unit in names:
        value = row.values[name]  # noqa: PD011 - no frame
        reason = "" if value is not None else row.reasons.get(name, "no reason stored").replace("_", " ")
        text = "NULL" if value is None else _number(value, signed=label == "change")
        shown = curve(rows[name], name) if name in rows else None
        views.append(Value(name, label, text, unit, shown, reason))
    return tuple(views)


def ticker_view(
    ticker: Ticker, row: FeatureRow, rows: pd.DataFrame, state: Mapping[str, Any], days: Sequence[date]
) -> TickerView:
    """Return one ticker's view; `state` is what `status` tells of it."""
    units = {"price": ticker.unit, "change_1d": "%", "volatility": "% / day"}
    labels = {"price": "price", "change_1d": "change", "volatility": "volatility"}
    names = [(metric_column(ticker, metric), labels[metric], units[metric]) for metric in METRICS]
    views = values_of(names, row, rows) if ticker.is_feature else ()
    age = row.ages.get(ticker.name)
    error = (state.get("last_error") or {}).get("message", "")
    word, says = _ticker_state(ticker, views, age, error)
    return TickerView(
        name=ticker.name,
        description=ticker.description,
        category=ticker.category.value.replace("_", " "),
        state=word,
        says=says,
        age="" if age is None else age_words(age[0]),
        values=views,
        days=tuple(_day(day, state.get("days", {}).get(day.isoformat())) for day in days),
        error=error,
    )


def _ticker_state(
    ticker: Ticker, views: Sequence[Value], age: tuple[float, float, str] | None, error: str
) -> tuple[str, str]:
    if error:
        return "failed", "not collected"
    missing = [view for view in views if view.reason]
    if missing and len(missing) == len(views):
        return "old", missing[0].reason
    if age is None:
        return ("unknown", "no value yet") if ticker.is_feature else ("ok", "reference")
    if age[2] == "closed":
        return "closed", "market closed"
    if missing:
        return "old", f"{missing[0].label}: {missing[0].reason}"
    return "ok", "fresh"


def indicator_view(indicator: Indicator, row: FeatureRow, rows: pd.DataFrame) -> IndicatorView:
    """Return one indicator's view."""
    (value,) = values_of([(indicator.column, indicator.title, indicator.unit)], row, rows)
    ages = [row.ages[name][0] for name in indicator.inputs if name in row.ages]
    return IndicatorView(indicator.title, indicator.formula, age_words(max(ages)) if ages else "", value)


def correlation_views(
    measured: Mapping[str, Sequence[MeasuredCorrelation]], universe: Universe, windows: Sequence[int]
) -> tuple[tuple[str, ...], tuple[CorrelationView, ...]]:
    """Return the heads and lines of the heat map: documented, then each crypto reference and window."""
    value = {(crypto, one.ticker, one.sessions): one for crypto, found in measured.items() for one in found}
    columns = [(crypto.name, sessions) for crypto in universe.crypto for sessions in windows]
    heads = ("said", *(f"{crypto} {sessions}" for crypto, sessions in columns))
    lines = []
    for ticker in universe.features:
        cells = [_cell(ticker.documented_crypto_correlation, f"{ticker.name}: documented")]
        for crypto, sessions in columns:
            one = value.get((crypto, ticker.name, sessions))
            told = f"{ticker.name} with {crypto} over {sessions} sessions"
            cells.append(_cell(None if one is None else one.correlation, told))
        lines.append(CorrelationView(ticker.name, tuple(cells)))
    return heads, tuple(lines)


def age_words(minutes: float) -> str:
    """Return an age in words: `5 min`, `3 h`, `2 days`."""
    whole = int(minutes)
    if whole < 120:  # noqa: PLR2004 - two hours
        return f"{whole} min"
    hours = whole // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 - two days


def next_tick(now: datetime, interval: timedelta, settle: timedelta) -> datetime:
    """Return when the next scheduled collection starts: on the UTC grid, the settle minutes later."""
    epoch = datetime(1970, 1, 1, tzinfo=now.tzinfo)
    return epoch + ((now - settle - epoch) // interval + 1) * interval + settle


def _day(day: date, state: str | None) -> DayView:
    if state is None:
        return DayView(day, "unasked", "", f"{day}: not asked for")
    known = DayState(state)
    return DayView(day, known.value, MARKS[known], f"{day}: {_WORDS[known]}")


def _cell(value: float | None, told: str) -> Cell:
    if value is None:
        return Cell("-", None, f"{told}: none")
    return Cell(f"{value:+.2f}", round(value * _STEPS), f"{told}: {value:+.2f}")


def _number(value: float, *, signed: bool = False) -> str:
    text = f"{value:.5g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - then digits after the point say little
    return f"+{text}" if signed and value > 0 else text
