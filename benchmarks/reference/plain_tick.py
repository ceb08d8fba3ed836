"""What a tick does, as one plain threaded script: the yardstick of `benchmarks.tick`.

Belongs here: the fetch, the maths and the upsert of one tick, as a careful person would write them down without a
framework, a history, checks or retries. Does not belong here: anything of `market_assets`, which is never imported, so
that the script is a second opinion on its numbers too.

It asks `yfinance` for 15m and 1d bars of today through eight threads, upserts what has finished into SQLite, reads the
weeks before back, and upserts the feature row of every observation time of the day so far. It relies on what holds on
the benchmark's day: answers are complete, nothing is stale, and no split lies within the look-back.
"""

from __future__ import annotations

import argparse
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import exchange_calendars
import numpy as np
import pandas as pd
import sqlalchemy as sa
import yfinance
from curl_cffi import CurlOpt, requests

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORKERS = 8
MINUTE_US = 60_000_000
BAR_US = 15 * MINUTE_US
INTERVAL_US = 30 * MINUTE_US
PRICES = ("Open", "High", "Low", "Close")
#: days of bars that the feature rows look back on: 21 sessions, weekends and holidays
LOOKBACK = timedelta(days=45)
RETURNS, MIN_RETURNS = 20, 18


@dataclass(frozen=True)
class Instrument:
    """A ticker, its name at Yahoo, its venue, and how many minutes late its bars arrive."""

    name: str
    symbol: str
    venue: str = "nyse"
    lag_minutes: int = 0
    inverted: bool = False

    @property
    def lag_us(self) -> int:
        """How late its bars arrive, in microseconds."""
        return self.lag_minutes * MINUTE_US


ETFS = ("QQQ", "SPY", "IWM", "ARKK", "ARKQ", "ARKG", "HYG", "LQD", "TLT", "GLD", "SLV", "USO")
FEATURE_INSTRUMENTS = (
    *(Instrument(name, name) for name in ETFS),
    Instrument("EURUSD", "EURUSD=X", "fx"),
    Instrument("GBPUSD", "GBPUSD=X", "fx"),
    Instrument("JPYUSD", "JPY=X", "fx", inverted=True),
    Instrument("VIX", "^VIX", "cboe", lag_minutes=15),
    Instrument("DXY", "DX-Y.NYB", "ice", lag_minutes=30),
)
INSTRUMENTS = (*FEATURE_INSTRUMENTS, Instrument("BTC", "BTC-USD", "crypto"), Instrument("ETH", "ETH-USD", "crypto"))


# --- sessions ---------------------------------------------------------------------------------------------------------


def session_tables(first: datetime, last: datetime) -> dict[str, pd.DataFrame]:
    """Return by venue the sessions between two days: open and close (microseconds UTC), indexed by date."""
    nyse = exchange_calendars.get_calendar("XNYS", start=first.date(), end=last.date()).schedule
    days = pd.DatetimeIndex(nyse.index)
    weekdays = pd.bdate_range(first.date(), last.date())
    weekdays = weekdays[[(day.month, day.day) not in {(12, 25), (1, 1)} for day in weekdays]]
    every_day = pd.date_range(first.date(), last.date())
    day = pd.Timedelta(days=1)
    evening = np.where(days.day_of_week == 0, 18, 19)  # the dollar index opens earlier on Sundays
    return {
        "nyse": _table(days, nyse["open"], nyse["close"]),
        "cboe": _table(days, nyse["open"], nyse["close"] + pd.Timedelta(minutes=15)),
        "ice": _table(days, _wall(days - day, evening), _wall(days, 17)),
        "fx": _table(weekdays, _wall(weekdays - day, 17), _wall(weekdays, 17)),
        "crypto": _table(every_day, every_day.tz_localize("UTC"), (every_day + day).tz_localize("UTC")),
    }


def _table(days: pd.DatetimeIndex, opens: Any, closes: Any) -> pd.DataFrame:  # noqa: ANN401 - series or index
    return pd.DataFrame({"open": _micros(opens), "close": _micros(closes)}, index=days.strftime("%Y-%m-%d"))


def _wall(days: Any, hours: Any) -> pd.DatetimeIndex:  # noqa: ANN401 - what pandas makes of adding to an index
    return pd.DatetimeIndex(days + pd.to_timedelta(hours, unit="h")).tz_localize("America/New_York")


def _micros(instants: Any) -> NDArray[np.int64]:  # noqa: ANN401 - series or index
    return np.asarray(pd.DatetimeIndex(instants).tz_convert("UTC").as_unit("us").asi8)


# --- fetching ---------------------------------------------------------------------------------------------------------


