"""Derive the plausible range of every indicator from daily closes.

    python scripts/derive_plausible_ranges.py DIRECTORY

DIRECTORY holds CSV files (plain or gzipped) with the columns symbol, date, close: split-adjusted daily closes of the
indicators' inputs. Files and symbols of other kinds are passed over. The ranges in `market_assets/indicators/` come
from closes of 2017-06 to 2026-07; a value outside of its range is a reason to look, never an error.

Each observed range is widened by half: a quarter of its width at either end, for ratios on the logarithmic scale.
Dividends are left out: they move the credit spread by less than its range is widened.
"""

from __future__ import annotations

import math
import sys
from datetime import time
from pathlib import Path

import numpy as np
import pandas as pd

from market_assets.calendars import to_us, venue_calendar
from market_assets.features import compute_indicator
from market_assets.indicators import INDICATORS, Indicator
from market_assets.metrics import TickerLog
from market_assets.universe import UNIVERSE

#: New York time at which every input's session is completed and its venue closed
_EVENING = time(17, 30)
_WIDENED_BY = 0.25
_NO_ACTIONS = pd.DataFrame(columns=["kind", "ex_date", "value", "basis"])


def read_closes(directory: Path) -> dict[str, pd.Series]:
    """Return the closes by date of every ticker of the universe that a file in `directory` has."""
    parts = []
    for path in sorted(directory.glob("*.csv*")):
        frame = pd.read_csv(path, parse_dates=["date"])
        if {"symbol", "date", "close"} <= set(frame.columns):
            parts.append(frame[["symbol", "date", "close"]])
    rows = pd.concat(parts).drop_duplicates(["symbol", "date"])
    return {str(name): part.set_index("date")["close"] for name, part in rows.groupby("symbol") if name in UNIVERSE}


def daily_log(name: str, closes: pd.Series) -> TickerLog:
    """Return a ticker's log of 1d bars; closes on days without a session are left out."""
    ticker = UNIVERSE[name]
    table = venue_calendar(ticker.venue).sessions(closes.index.min().date(), closes.index.max().date())
    known = closes.reindex(pd.DatetimeIndex(table.label)).to_numpy()
    bars = pd.DataFrame(
        {
            "ticker": name,
            "interval": "1d",
            "bar_start": pd.to_datetime(table.open_us, unit="us", utc=True),
            "bar_end": pd.to_datetime(table.close_us, unit="us", utc=True),
            "close": known,
            "basis": 1.0,
        }
    )
    return TickerLog(ticker, bars[~np.isnan(known)], _NO_ACTIONS)


def widened(indicator: Indicator, low: float, high: float) -> tuple[float, float]:
    """Return the observed range, half as wide again."""
    if indicator.unit == "ratio":
        factor = (high / low) ** _WIDENED_BY
        return low / factor, high * factor
    step = (high - low) * _WIDENED_BY
    if indicator.unit == "correlation":
        return max(low - step, -1.0), min(high + step, 1.0)
    return low - step, high + step


def rounded_outward(low: float, high: float) -> tuple[float, float]:
    """Return the range with two significant digits, never narrower."""

    def to_digits(value: float, direction: float) -> float:
        if value == 0.0:
            return 0.0
        unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
        return round((math.floor if direction < 0.0 else math.ceil)(round(value / unit, 9)) * unit, 12)

    return to_digits(low, -1.0), to_digits(high, 1.0)


def main(directory: Path) -> None:
    """Print the observed and the plausible range of every indicator."""
    closes = read_closes(directory)
    for indicator in INDICATORS:
        missing = [name for name in indicator.inputs if name not in closes]
        if missing:
            sys.stdout.write(f"{indicator.name}: no closes of {', '.join(missing)}\n")
            continue
        logs = {name: daily_log(name, closes[name]) for name in indicator.inputs}
        days = sorted(set.intersection(*(set(pd.DatetimeIndex(closes[name].index).date) for name in indicator.inputs)))
        instants = [pd.Timestamp.combine(day, _EVENING).tz_localize("America/New_York") for day in days]
        at_us = np.array([to_us(instant.to_pydatetime()) for instant in instants], dtype=np.int64)
        value = compute_indicator(indicator, logs, at_us)["value"].dropna()
        low, high = rounded_outward(*widened(indicator, value.min(), value.max()))
        sys.stdout.write(
            f"{indicator.name}: {len(value)} values from {days[0]} to {days[-1]}, "
            f"observed {value.min():.4g} to {value.max():.4g}, plausible=({low!r}, {high!r})\n"
        )


if __name__ == "__main__":
    if len(sys.argv) != len(["script", "DIRECTORY"]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
