"""The texts of a feature row: why something is NULL, how old its inputs are, and what they stand on.

Belongs here: writing and reading these texts. Does not belong here: the numbers they are about (`metrics.py`).

All are compact JSON objects with keys in universe order; equal rows have equal texts.

* reasons: `{"null": {key: reason}, "notes": {ticker: "note,note"}}`, empty parts left out. A key under `null` is a
  column, or a ticker where all of its metrics are NULL for the same reason (`null_reasons` spells them out).
* ages: `{ticker: [minutes since the end of the bar that gives the price, open-market minutes of staleness, state]}`;
  the state of the venue at T is `open` or `closed`. While it is closed the last session's values carry.
* resolution: `{ticker: interval of that bar}`.
* basis: `{ticker: ex-date of its last split in force}`, only where there is one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from market_assets.columns import METRICS, metric_column, ticker_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from market_assets.maths.arrays import FloatArray
    from market_assets.maths.quantity import Quantity
    from market_assets.metrics import TickerMetrics
    from market_assets.universe import Universe

_OPEN, _CLOSED = "open", "closed"


def null_reasons(reasons: str, universe: Universe) -> dict[str, str]:
    """Return the reason of each NULL column of a row's `reasons` text."""
    spelled: dict[str, str] = {}
    for key, reason in json.loads(reasons).get("null", {}).items():
        columns = ticker_columns(universe[key]) if key in universe else (key,)
        spelled.update(dict.fromkeys(columns, reason))
    return spelled


def notes(reasons: str) -> dict[str, list[str]]:
    """Return the notes of each ticker of a row's `reasons` text."""
    return {ticker: text.split(",") for ticker, text in json.loads(reasons).get("notes", {}).items()}


def reason_texts(
    universe: Universe, quantities: Mapping[str, Quantity], tickers: Mapping[str, TickerMetrics]
) -> list[str]:
    """Return the text of each row."""
    length = len(next(iter(quantities.values())).value)
    nulls: list[list[str]] = [[] for _ in range(length)]
    remaining = dict(quantities)
    for ticker in universe.features:
        metrics = [remaining.pop(metric_column(ticker, metric)) for metric in METRICS]
        _append(nulls, ticker.name, ticker_columns(ticker), metrics)
    for column, quantity in remaining.items():
        _append(nulls, column, (column,), [quantity])
    noted: list[list[str]] = [[] for _ in range(length)]
    for name, ticker_metrics in tickers.items():
        for row, note in _said(ticker_metrics.notes.tolist()):
            noted[row].append(f'"{name}":"{note}"')
    return [
        _object(
            part
            for part in (
                f'"null":{_object(null)}' if null else "",
                f'"notes":{_object(note)}' if note else "",
            )
            if part
        )
        for null, note in zip(nulls, noted, strict=True)
    ]


def age_texts(tickers: Mapping[str, TickerMetrics], length: int) -> list[str]:
    """Return the text of each row."""

    def values(metrics: TickerMetrics) -> list[str | None]:
        state = np.where(metrics.is_open, _OPEN, _CLOSED).tolist()
        return [
            None if age is None else f'[{age},{stale},"{now}"]'
            for age, stale, now in zip(
                _minutes(metrics.age_minutes), _minutes(metrics.stale_minutes), state, strict=True
            )
        ]

    return _per_ticker(tickers, length, values)


def resolution_texts(tickers: Mapping[str, TickerMetrics], length: int) -> list[str]:
    """Return the text of each row."""

    def values(metrics: TickerMetrics) -> list[str | None]:
        return [None if interval is None else f'"{interval}"' for interval in metrics.resolution.tolist()]

    return _per_ticker(tickers, length, values)


def basis_texts(tickers: Mapping[str, TickerMetrics], length: int) -> list[str]:
    """Return the text of each row."""

    def values(metrics: TickerMetrics) -> list[str | None]:
        ex_days = [None, *(f'"{day}"' for day in metrics.series.closes.splits.ex_day.tolist())]
        return [ex_days[count] for count in metrics.splits_in_force.tolist()]

    return _per_ticker(tickers, length, values)


def _append(nulls: list[list[str]], name: str, columns: Sequence[str], quantities: Sequence[Quantity]) -> None:
    """Add what is NULL among `columns` to each row; under `name` alone if all of them are for one reason."""
    if not any(quantity.is_null.any() for quantity in quantities):
        return
    texts: dict[tuple[str | None, ...], str] = {}
    for row, reasons in enumerate(zip(*(quantity.reasons.tolist() for quantity in quantities), strict=True)):
        if reasons not in texts:
            named = {name: reasons[0]} if len(set(reasons)) == 1 else dict(zip(columns, reasons, strict=True))
            texts[reasons] = ",".join(f'"{key}":{json.dumps(reason)}' for key, reason in named.items() if reason)
        if texts[reasons]:
            nulls[row].append(texts[reasons])


def _said(texts: list[str | None]) -> list[tuple[int, str]]:
    return [(row, text) for row, text in enumerate(texts) if text is not None]


def _minutes(minutes: FloatArray) -> list[int | float | None]:
    """Return whole minutes as int, parts of minutes as float, NaN as None."""
    return [
        None if value != value else int(value) if value.is_integer() else value  # noqa: PLR0124 (NaN)
        for value in minutes.tolist()
    ]


def _per_ticker(
    tickers: Mapping[str, TickerMetrics], length: int, values: Callable[[TickerMetrics], list[str | None]]
) -> list[str]:
    """Return `{ticker: value}` per row, tickers without a value left out."""
    columns = [
        [None if value is None else f'"{name}":{value}' for value in values(metrics)]
        for name, metrics in tickers.items()
    ]
    if not columns:
        return ["{}"] * length
    return [_object(part for part in row if part) for row in zip(*columns, strict=True)]


def _object(parts: Iterable[str]) -> str:
    return "{" + ",".join(parts) + "}"