class RedirectedSession(requests.Session[requests.Response]):
    """A browser-like session whose requests to Yahoo's hosts all reach the server at `base_url`."""

    def __init__(self, base_url: str) -> None:
        """Pin every host name to the server's address."""
        self._server = urlsplit(base_url)
        pinned = [f"*:{self._server.port}:{self._server.hostname}"]
        super().__init__(impersonate="chrome", curl_options={CurlOpt.RESOLVE: pinned, CurlOpt.NOPROXY: "*"})

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Send the request with the server's scheme and port; host name and cookies stay."""
        parts = urlsplit(url)
        place = f"{parts.hostname}:{self._server.port}"
        target = urlunsplit((self._server.scheme, place, parts.path, parts.query, ""))
        return super().request(method, target, **kwargs)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ask:
    """One request for bars."""

    instrument: Instrument
    interval: str
    start: datetime
    end: datetime


def fetch(ask: Ask, session: RedirectedSession, table: pd.DataFrame, now_us: int) -> pd.DataFrame:
    """Return the finished bars that yfinance has; a 1d bar spans its session."""
    ticker = yfinance.Ticker(ask.instrument.symbol, session=session)
    answer = ticker.history(start=ask.start, end=ask.end, interval=ask.interval, auto_adjust=False, actions=True)
    label = answer.index.strftime("%Y-%m-%d")
    if ask.interval == "1d":
        start, end = (table[edge].reindex(label).to_numpy(dtype=np.float64) for edge in ("open", "close"))
    else:
        start = _micros(answer.index).astype(np.float64)  # exact: below 2 ** 53
        end = start + BAR_US
    columns = {name.lower(): answer[name].to_numpy(dtype=np.float64) for name in PRICES}
    if ask.instrument.inverted:
        high, low = columns["high"], columns["low"]
        columns |= {
            "open": 1.0 / columns["open"],
            "high": 1.0 / low,
            "low": 1.0 / high,
            "close": 1.0 / columns["close"],
        }
    bars = pd.DataFrame(
        {
            "ticker": ask.instrument.name,
            "interval": ask.interval,
            "start": start,
            "label": label,
            "end": end,
            **columns,
            "volume": answer["Volume"].to_numpy(dtype=np.float64),
            "dividend": answer["Dividends"].to_numpy(dtype=np.float64),
        }
    )
    # The live row has odd seconds; a day without a session has no end; a running bar ends later than now.
    finished = (start % MINUTE_US == 0) & (end + ask.instrument.lag_us <= now_us) & bars["close"].notna()
    kept: pd.DataFrame = bars[finished].astype({"start": np.int64, "end": np.int64})
    return kept


def fetch_all(asks: list[Ask], base_url: str, tables: dict[str, pd.DataFrame], now_us: int) -> pd.DataFrame:
    """Fetch through a pool of threads."""
    session = RedirectedSession(base_url)
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = pool.map(lambda ask: fetch(ask, session, tables[ask.instrument.venue], now_us), asks)
        return pd.concat(answers, ignore_index=True)


# --- maths ------------------------------------------------------------------------------------------------------------


def metrics(bars: pd.DataFrame, table: pd.DataFrame, instrument: Instrument, at: NDArray[np.int64]) -> dict[str, Any]:
    """Return price, change_1d and volatility at each instant, and what the indicators need beside them."""
    lag = instrument.lag_us
    opens, closes = table["open"].to_numpy(), table["close"].to_numpy()
    daily, intraday = bars[bars["interval"] == "1d"], bars[bars["interval"] == "15m"]

    inside = intraday.assign(session=np.searchsorted(opens, intraday["start"], side="right") - 1)
    inside = inside[inside["session"] >= 0]
    inside = inside[inside["end"].to_numpy() <= closes[inside["session"]]]
    eligible = inside if instrument.venue == "fx" else pd.concat([inside, daily])
    eligible = eligible.sort_values(["end", "interval"])  # of equal ends the 1d bar comes last
    session_close = pd.Series(np.nan, index=table.index)
    at_close = inside[inside["end"].to_numpy() == closes[inside["session"]]]
    session_close.iloc[at_close["session"].to_numpy()] = at_close["close"].to_numpy()
    dividend = pd.Series(0.0, index=table.index)
    if instrument.venue != "fx":
        session_close.update(daily.set_index("label")["close"])
        dividend.update(daily.set_index("label")["dividend"])

    chosen = np.searchsorted(eligible["end"].to_numpy() + lag, at, side="right") - 1
    price = eligible["close"].to_numpy()[chosen]
    session = np.searchsorted(opens, eligible["start"].to_numpy()[chosen], side="right") - 1
    before = session_close.to_numpy()
    change = 100.0 * ((price + dividend.to_numpy()[session]) / before[session - 1] - 1.0)

    growth = pd.Series(np.log((session_close + dividend) / session_close.shift(1)))
    completed = np.searchsorted(closes + lag, at, side="right") - 1
    volatility = 100.0 * growth.rolling(RETURNS, min_periods=MIN_RETURNS).std().to_numpy()[completed]
    return {
        "price": price,
        "change_1d": change,
        "volatility": volatility,
        "returns": growth,
        "completed": completed,
        "close_20_before": before[session - RETURNS],
    }


