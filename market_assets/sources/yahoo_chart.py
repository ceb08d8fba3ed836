"""Yahoo's chart answer (v8), taken apart: rows, dividends, splits and what it says about itself.

Belongs here: the wire format. Does not belong here: requests (`yahoo.py`) and which rows are bars (`clean.py`).

The body is read here and not by `yfinance.Ticker.history`, because that loses what decides about a row: it reduces a
daily stamp to its date (an FX live row then passes for the day), keeps the live row of two rows of one day, merges an
intraday live row into the bar before it, fills a missing volume with 0, fails on bodies without `tradingPeriods`,
reports 401, 404 and 500 alike as missing prices, and costs four times the CPU (19 ms against 5 for a day of 15m bars).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from market_assets.sources.base import ACTION_COLUMNS
from market_assets.sources.clean import RawRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_US_PER_SECOND = 1_000_000
#: other spellings of an interval in an answer
_GRANULARITY_ALIASES = {"60m": "1h"}


class ChartFormatError(ValueError):
    """The body is not what the protocol says."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart answer."""

    symbol: str
    #: length of the bars as the answer states it (`15m`, `1h`, `1d`), None if it does not
    granularity: str | None
    rows: RawRows
    #: cash per share by ex-date in venue time, capital gains included
    dividends: dict[date, float]
    #: new shares per old by ex-date in venue time
    splits: dict[date, float]

    def actions(self, first: date, last: date) -> pd.DataFrame:
        """Return the dividends and splits with ex-date in [first, last], ACTION_COLUMNS, sorted by kind and date."""
        found = [
            (kind, ex_date, value)
            for kind, by_date in (("dividend", self.dividends), ("split", self.splits))
            for ex_date, value in sorted(by_date.items())
            if first <= ex_date <= last
        ]
        kinds, dates, values = zip(*found, strict=True) if found else ((), (), ())
        columns = (
            pd.Series(kinds, dtype=object),
            pd.Series(dates, dtype=object),
            pd.Series(values, dtype=np.float64),
        )
        return pd.DataFrame(dict(zip(ACTION_COLUMNS, columns, strict=True)))


def parse_chart(body: bytes) -> Chart:
    """Take a chart answer with status 200 apart.

    Raises:
        ChartFormatError: the body is not what the protocol says.
    """
    try:
        answer = json.loads(body)
    except ValueError as error:
        start = body[:60].decode("utf-8", "replace").strip()
        raise ChartFormatError(f"the body ({len(body)} bytes) is no JSON: {start!r}") from error
    try:
        return _parse_result(answer["chart"]["result"][0])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ZoneInfoNotFoundError) as error:
        start = body[:200].decode("utf-8", "replace").strip()
        raise ChartFormatError(f"the answer lacks or misstates a field: {error!r} in {start!r}") from error


def _parse_result(result: dict[str, Any]) -> Chart:
    meta = result["meta"]
    zone = ZoneInfo(meta["exchangeTimezoneName"])
    granularity = meta.get("dataGranularity")
    events = result.get("events") or {}
    return Chart(
        symbol=str(meta["symbol"]),
        granularity=_GRANULARITY_ALIASES.get(granularity, granularity),
        rows=_parse_rows(result, zone, meta.get("regularMarketTime")),
        dividends=_distributions(events, zone),
        splits=_splits(events, zone),
    )


def _parse_rows(result: dict[str, Any], zone: ZoneInfo, last_trade: float | None) -> RawRows:
    quote = result["indicators"]["quote"][0]
    stamps = np.array(result.get("timestamp") or [], dtype=np.int64) * _US_PER_SECOND
    columns: dict[str, NDArray[np.float64]] = {}
    for name in ("open", "high", "low", "close", "volume"):
        # an answer without rows has an empty quote; None becomes NaN
        column = np.array(quote.get(name, []), dtype=np.float64)
        if column.shape != stamps.shape:
            raise ValueError(f"{len(stamps)} timestamps but {column.size} values of {name}")
        columns[name] = column
    return RawRows(
        stamps, **columns, zone=zone, last_trade_us=None if last_trade is None else int(last_trade) * _US_PER_SECOND
    )


def _distributions(events: dict[str, Any], zone: ZoneInfo) -> dict[date, float]:
    """Return cash per share by ex-date.

    Capital gains are cash to the holder like any dividend. Yahoo lists them by themselves and, since 2025 at the
    latest, also inside the dividend of the same day (yfinance issue 2666: VWILX, dividend 7.857 of which gain 6.42). A
    dividend below the gain cannot contain it: only then the gain is added.
    """
    dividends = _by_date(((event["date"], event["amount"]) for event in _values(events, "dividends")), zone)
    gains = _by_date(((event["date"], event["amount"]) for event in _values(events, "capitalGains")), zone)
    paid = {ex_date: math.fsum(amounts) for ex_date, amounts in dividends.items()}
    for ex_date, amounts in gains.items():
        gain = math.fsum(amounts)
        dividend = paid.get(ex_date, 0.0)
        if dividend < gain:
            paid[ex_date] = dividend + gain
    return paid


def _splits(events: dict[str, Any], zone: ZoneInfo) -> dict[date, float]:
    ratios = (
        (event["date"], _positive(event["numerator"]) / _positive(event["denominator"]))
        for event in _values(events, "splits")
    )
    return {ex_date: math.prod(several) for ex_date, several in _by_date(ratios, zone).items()}


def _values(events: dict[str, Any], kind: str) -> Iterable[dict[str, Any]]:
    """Return the events of one kind; Yahoo keys them by their stamp."""
    found: dict[str, dict[str, Any]] = events.get(kind) or {}
    return found.values()


def _by_date(pairs: Iterable[tuple[float, float]], zone: ZoneInfo) -> dict[date, list[float]]:
    """Group (stamp in seconds, value) by the date of the stamp in `zone`; one day can have several events."""
    found: defaultdict[date, list[float]] = defaultdict(list)
    for stamp, value in pairs:
        number = float(value)
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"event at {stamp} has the value {value!r}")
        if number == 0:  # nothing was paid
            continue
        found[datetime.fromtimestamp(int(stamp), UTC).astimezone(zone).date()].append(number)
    return found


def _positive(value: float) -> float:
    number = float(value)
    if not number > 0:
        raise ValueError(f"a split is stated with {value!r}")
    return number
