"""Metrics, indicators and correlations computed a second time, from CSV files with plain pandas.

Belongs here: the independent route. It shares no import with the package under test, and prefers the obvious way over
the fast one: a loop over sessions, `np.std`, `np.corrcoef`. Does not belong here: the comparison.

Days are naive timestamps at midnight (venue-local session dates), instants are timezone-aware.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

NEW_YORK, LONDON = "America/New_York", "Europe/London"
#: early closes of the intraday block, New York time
HALF_DAYS = {pd.Timestamp("2019-12-24"): "13:00"}
#: USO: eight old shares became one new one
USO_EX_DATE, USO_RATIO = pd.Timestamp("2020-04-29"), 0.125
#: the dividend-adjusted file's last row may stem from the middle of a day
LAST_ADJUSTED_DAY = pd.Timestamp("2026-07-31")


def days_of(values: pd.Series | pd.DataFrame) -> pd.DatetimeIndex:
    """Return the index, as the index of times that it is."""
    return pd.DatetimeIndex(values.index)


def names_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns, as the strings that they are."""
    return [str(name) for name in frame.columns]


def log(values: pd.Series) -> pd.Series:
    """Return the natural logarithm, as a series."""
    return pd.Series(np.log(values.to_numpy()), index=values.index)


# --- the files --------------------------------------------------------------------------------------------------------


@cache
def _daily_file(shared: Path, name: str) -> pd.DataFrame:
    frame = pd.read_csv(shared / "market" / "daily" / f"{name}.csv.gz", parse_dates=["date"])
    return frame.pivot_table(index="date", columns="symbol", values="close") if "symbol" in frame else frame


@cache
def etf_closes(shared: Path) -> pd.DataFrame:
    """Return split-adjusted closes of ten ETFs by day."""
    files = ("etf_ohlcv_yahoo_unadjusted_kittycapital", "etf_ohlcv_yahoo_unadjusted_jmlestevez")
    return pd.concat([_daily_file(shared, name) for name in files], axis=1)


@cache
def dividends(shared: Path) -> pd.DataFrame:
    """Return the dividends that dividend-adjusted closes imply, by ex-date; 0 on other days."""
    closes = etf_closes(shared)
    adjusted = _daily_file(shared, "etf_adjclose_yahoo_dsturdy").set_index("date")
    result = pd.DataFrame(0.0, index=closes.index, columns=closes.columns)
    for name in names_of(closes):
        factor = (adjusted[name] / closes[name]).loc[:LAST_ADJUSTED_DAY].dropna()
        part = 1.0 - factor.shift(1) / factor
        paid = part[part > 1e-5]
        result.loc[paid.index, name] = (closes[name].shift(1).loc[paid.index] * paid).round(6)
    return result


def index_closes(shared: Path) -> pd.DataFrame:
    """Return the closes of VIX and DXY on the days on which the ETFs trade."""
    files = {"VIX": "vix_ohlc_cboe", "DXY": "dxy_ohlc_yahoo_kittycapital"}
    closes = pd.concat([_daily_file(shared, name)[symbol] for symbol, name in files.items()], axis=1)
    return closes.reindex(etf_closes(shared).index)


def crypto_closes(shared: Path) -> pd.DataFrame:
    """Return crypto closes by UTC day, the last (partial) day left out."""
    return _daily_file(shared, "crypto_ohlcv_yahoo_kittycapital").iloc[:-1]


def fx_rows(shared: Path) -> pd.DataFrame:
    """Return Yahoo's daily FX closes by London day: the price at the *start* of that day."""
    rows = _daily_file(shared, "fx_ohlc_yahoo_alex").copy()
    rows["JPY=X"] = 1.0 / rows["JPY=X"]
    return rows.rename(columns={"EURUSD=X": "EURUSD", "GBPUSD=X": "GBPUSD", "JPY=X": "JPYUSD"})


def intraday(shared: Path, name: str, symbol: str) -> pd.DataFrame:
    """Return one symbol's bars by start (UTC), duplicates and rows off the minute grid left out."""
    frame = pd.read_csv(shared / "market" / "intraday" / f"{name}.csv.gz", parse_dates=["ts_utc"])
    frame = frame[frame["symbol"] == symbol].drop_duplicates("ts_utc").set_index("ts_utc").drop(columns="symbol")
    starts = pd.DatetimeIndex(frame.index)
    on_grid = starts == starts.floor("5min" if "5m" in name else "1min")
    return frame[on_grid].sort_index()


