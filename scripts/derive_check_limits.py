"""Derive the limits of the asset checks from real prices.

    python scripts/derive_check_limits.py DIRECTORY

DIRECTORY holds CSV files (plain or gzipped), in any folder, of two kinds: daily rows (symbol, date, open, high, low,
close, volume where there is one; or a wide table of date and closes) and intraday rows (symbol, ts_utc, ...) of one,
five or thirty minutes. Symbols are Yahoo's, names of the universe, or `BTCUSDT` and the like. Rows outside of sessions
are passed over.

What it prints stands beside the limits in `checks/`: the largest jump, level and standstill of every ticker as the
checks themselves measure them, what is beyond the limits, the quarter hours that are missing of each day, how late the
last bar is at half-hourly ticks, the part of the dollar index that the currencies held do not explain, and how far a
currency's daily row is from another source's price at 00:00 London.
"""

from __future__ import annotations

import math
import sys
from datetime import UTC, date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE, to_us, venue_calendar
from market_assets.checks.identities import DXY_FACTOR, DXY_WEIGHTS
from market_assets.checks.movement import Movement, examine
from market_assets.collection.days import DayRange
from market_assets.maths.arrays import instants_us
from market_assets.maths.bars import Bars, PriceBars
from market_assets.universe import UNIVERSE, Ticker

_PRICES = ["open", "high", "low", "close"]
_NAMES = {
    **{ticker.yahoo_symbol: ticker.name for ticker in UNIVERSE},
    **{ticker.name: ticker.name for ticker in UNIVERSE},
    "USDJPY": "JPYUSD",
    "BTCUSDT": "BTC",
    "ETHUSDT": "ETH",
}
_NO_ACTIONS = pd.DataFrame(columns=["kind", "ex_date", "value", "basis"])
_BAR = "15min"
#: splits after which the daily rows were adjusted and the intraday rows had been taken
_SPLITS = {"USO": (date(2020, 4, 29), 0.125)}
_WIDENED_BY = 0.25
_LATE_MINUTES = 15
_TICK_US, _AFTER_TICK_US = 30 * US_PER_MINUTE, US_PER_MINUTE


def read(directory: Path) -> tuple[dict[str, dict[str, pd.DataFrame]], dict[str, dict[str, pd.DataFrame]]]:
    """Return daily and intraday rows, each by file and name in the universe, in the published orientation."""
    daily: dict[str, dict[str, pd.DataFrame]] = {}
    intraday: dict[str, dict[str, pd.DataFrame]] = {}
    for path in sorted(directory.rglob("*.csv*")):
        frame = pd.read_csv(path)
        if "date" in frame.columns and "symbol" not in frame.columns:
            frame = frame.melt(id_vars="date", var_name="symbol", value_name="close")
        time = "date" if "date" in frame.columns else "ts_utc"
        frame[time] = pd.to_datetime(frame[time], utc=time == "ts_utc")
        for name in [*_PRICES, "volume"]:
            if name not in frame.columns:
                frame[name] = math.nan
        found = {
            _NAMES[str(symbol)]: _oriented(UNIVERSE[_NAMES[str(symbol)]], str(symbol), rows.set_index(time))
            for symbol, rows in frame.dropna(subset="close").groupby("symbol")
            if symbol in _NAMES
        }
        (daily if time == "date" else intraday)[path.name] = found
    return daily, intraday


