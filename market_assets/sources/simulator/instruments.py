"""What the simulated market consists of: one entry per symbol, as data.

Belongs here: the facts of each instrument (venue, level, risk, dividends, what Yahoo says about it). Does not belong
here: how prices are drawn from these facts (`market.py`) and how they travel (`wire.py`).

Levels are the split-adjusted prices of early 2026 at the start of some years; between them the level moves in a
straight line of logarithms, and the drawn price wanders around it. Betas are per unit of the factors in `FACTORS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: factors that move several instruments: standard deviation of the logarithm per weekday
FACTORS: Mapping[str, float] = MappingProxyType(
    {"market": 0.010, "growth": 0.008, "rates": 0.008, "dollar": 0.004, "metals": 0.006, "coins": 0.026}
)
#: factors that move at weekends as much as on weekdays
ALWAYS_OPEN_FACTORS = frozenset({"coins"})

Levels = tuple[tuple[int, float], ...]
Betas = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Split:
    """`ratio` new shares for one old share from 00:00 venue time of `ex_date`."""

    ex_date: date
    ratio: float


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol of the simulated market, under Yahoo's name for it."""

    symbol: str
    #: key of the venue calendar
    venue: str
    #: zone in which Yahoo reports the exchange
    timezone: str
    instrument_type: str
    exchange_name: str
    full_exchange_name: str
    name: str
    levels: Levels
    #: (factor, how many times the factor's move the instrument moves)
    betas: Betas
    #: standard deviation per day of what moves this instrument alone
    own_risk: float
    currency: str = "USD"
    #: decimals of a price as traded
    decimals: int = 2
    price_hint: int = 2
    #: part of the distance to the level that remains after a day
    persistence: float = 0.99
    #: value traded per five minutes of an open market; 0 where Yahoo reports no volume
    turnover: float = 0.0
    #: part of the price paid out each time, and the months of payment
    payout: float = 0.0
    payout_months: tuple[int, ...] = ()
    #: first session on or after this day of the month is the ex-date
    payout_day: int = 18
    splits: tuple[Split, ...] = ()
    #: product of the ratios of the splits that `levels` are already adjusted for
    level_basis: float = 1.0
    #: how late Yahoo publishes this venue's bars
    feed_lag: timedelta = timedelta(0)

    @property
    def is_fx(self) -> bool:
        """Whether Yahoo's daily rows span London days and close at their start."""
        return self.venue == "FX"

    @property
    def is_always_open(self) -> bool:
        """Whether the instrument moves at weekends."""
        return self.venue == "UTC_24_7"

    @property
    def has_extended_hours(self) -> bool:
        """Whether the venue has pre- and post-market periods."""
        return self.venue == "XNYS"

    @property
    def trades_around_the_clock(self) -> bool:
        """Whether Yahoo reports whole local days (00:00 to 23:59) as trading periods."""
        return self.venue in {"FX", "ICE_USDX", "UTC_24_7"}


_QUARTERS = (3, 6, 9, 12)
_MONTHS = tuple(range(1, 13))


def etf(
    symbol: str,
    name: str,
    levels: Levels,
    betas: Mapping[str, float],
    own_risk: float,
    *,
    turnover: float = 5e6,
    payout: float = 0.0,
    payout_months: tuple[int, ...] = (),
    payout_day: int = 18,
    splits: tuple[Split, ...] = (),
) -> Instrument:
    """Return an exchange-traded fund listed in New York."""
    return Instrument(
        symbol=symbol,
        venue="XNYS",
        timezone="America/New_York",
        instrument_type="ETF",
        exchange_name="NGM" if symbol == "QQQ" else "PCX",
        full_exchange_name="NasdaqGM" if symbol == "QQQ" else "NYSEArca",
        name=name,
        levels=levels,
        betas=tuple(betas.items()),
        own_risk=own_risk,
        turnover=turnover,
        payout=payout,
        payout_months=payout_months,
        payout_day=payout_day,
        splits=splits,
        level_basis=math.prod((split.ratio for split in splits), start=1.0),
    )


def _fx(
    symbol: str, name: str, levels: Levels, betas: Mapping[str, float], *, own_risk: float, decimals: int
) -> Instrument:
    return Instrument(
        symbol=symbol,
        venue="FX",
        timezone="Europe/London",
        instrument_type="CURRENCY",
        exchange_name="CCY",
        full_exchange_name="CCY",
        name=name,
        levels=levels,
        betas=tuple(betas.items()),
        own_risk=own_risk,
        currency="JPY" if symbol == "JPY=X" else "USD",
        decimals=decimals,
        price_hint=4,
    )


def _coin(
    symbol: str, name: str, levels: Levels, betas: Mapping[str, float], *, own_risk: float, turnover: float
) -> Instrument:
    return Instrument(
        symbol=symbol,
        venue="UTC_24_7",
        timezone="UTC",
        instrument_type="CRYPTOCURRENCY",
        exchange_name="CCC",
        full_exchange_name="CCC",
        name=name,
        levels=levels,
        betas=tuple(betas.items()),
        own_risk=own_risk,
        turnover=turnover,
    )


_YEARS = (2016, 2018, 2020, 2022, 2024, 2026, 2029)


def _levels(*prices: float) -> Levels:
    return tuple(zip(_YEARS, prices, strict=True))