def feature_rows(bars: pd.DataFrame, tables: dict[str, pd.DataFrame], at: NDArray[np.int64]) -> pd.DataFrame:
    """Return the 58 features at each observation time."""
    by_ticker = dict(tuple(bars.groupby("ticker", sort=False)))
    of = {one.name: metrics(by_ticker[one.name], tables[one.venue], one, at) for one in FEATURE_INSTRUMENTS}
    columns = {
        f"ml_{name.lower()}_{metric}": values[metric]
        for name, values in of.items()
        for metric in ("price", "change_1d", "volatility")
    }
    price = {name: values["price"] for name, values in of.items()}
    gold, bonds = of["GLD"], of["TLT"]
    together = gold["returns"].rolling(RETURNS, min_periods=MIN_RETURNS).corr(bonds["returns"])
    columns["ml_risk_on_ratio"] = (price["QQQ"] + price["HYG"]) / (price["VIX"] + price["TLT"])
    columns["ml_innovation_premium"] = price["ARKK"] / price["QQQ"]
    columns["ml_tech_leadership"] = price["QQQ"] / price["SPY"]
    columns["ml_credit_spreads"] = of["HYG"]["change_1d"] - of["LQD"]["change_1d"]
    columns["ml_flight_to_quality"] = together.to_numpy()[gold["completed"]]
    columns["ml_dollar_strength"] = 100.0 * np.log(price["DXY"] / of["DXY"]["close_20_before"])
    columns["ml_market_breadth"] = price["SPY"] / price["IWM"]
    return pd.DataFrame({"observed_at": at, **columns})


# --- storing ----------------------------------------------------------------------------------------------------------


def upsert(connection: sa.Connection, table: str, key: tuple[str, ...], frame: pd.DataFrame) -> None:
    """Insert or overwrite the rows of `frame`, creating the table if need be."""
    columns = list(frame.columns)
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    keys = ", ".join(f'"{name}"' for name in key)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    connection.exec_driver_sql(f'CREATE TABLE IF NOT EXISTS "{table}" ({names}, PRIMARY KEY ({keys})) WITHOUT ROWID')
    statement = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) ON CONFLICT ({keys}) DO UPDATE SET {sets}'  # noqa: S608 - own names
    rows = frame.astype(object).where(frame.notna(), None)
    connection.exec_driver_sql(statement, list(rows.itertuples(index=False, name=None)))


def tick(database: Path, base_url: str, now: datetime, *, history_days: int) -> dict[str, float | None]:
    """Run one tick at `now` and return the latest feature row; `history_days` > 0 loads the days before it too."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    midnight_us, now_us = (round(instant.timestamp() * 1_000_000) for instant in (midnight, now))
    starts = {
        "15m": midnight - timedelta(days=min(history_days, 59)),  # Yahoo has 60 days of them
        "1d": midnight - timedelta(days=history_days),
    }
    asks = [
        Ask(one, interval, start, midnight + timedelta(days=1))
        for one in INSTRUMENTS
        for interval, start in starts.items()
    ]
    tables = session_tables(starts["1d"] - LOOKBACK, midnight + timedelta(days=7))
    bars = fetch_all(asks, base_url, tables, now_us)

    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        upsert(connection, "bars", ("ticker", "interval", "start"), bars)
    since = midnight_us - LOOKBACK // timedelta(microseconds=1)
    with engine.connect() as connection:
        query = sa.text(
            "SELECT ticker, interval, start, label, end, close, dividend FROM bars WHERE start >= :since"
        ).bindparams(since=since)
        stored = pd.read_sql_query(query, connection)
    rows = feature_rows(stored, tables, np.arange(midnight_us, now_us + 1, INTERVAL_US))
    with engine.begin() as connection:
        upsert(connection, "features", ("observed_at",), rows)
    engine.dispose()
    latest = rows.iloc[-1].drop("observed_at")
    return {str(column): None if pd.isna(value) else float(value) for column, value in latest.items()}


def main() -> None:
    """Run one tick and print the latest feature row as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="directory of yfinance's caches")
    parser.add_argument("--history-days", type=int, default=0)
    given = parser.parse_args()
    # yfinance's own use of pandas, on every call
    warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
    yfinance.set_tz_cache_location(str(given.cache))
    print(json.dumps(tick(given.database, given.base_url, given.now, history_days=given.history_days)))


if __name__ == "__main__":
    main()
