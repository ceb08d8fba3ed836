"""The universe: which tickers are collected, as data.

Belongs here: one line per ticker. Does not belong here: anything computed from tickers; assets, columns, checks and
documentation are derived from this table, so adding a ticker is one line here and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Category(StrEnum):
    """Asset class of a ticker; groups the assets in Dagster's UI."""

    EQUITY_INDICES = "equity_indices"
    INNOVATION_ETFS = "innovation_etfs"
    BONDS = "bonds"
    COMMODITIES = "commodities"
    CURRENCIES = "currencies"
    VOLATILITY = "volatility"
    CRYPTO = "crypto"


#: categories whose tickers are ETFs: the core of the feature set
CORE_CATEGORIES = frozenset({Category.EQUITY_INDICES, Category.INNOVATION_ETFS, Category.BONDS, Category.COMMODITIES})


@dataclass(frozen=True, slots=True)
class Ticker:
    """One instrument: its name here, its name at Yahoo, its venue and how late its bars arrive."""

    name: str
    yahoo_symbol: str
    category: Category
    #: key of the venue calendar in `calendars.py`: XNYS, FX, CBOE_INDEX, ICE_USDX or UTC_24_7
    venue: str
    #: unit of `price`
    unit: str
    description: str
    #: how late Yahoo publishes this venue's bars
    feed_lag: timedelta = timedelta(0)
    #: publish 1/x of what Yahoo quotes (high and low swap places)
    inverted: bool = False
    #: what the market is said to do against Bitcoin; documentation, never an input of any computation
    documented_crypto_correlation: float | None = None
    #: prices outside of this open interval are quarantined
    band: tuple[float, float] | None = None
    #: a quarter of an hour may pass without a trade: silence does not show that the feed is late
    thinly_traded: bool = False

    @property
    def is_feature(self) -> bool:
        """Whether the ticker's metrics are features (crypto is a reference, not a feature)."""
        return self.category is not Category.CRYPTO

    @property
    def is_core(self) -> bool:
        """Whether the ticker's metrics belong to the core feature set."""
        return self.category in CORE_CATEGORIES

    @property
    def is_fx(self) -> bool:
        """Whether the ticker trades the FX week (Yahoo's daily FX rows are a day early)."""
        return self.venue == "FX"

    @property
    def is_crypto(self) -> bool:
        """Whether the ticker is a crypto reference, trading around the clock."""
        return self.category is Category.CRYPTO

    @property
    def column_prefix(self) -> str:
        """Prefix of the ticker's metric columns, e.g. `ml_qqq`."""
        return f"ml_{self.name.lower()}"


def _etf(
    name: str, category: Category, description: str, correlation: float | None = None, *, thinly_traded: bool = False
) -> Ticker:
    return Ticker(
        name,
        name,
        category,
        "XNYS",
        "USD",
        description,
        documented_crypto_correlation=correlation,
        thinly_traded=thinly_traded,
    )


class Universe:
    """An ordered, immutable set of tickers with look-up by name."""

    def __init__(self, tickers: tuple[Ticker, ...]) -> None:
        """Index `tickers`; raise ValueError if two share a name."""
        by_name = {ticker.name: ticker for ticker in tickers}
        if len(by_name) != len(tickers):
            msg = "two tickers of the universe share a name"
            raise ValueError(msg)
        self._by_name = MappingProxyType(by_name)

    def __iter__(self) -> Iterator[Ticker]:
        """Iterate over the tickers in order."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        """Return the number of tickers."""
        return len(self._by_name)

    def __getitem__(self, name: str) -> Ticker:
        """Return the ticker called `name`; raise KeyError naming the known ones."""
        try:
            return self._by_name[name]
        except KeyError:
            msg = f"unknown ticker {name!r}; known: {', '.join(self._by_name)}"
            raise KeyError(msg) from None

    def __contains__(self, name: object) -> bool:
        """Whether a ticker called `name` exists."""
        return name in self._by_name

    @property
    def features(self) -> tuple[Ticker, ...]:
        """The tickers whose metrics are features."""
        return tuple(ticker for ticker in self if ticker.is_feature)

    @property
    def crypto(self) -> tuple[Ticker, ...]:
        """The crypto references."""
        return tuple(ticker for ticker in self if ticker.is_crypto)


_VIX_LAG = timedelta(minutes=15)
_DXY_LAG = timedelta(minutes=30)

UNIVERSE = Universe(
    (
        _etf("QQQ", Category.EQUITY_INDICES, "Nasdaq-100 ETF", 0.75),
        _etf("SPY", Category.EQUITY_INDICES, "S&P 500 ETF"),
        _etf("IWM", Category.EQUITY_INDICES, "Russell 2000 ETF (small caps)"),
        _etf("ARKK", Category.INNOVATION_ETFS, "ARK Innovation ETF", 0.80),
        _etf("ARKQ", Category.INNOVATION_ETFS, "ARK Autonomous Technology & Robotics ETF", thinly_traded=True),
        _etf("ARKG", Category.INNOVATION_ETFS, "ARK Genomic Revolution ETF", thinly_traded=True),
        _etf("HYG", Category.BONDS, "High-yield corporate bond ETF", 0.70),
        _etf("LQD", Category.BONDS, "Investment-grade corporate bond ETF"),
        _etf("TLT", Category.BONDS, "20+ year US Treasury bond ETF", -0.45),
        _etf("GLD", Category.COMMODITIES, "Gold ETF"),
        _etf("SLV", Category.COMMODITIES, "Silver ETF"),
        _etf("USO", Category.COMMODITIES, "US oil ETF (reverse split 1:8 on 2020-04-29)"),
        Ticker("EURUSD", "EURUSD=X", Category.CURRENCIES, "FX", "USD per EUR", "Euro in US dollars"),
        Ticker("GBPUSD", "GBPUSD=X", Category.CURRENCIES, "FX", "USD per GBP", "Pound sterling in US dollars"),
        # JPYUSD=X exists at Yahoo but has too few significant digits: JPY=X (about 150 yen a dollar) is inverted.
        Ticker(
            "JPYUSD",
            "JPY=X",
            Category.CURRENCIES,
            "FX",
            "USD per JPY",
            "Yen in US dollars",
            inverted=True,
            band=(0.004, 0.02),
        ),
        Ticker(
            "VIX",
            "^VIX",
            Category.VOLATILITY,
            "CBOE_INDEX",
            "index points",
            "Cboe volatility index",
            _VIX_LAG,
            documented_crypto_correlation=-0.65,
        ),
        Ticker(
            "DXY",
            "DX-Y.NYB",
            Category.VOLATILITY,
            "ICE_USDX",
            "index points",
            "ICE US dollar index",
            _DXY_LAG,
            documented_crypto_correlation=-0.55,
        ),
        Ticker("BTC", "BTC-USD", Category.CRYPTO, "UTC_24_7", "USD", "Bitcoin (reference, not a feature)"),
        Ticker("ETH", "ETH-USD", Category.CRYPTO, "UTC_24_7", "USD", "Ether (reference, not a feature)"),
    )
)