CATALOGUE: tuple[Instrument, ...] = (
    etf(
        "QQQ", "Invesco QQQ Trust", _levels(108, 160, 215, 395, 405, 560, 640),
        {"market": 1.05, "growth": 0.55}, 0.002, turnover=2e8, payout=0.0015, payout_months=_QUARTERS, payout_day=21,
    ),
    etf(
        "SPY", "SPDR S&P 500", _levels(200, 270, 322, 475, 475, 650, 720),
        {"market": 1.0}, 0.001, turnover=4e8, payout=0.0032, payout_months=_QUARTERS,
    ),
    etf(
        "IWM", "iShares Russell 2000 ETF", _levels(112, 153, 166, 222, 200, 245, 270),
        {"market": 1.1, "growth": -0.15}, 0.006, turnover=8e7, payout=0.003, payout_months=_QUARTERS, payout_day=23,
    ),
    etf("ARKK", "ARK Innovation ETF", _levels(20, 37, 50, 95, 52, 75, 85), {"market": 1.5, "growth": 1.6}, 0.011),
    etf(
        "ARKQ", "ARK Autonomous Technology & Robotics ETF", _levels(19, 34, 36, 77, 57, 110, 120),
        {"market": 1.3, "growth": 1.1}, 0.008, turnover=3e5,
    ),
    etf(
        "ARKG", "ARK Genomic Revolution ETF", _levels(18, 26, 34, 61, 32, 28, 32),
        {"market": 1.2, "growth": 1.2}, 0.014, turnover=8e5,
    ),
    etf(
        "HYG", "iShares iBoxx $ High Yield Corporate Bond ETF", _levels(81, 87, 88, 87, 77, 80, 81),
        {"market": 0.35, "rates": 0.10}, 0.0015, turnover=4e7, payout=0.0047, payout_months=_MONTHS, payout_day=1,
    ),
    etf(
        "LQD", "iShares iBoxx $ Investment Grade Corporate Bond ETF", _levels(114, 121, 128, 132, 110, 110, 111),
        {"market": 0.05, "rates": 0.45}, 0.0015, turnover=3e7, payout=0.0033, payout_months=_MONTHS, payout_day=1,
    ),
    etf(
        "TLT", "iShares 20+ Year Treasury Bond ETF", _levels(121, 126, 137, 148, 98, 88, 90),
        {"market": -0.25, "rates": 1.0}, 0.002, turnover=6e7, payout=0.0030, payout_months=_MONTHS, payout_day=1,
    ),
    etf(
        "GLD", "SPDR Gold Shares", _levels(101, 124, 143, 171, 191, 370, 400),
        {"dollar": -0.8, "rates": 0.25, "metals": 1.0}, 0.002, turnover=4e7,
    ),
    etf(
        "SLV", "iShares Silver Trust", _levels(13, 16, 16.7, 21.5, 21.8, 52, 58),
        {"market": 0.3, "dollar": -1.0, "rates": 0.3, "metals": 1.7}, 0.008, turnover=1e7,
    ),
    etf(
        "USO", "United States Oil Fund, LP", _levels(88, 96, 102, 54, 67, 72, 75),
        {"market": 0.5, "dollar": -0.5}, 0.018, turnover=6e6, splits=(Split(date(2020, 4, 29), 0.125),),
    ),
    _fx(
        "EURUSD=X", "EUR/USD", _levels(1.085, 1.20, 1.12, 1.137, 1.104, 1.17, 1.15),
        {"market": 0.04, "dollar": -1.05}, own_risk=0.0012, decimals=5,
    ),
    _fx(
        "GBPUSD=X", "GBP/USD", _levels(1.47, 1.35, 1.32, 1.35, 1.27, 1.34, 1.32),
        {"market": 0.12, "dollar": -0.9}, own_risk=0.0025, decimals=5,
    ),
    _fx(
        "JPY=X", "USD/JPY", _levels(120, 112.6, 108.6, 115, 141, 154, 150),
        {"market": 0.05, "dollar": 0.75, "rates": -0.2}, own_risk=0.0025, decimals=3,
    ),
    Instrument(
        symbol="^VIX", venue="CBOE_INDEX", timezone="America/Chicago", instrument_type="INDEX", exchange_name="CXI",
        full_exchange_name="Cboe Indices", name="CBOE Volatility Index",
        levels=_levels(17, 14, 16, 20, 15, 17, 17), betas=(("market", -5.0),), own_risk=0.035, persistence=0.95,
        feed_lag=timedelta(minutes=15),
    ),
    Instrument(
        symbol="DX-Y.NYB", venue="ICE_USDX", timezone="America/New_York", instrument_type="INDEX", exchange_name="NYB",
        full_exchange_name="ICE Futures", name="US Dollar Index",
        levels=_levels(98.6, 92, 96.4, 96, 101.3, 98.5, 99.5), betas=(("market", -0.08), ("dollar", 1.0)),
        own_risk=0.0006, decimals=3, feed_lag=timedelta(minutes=30),
    ),
    _coin(
        "BTC-USD", "Bitcoin USD", _levels(430, 12000, 7200, 47000, 42500, 95000, 110000),
        {"market": 0.9, "growth": 0.7, "coins": 1.0}, own_risk=0.004, turnover=1.2e8,
    ),
    _coin(
        "ETH-USD", "Ethereum USD", _levels(8, 700, 130, 3700, 2300, 3300, 3600),
        {"market": 1.1, "growth": 0.9, "coins": 1.15}, own_risk=0.018, turnover=6e7,
    ),
)  # fmt: skip
