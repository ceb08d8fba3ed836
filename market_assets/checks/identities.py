"""`identities_hold`: whether features that are bound to each other agree.

Belongs here: the identities, their tolerances, and the pure judgement of one row. Does not belong here: single values
(`plausible.py`).

* innovation premium x tech leadership = ARKK / SPY, tech leadership x market breadth = QQQ / IWM: the same prices reach
  the row by different ways.
* a currency's 1d bar, fetched by a request of its own, has the price of the intraday bars at its start: Yahoo's daily
  row D of a currency closes at 00:00 London of D. It would not hold for a rate that is inverted in one of them.
* the dollar index is made of six rates with published weights; the three held here are 83.1 % of it, and what the other
  three contribute hardly moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.checks.verdict import Markdown, Severity, Value, Verdict, offenders
from market_assets.pictures import markdown_table
from market_assets.store.tables import MARKET_BARS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from market_assets.store import Snapshot
    from market_assets.universe import Universe

IDENTITIES_CHECK = "identities_hold"
IDENTITIES_DESCRIPTION = (
    "In the newest row of the run the indicators agree with the prices that they share, currencies with their daily "
    "rows, and the dollar index with its published weights."
)

#: relative; what three roundings of float64 can add up to
ROUNDING = 1e-12
#: relative. Of 357 days of 2019-2020, Yahoo's EURUSD rows differ from another broker's price at 00:00 London by 0.3 %
#: at most
DAILY_TOLERANCE = 0.01
#: ICE's formula: 50.14348112 x EURUSD^-0.576 x USDJPY^0.136 x GBPUSD^-0.119 x USDCAD^0.091 x USDSEK^0.042 x
#: USDCHF^0.036 (ICE Futures U.S., "U.S. Dollar Index Contracts"); the yen is held as dollars, so its sign is turned
DXY_FACTOR = 50.14348112
DXY_WEIGHTS = {"EURUSD": -0.576, "JPYUSD": -0.136, "GBPUSD": -0.119}
#: what the other three rates multiply it by: 1.1061 to 1.1450 at daily closes from 2017-06 to 2024-12, widened by half
DXY_REMAINDER = (1.0966, 1.1549)

#: a currency's intraday bar that begins so soon after its day has the day's opening price
_AT_ONCE = timedelta(hours=1)
#: a daily row of a currency is a week old at most
_DAILY_DAYS = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class DailyPrice:
    """A currency's 1d bar, and the intraday bar at its start."""

    ticker: str
    at: datetime
    daily: float
    intraday: float


@dataclass(frozen=True, slots=True)
class _Compared:
    """One identity in numbers; `difference` is relative to the right-hand side."""

    name: str
    left: float
    right: float
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        # NaN, of a price that is no positive number, does not hold.
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        return f"{self.name}: {self.left:.6g} and {self.right:.6g}, {self.difference:.2%} apart"


def read_daily_prices(snapshot: Snapshot, universe: Universe, until: datetime) -> list[DailyPrice]:
    """Return each currency's newest 1d bar that begins before `until`, beside the intraday bar that begins with it.

    Two queries, a few rows each; a currency without one of the two is left out.
    """
    names = [ticker.name for ticker in universe.features if ticker.is_fx]
    if not names:
        return []
    columns = ("close",)
    daily = snapshot.read(
        MARKET_BARS, start=until - _DAILY_DAYS, end=until, series=names, intervals=["1d"], columns=columns
    )
    if daily.empty:
        return []
    newest = daily.groupby("ticker").tail(1)
    intraday = snapshot.read(
        MARKET_BARS,
        start=newest["bar_start"].min().to_pydatetime(),
        end=newest["bar_start"].max().to_pydatetime() + _AT_ONCE,
        series=names,
        intervals=["15m", "1h"],
        columns=columns,
    )
    found = []
    for ticker, start, close in newest[["ticker", "bar_start", "close"]].itertuples(index=False):
        near = (intraday["bar_start"] >= start) & (intraday["bar_start"] < start + _AT_ONCE)
        own = intraday.loc[(intraday["ticker"] == ticker) & near].sort_values("bar_start")
        if not own.empty:
            found.append(DailyPrice(ticker, start.to_pydatetime(), float(close), float(own["close"].iloc[0])))
    return found


def evaluate_identities(rows: pd.DataFrame, daily_prices: Sequence[DailyPrice]) -> Verdict:
    """Judge the last of the feature rows (one per observation time, ascending); WARN where an identity does not hold.

    An identity with a NULL, or with a column that the universe does not have, is not judged.
    """
    if rows.empty:
        return Verdict.not_judged("there is no observation time yet")
    latest = rows.iloc[-1]
    values = {str(name): value for name, value in latest.items() if isinstance(value, float)}
    compared = [
        *_products(values),
        *_dollar_index(values),
        *(
            _relative(f"{one.ticker} at {one.at:%Y-%m-%dT%H:%MZ}, 15m and 1d", one.intraday, one.daily, DAILY_TOLERANCE)
            for one in daily_prices
        ),
    ]
    if not compared:
        return Verdict.not_judged("every identity has a feature that is NULL or not collected")
    broken = sorted((one for one in compared if not one.holds), key=lambda one: -one.difference)
    table = [(one.name, one.left, one.right, one.difference, one.tolerance, one.holds) for one in compared]
    metadata: dict[str, Value] = {
        "observed": len(broken),
        "threshold": 0,
        "worst_offenders": offenders([str(one) for one in broken]),
        "observed_at": f"{latest['observed_at']:%Y-%m-%d %H:%M} UTC",
        "identities_judged": len(compared),
        "identities": Markdown(
            markdown_table(("identity", "left", "right", "relative difference", "tolerance", "holds"), table)
        ),
    }
    return Verdict(
        passed=not broken,
        severity=Severity.WARN,
        description=f"{len(compared) - len(broken)} of {len(compared)} identities hold"
        + (f". First that does not: {broken[0]}" if broken else ""),
        metadata=metadata,
    )


def _products(values: Mapping[str, float]) -> list[_Compared]:
    found = []
    for first, second, over, under in (
        ("ml_innovation_premium", "ml_tech_leadership", "ml_arkk_price", "ml_spy_price"),
        ("ml_tech_leadership", "ml_market_breadth", "ml_qqq_price", "ml_iwm_price"),
    ):
        one, two, three, four = (values.get(name, math.nan) for name in (first, second, over, under))
        if not any(math.isnan(value) for value in (one, two, three, four)):
            found.append(_relative(f"{first} x {second} = {over} / {under}", one * two, three / four, ROUNDING))
    return found


def _dollar_index(values: Mapping[str, float]) -> list[_Compared]:
    """Compare what is left of the index, once the rates held are taken out, with its range."""
    prices = {name: values.get(f"ml_{name.lower()}_price", math.nan) for name in ("DXY", *DXY_WEIGHTS)}
    if not all(price > 0.0 for price in prices.values()):
        return []
    basket = DXY_FACTOR * math.prod(prices[name] ** weight for name, weight in DXY_WEIGHTS.items())
    middle, half_width = math.sqrt(math.prod(DXY_REMAINDER)), math.sqrt(DXY_REMAINDER[1] / DXY_REMAINDER[0]) - 1.0
    return [_relative("DXY by its published weights", prices["DXY"], basket * middle, half_width)]


def _relative(name: str, left: float, right: float, tolerance: float) -> _Compared:
    """Compare by the logarithm of the ratio, so that neither side is the right one."""
    ratio = left / right if right else math.nan
    difference = math.expm1(abs(math.log(ratio))) if ratio > 0.0 else math.inf
    return _Compared(name, left, right, difference, tolerance)