def resample(bars: pd.DataFrame, length: str) -> pd.DataFrame:
    """Merge bars into longer ones, labelled by their start; stretches without a bar stay without one."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return bars.resample(length, label="left", closed="left").agg(how).dropna(subset=["close"])


# --- one session after another ----------------------------------------------------------------------------------------


def native(closes: pd.Series, name: str, at_day: pd.Timestamp) -> pd.Series:
    """Return split-adjusted closes on the basis in force on `at_day`."""
    return closes * USO_RATIO if name == "USO" and at_day < USO_EX_DATE else closes


def changes(closes: pd.Series, paid: pd.Series) -> pd.Series:
    """Return the total return from one session to the next, in percent."""
    return 100.0 * ((closes + paid) / closes.shift(1) - 1.0)


def log_returns(closes: pd.Series, paid: pd.Series) -> pd.Series:
    """Return the daily log total returns."""
    return log((closes + paid) / closes.shift(1))


def volatility(returns: pd.Series, window: int = 20, needed: int = 18) -> pd.Series:
    """Return 100 x standard deviation of the last `window` returns that are there."""
    values, array = [], returns.to_numpy()
    for end in range(1, len(returns) + 1):
        part = array[max(end - window, 0) : end]
        part = part[~np.isnan(part)]
        values.append(100.0 * np.std(part, ddof=1) if len(part) >= needed else np.nan)
    return pd.Series(values, index=returns.index)


def correlation(
    one: pd.Series, two: pd.Series, window: int, *, last_is_unknown: bool = False
) -> tuple[pd.Series, pd.Series]:
    """Return (correlation, valid pairs) of the last `window` rows, row by row; at least 90 % must be valid."""
    values, counts = [], []
    first, second = one.to_numpy(), two.to_numpy()
    for end in range(1, len(one) + 1):
        x, y = first[max(end - window, 0) : end], second[max(end - window, 0) : end]
        valid = ~np.isnan(x) & ~np.isnan(y)
        valid[-1] &= not last_is_unknown
        counts.append(int(valid.sum()))
        values.append(np.corrcoef(x[valid], y[valid])[0, 1] if valid.sum() >= 0.9 * window else np.nan)
    return pd.Series(values, index=one.index), pd.Series(counts, index=one.index)


def indicators(price: pd.DataFrame, change: pd.DataFrame, returns: pd.DataFrame, dxy: pd.Series) -> pd.DataFrame:
    """Return the seven indicators from prices, changes and returns of the same instants."""
    return pd.DataFrame(
        {
            "ml_risk_on_ratio": (price["QQQ"] + price["HYG"]) / (price["VIX"] + price["TLT"]),
            "ml_innovation_premium": price["ARKK"] / price["QQQ"],
            "ml_tech_leadership": price["QQQ"] / price["SPY"],
            "ml_credit_spreads": change["HYG"] - change["LQD"],
            "ml_flight_to_quality": correlation(returns["GLD"], returns["TLT"], 20)[0],
            "ml_dollar_strength": 100.0 * log(dxy / dxy.shift(20)),
            "ml_market_breadth": price["SPY"] / price["IWM"],
        }
    )


def fx_session_closes(rows: pd.Series) -> pd.Series:
    """Return approximate session closes: the close of session D is the row of the next FX day."""
    sessions = pd.bdate_range(rows.index[0], rows.index[-1])
    holidays = sessions.strftime("%m-%d").isin(["12-25", "01-01"])
    by_session = rows.reindex(sessions[~holidays])
    return by_session.shift(-1)


# --- within the session -----------------------------------------------------------------------------------------------


@cache
def nyse_hours(day: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return open and close of a session, as instants."""
    close = HALF_DAYS.get(day, "16:00")
    at = [pd.Timestamp(f"{day.date()} {time}").tz_localize(NEW_YORK).tz_convert("UTC") for time in ("09:30", close)]
    return at[0], at[1]


def regular_hours(minutes: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the bars inside of the sessions, with the session's day in the column `day`."""
    parts = []
    for day in sessions:
        opened, closed = nyse_hours(day)
        part = minutes[(minutes.index >= opened) & (minutes.index < closed)]
        parts.append(part.assign(day=day))
    return pd.concat(parts)


def us(instant: pd.Timestamp) -> int:
    """Return microseconds since the epoch."""
    return instant.value // 1000


def stale_minutes(last: pd.Timestamp, at: pd.Timestamp, opens: pd.DatetimeIndex, closes: pd.DatetimeIndex) -> float:
    """Return the open minutes since the quarter hour after the one of the last trade `last` should have ended."""
    quarter_end = last.floor("15min") + pd.Timedelta("15min")
    row = int(closes.searchsorted(quarter_end, side="right"))
    due = max(opens[row], quarter_end) + pd.Timedelta("15min")
    opened = np.minimum(closes.asi8, us(at)) - np.maximum(opens.asi8, us(due))
    return float(np.maximum(opened, 0).sum() / 60e6)


def quarter_hours(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the last close of each quarter hour that has a bar, by the end of the quarter hour."""
    quarters = resample(bars, "15min")
    quarters.index += pd.Timedelta("15min")
    return quarters


def fx_session(instant: pd.Timestamp) -> pd.Timestamp:
    """Return the day on which the FX session that contains the instant ends: it runs from 17:00 to 17:00 New York."""
    return (instant.tz_convert(NEW_YORK).tz_localize(None) + pd.Timedelta("7h")).normalize()