def _oriented(ticker: Ticker, symbol: str, rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[[*_PRICES, "volume"]].sort_index()
    if ticker.inverted and symbol != ticker.name:
        rows = rows.assign(
            open=1.0 / rows["open"], high=1.0 / rows["low"], low=1.0 / rows["high"], close=1.0 / rows["close"]
        )
    return rows[~rows.index.duplicated()]


def daily_bars(ticker: Ticker, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows by date as 1d bars of the ticker; dates without a session are left out."""
    calendar = venue_calendar(ticker.venue)
    first, last = (to_us(day.to_pydatetime().replace(tzinfo=UTC)) for day in (rows.index[0], rows.index[-1]))
    starts, ends = calendar.expected_bars("1d", first - US_PER_DAY, last + 2 * US_PER_DAY)
    dates = pd.DatetimeIndex(((starts + ends) // 2 // US_PER_DAY).astype("datetime64[D]"))
    there = dates.isin(rows.index)
    return _frame(ticker, "1d", starts[there], ends[there], rows.loc[dates[there]])


def intraday_bars(ticker: Ticker, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows by instant as 15m bars of the ticker's sessions; half-hourly rows as they are, at half the number."""
    groups = rows.resample(_BAR)
    bars = pd.DataFrame(
        {
            "open": groups["open"].first(),
            "high": groups["high"].max(),
            "low": groups["low"].min(),
            "close": groups["close"].last(),
            "volume": groups["volume"].sum(),
        }
    ).dropna(subset="close")
    at_us = np.array([to_us(instant.to_pydatetime()) for instant in bars.index], dtype=np.int64)
    starts, ends = venue_calendar(ticker.venue).expected_bars("15m", int(at_us[0]), int(at_us[-1]) + 1)
    there = np.isin(at_us, starts)
    ends = ends[np.isin(starts, at_us)]
    return _frame(ticker, "15m", at_us[there], ends, bars[there])


def _frame(ticker: Ticker, interval: str, starts: np.ndarray, ends: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    times = {
        name: pd.to_datetime(values, unit="us", utc=True) for name, values in (("bar_start", starts), ("bar_end", ends))
    }
    values = {name: rows[name].to_numpy(np.float64) for name in [*_PRICES, "volume"]}
    return pd.DataFrame({"ticker": ticker.name, "interval": interval, **times, **values, "basis": 1.0})


def examined(ticker: Ticker, bars: pd.DataFrame, past: pd.DataFrame | None = None) -> Movement:
    """Examine every bar; intraday ones against the daily bars of `past`, which are adjusted for splits."""
    days = DayRange(bars["bar_start"].min().date(), bars["bar_start"].max().date())
    everything = bars if past is None else pd.concat([past, bars], ignore_index=True)
    actions = _NO_ACTIONS
    if past is not None and ticker.name in _SPLITS:
        ex_date, ratio = _SPLITS[ticker.name]
        actions = pd.DataFrame({"kind": ["split"], "ex_date": [ex_date], "value": [ratio], "basis": [1.0]})
        adjusted = (everything["interval"] == "1d") & (everything["bar_start"].dt.date < ex_date)
        everything = everything.assign(basis=np.where(adjusted, ratio, 1.0))
    return examine(ticker, everything, actions, days, intervals=[bars["interval"].iloc[0]])


def missing_by_day(ticker: Ticker, bars: pd.DataFrame) -> pd.DataFrame:
    """Return by UTC day how many 15m bars are `missing` of those `expected`, from the first whole day to the last."""
    held = instants_us(bars["bar_start"])
    first, last = int(held[0]) // US_PER_DAY + 1, int(held[-1]) // US_PER_DAY
    starts, _ = venue_calendar(ticker.venue).expected_bars("15m", first * US_PER_DAY, last * US_PER_DAY)
    days = pd.DataFrame({"day": starts // US_PER_DAY, "missing": ~np.isin(starts, held)})
    return days.groupby("day")["missing"].agg(["sum", "count"]).set_axis(["missing", "expected"], axis=1)


def lateness(ticker: Ticker, bars: pd.DataFrame) -> np.ndarray:
    """Return the staleness in open-market minutes at each half-hourly tick of the recording, venue open."""
    calendar = venue_calendar(ticker.venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    held = instants_us(bars["bar_start"])
    ticks = np.arange((int(held[0]) // US_PER_DAY + 1) * US_PER_DAY, int(held[-1]) // US_PER_DAY * US_PER_DAY, _TICK_US)
    ticks = ticks[calendar.is_open(ticks)] + _AFTER_TICK_US
    return PriceBars.of(ticker, Bars.from_frame(bars, table), calendar).choose(ticks).stale_minutes


def dollar_remainder(daily: dict[str, pd.Series], *, shifted: bool) -> pd.Series:
    """Return what is left of the dollar index at daily closes once the rates held are taken out.

    `shifted`: the currencies' rows close at the start of their day, so that the next row goes with an index close.
    """
    rates = pd.DataFrame({name: daily[name] for name in DXY_WEIGHTS}).dropna()
    if shifted:
        rates = rates.shift(-1).dropna()
    basket = DXY_FACTOR * np.exp(sum(weight * np.log(rates[name]) for name, weight in DXY_WEIGHTS.items()))
    return (daily["DXY"] / basket).dropna()


def daily_against(daily: pd.Series, intraday: pd.DataFrame) -> pd.Series:
    """Return the relative distance of a currency's daily rows from another source's price at 00:00 London."""
    found = {}
    for day, close in daily.items():
        at = day.tz_localize("Europe/London").tz_convert(UTC)
        near = intraday.loc[(intraday.index >= at) & (intraday.index < at + timedelta(hours=1))]
        if not near.empty:
            found[day] = abs(close / near["close"].iloc[0] - 1.0)
    return pd.Series(found)


def main(directory: Path) -> None:
    """Print what the limits stand on."""
    daily, intraday = read(directory)
    _print_movements(daily, intraday)
    closes = {file: {name: rows["close"] for name, rows in by_name.items()} for file, by_name in daily.items()}
    index = next((by_name["DXY"] for by_name in closes.values() if "DXY" in by_name), None)
    for file, by_name in closes.items():
        if index is None or not set(DXY_WEIGHTS) <= set(by_name):
            continue
        for shifted in (False, True):
            left = dollar_remainder({**by_name, "DXY": index}, shifted=shifted)
            low, high = float(left.min()), float(left.max())
            factor = (high / low) ** _WIDENED_BY
            print(
                f"{file}, {'next' if shifted else 'same'} row: DXY is {low:.4f} to {high:.4f} times its basket on "
                f"{len(left)} days, widened {low / factor:.4f} to {high * factor:.4f}"
            )
        for other, rows_by_name in intraday.items():
            for name in set(by_name) & set(rows_by_name):
                apart = daily_against(by_name[name], rows_by_name[name])
                if len(apart):
                    print(f"{file} {name} against {other}: {len(apart)} days, at most {apart.max():.4%} apart")


def _print_movements(daily: dict[str, dict[str, pd.DataFrame]], intraday: dict[str, dict[str, pd.DataFrame]]) -> None:
    past: dict[str, pd.DataFrame] = {}
    for file, rows_by_name in daily.items():
        for name, rows in rows_by_name.items():
            bars = daily_bars(UNIVERSE[name], rows)
            print(f"{file} {name}: {_told(examined(UNIVERSE[name], bars))}")
            if name not in past or len(bars) > len(past[name]):
                past[name] = bars
    for file, rows_by_name in intraday.items():
        for name, rows in rows_by_name.items():
            bars = intraday_bars(UNIVERSE[name], rows)
            print(f"{file} {name}: {_told(examined(UNIVERSE[name], bars, past.get(name)))}")
            holes, late = missing_by_day(UNIVERSE[name], bars), lateness(UNIVERSE[name], bars)
            missing = ", ".join(f"{one}/{of}" for one, of in holes.loc[holes["missing"] > 0].itertuples(index=False))
            print(f"    of {len(holes)} days these miss quarter hours: {missing or 'none'}")
            beyond = f"more than {_LATE_MINUTES} min late at {(late > _LATE_MINUTES).sum()} of {len(late)} ticks"
            print(f"    last bar {beyond}, {late.max():.0f} at most")


def _told(found: Movement) -> str:
    beyond = "".join(f"\n    {one}" for one in found.unusual)
    return (
        f"{found.bars} bars, largest jump {found.largest_jump:.1f}, level {found.largest_level:.2f}, "
        f"standstill {found.longest_stuck:.0f} min{beyond}"
    )


if __name__ == "__main__":
    if len(sys.argv) != len(["script", "DIRECTORY"]):
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
