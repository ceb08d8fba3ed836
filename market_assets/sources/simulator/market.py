"""The simulated market: every price is a function of (seed, symbol, instant) and of nothing else.

Belongs here: drawing five-minute candles, dividends and splits. Does not belong here: bars, sessions as Yahoo shows
them and live rows (`bars.py`), the wire format (`wire.py`).

The logarithm of a price is its level plus a mean-reverting sum of factor and own moves. Every process has one total per
UTC day, drawn once for all days, and inside the day a bridge over 288 five-minute nodes, drawn per block of days from a
generator seeded with (seed, process, block). So any window can be computed by itself, in any order, with the same
bits, and correlations hold at every sampling, overnight gaps and different closing times included.

Prices are kept *native*: as traded on that day, on the share basis of that day, rounded to the tick. What Yahoo serves
is native x (splits until that day) / (splits until the simulator's now); `bars.py` does that.
"""

from __future__ import annotations

import math
import threading
import zlib
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.calendars import FIRST_DAY, LAST_DAY, VenueCalendar, venue_calendar
from market_assets.sources.simulator.instruments import (
    ALWAYS_OPEN_FACTORS,
    CATALOGUE,
    FACTORS,
    Instrument,
    Split,
    etf,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market_assets.sources.simulator.instruments import Levels

#: length of a node: the resolution from which every bar is aggregated
NODE_US = 300_000_000
NODES_PER_DAY = 288
_DAYS_PER_BLOCK = 32
_NODES_PER_BLOCK = _DAYS_PER_BLOCK * NODES_PER_DAY
#: no symbol has bars before this day; the year before it lets the mean-reverting sums forget their start
FIRST_TRADE_DAY = date(2016, 1, 4)
_DAY_ZERO = np.datetime64(FIRST_DAY, "D")
_DAYS = int((np.datetime64(LAST_DAY, "D") - _DAY_ZERO).astype(int)) + 2
_NODE_ZERO = int(_DAY_ZERO.astype("datetime64[us]").astype(np.int64)) // NODE_US
_NOISE_SIZE = 8191  # prime, so that the strides below walk through all of it

_SATURDAY_RISK = 0.15
_SUNDAY_RISK = 0.25


def _hour_of_risk() -> NDArray[np.float64]:
    """Return the share of a day's variance in each five minutes: most of it while New York trades."""
    per_hour = np.repeat([0.35, 0.8, 2.4, 0.6, 0.35], [6, 7, 8, 1, 2])
    shares: NDArray[np.float64] = np.repeat(per_hour, NODES_PER_DAY // 24)
    shares /= shares.sum()
    return shares


_RISK_SHARE = _hour_of_risk()
_RISK_SO_FAR = np.cumsum(_RISK_SHARE)


class Candles(NamedTuple):
    """Consecutive five-minute candles, closed hours included: native prices, volume in shares or coins' value."""

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Tables:
    """What is drawn once per symbol: one number per day."""

    #: distance of the log price from its level at 00:00 UTC
    deviation: NDArray[np.float64]
    #: log of the level at 00:00 UTC
    level: NDArray[np.float64]


class Market:
    """All symbols of one seed. Thread-safe: everything drawn is a pure function, caches only save time."""

    def __init__(self, seed: int = 7) -> None:
        """Take the catalogue of instruments; nothing is drawn yet."""
        self.seed = seed
        self._lock = threading.Lock()
        self._instruments = {instrument.symbol: instrument for instrument in CATALOGUE}
        noise = self._generator("noise", 0).standard_normal(_NOISE_SIZE)
        self._noise: NDArray[np.float64] = np.abs(noise)
        self._bridge = lru_cache(maxsize=256)(self._draw_bridge)
        self._totals = lru_cache(maxsize=256)(self._draw_totals)
        self._tables = lru_cache(maxsize=256)(self._draw_tables)
        self._block = lru_cache(maxsize=192)(self._draw_block)
        self._ex_dates = lru_cache(maxsize=256)(self._list_ex_dates)

    # --- symbols ------------------------------------------------------------------------------------------------------

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every known symbol, under Yahoo's names."""
        return tuple(self._instruments)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return what is known about `symbol` (any case, as at Yahoo), or None."""
        return self._instruments.get(symbol.upper())

    def add_symbol(
        self, symbol: str, *, price: float = 100.0, market_beta: float = 0.9, own_risk: float = 0.005, name: str = ""
    ) -> Instrument:
        """Add an ETF-like symbol that trades in New York around `price`, and return it."""
        levels: Levels = ((FIRST_TRADE_DAY.year, price),)
        return self.add_instrument(etf(symbol.upper(), name or symbol, levels, {"market": market_beta}, own_risk))

    def add_instrument(self, instrument: Instrument) -> Instrument:
        """Add or replace any kind of instrument, and return it."""
        with self._lock:
            self._instruments[instrument.symbol] = instrument
        return instrument

    def add_split(self, symbol: str, ex_date: date, ratio: float) -> None:
        """Give `symbol` another split: `ratio` new shares for one old from 00:00 venue time of `ex_date`.

        Native prices before `ex_date` stay the same to the bit.

        Raises:
            KeyError: the symbol is unknown.
            ValueError: `ratio` is not positive.
        """
        if ratio <= 0:
            raise ValueError(f"ratio={ratio} of a split must be positive, e.g. 2.0 for 2:1 or 0.125 for 1:8")
        with self._lock:
            known = self._instruments[symbol.upper()]
            splits = tuple(sorted((*known.splits, Split(ex_date, ratio)), key=lambda split: split.ex_date))
            self._instruments[known.symbol] = replace(known, splits=splits)

    # --- prices -------------------------------------------------------------------------------------------------------

    def candles(self, instrument: Instrument, first_node: int, last_node: int) -> Candles:
        """Return the candles of the nodes [first_node, last_node), in arrays that the caller may change.

        Nodes count the epoch in five minutes; there must be at least one.

        Raises:
            ValueError: no node, or one outside of the calendars' years.
        """
        first, last = first_node - _NODE_ZERO, last_node - _NODE_ZERO
        if not 0 <= first < last <= (_DAYS - 1) * NODES_PER_DAY:
            raise ValueError(f"nodes {first_node} to {last_node} are none, or lie outside of {FIRST_DAY} to {LAST_DAY}")
        pieces = []
        for block in range(first // _NODES_PER_BLOCK, -(-last // _NODES_PER_BLOCK)):
            offset = block * _NODES_PER_BLOCK
            inside = slice(max(first - offset, 0), last - offset)
            pieces.append([column[inside] for column in self._block(instrument, block)])
        return Candles(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))

    def shares_factor(self, instrument: Instrument, at_us: int) -> float:
        """Return the product of the ratios of all splits in force at `at_us`, microseconds UTC."""
        return math.prod(
            split.ratio for split in instrument.splits if self.in_force_from_us(instrument, split.ex_date) <= at_us
        )

    def in_force_from_us(self, instrument: Instrument, ex_date: date) -> int:
        """Return 00:00 venue time of `ex_date`: from then on Yahoo shows the dividend or split."""
        return self.calendar(instrument).day_start_us(ex_date)

    def calendar(self, instrument: Instrument) -> VenueCalendar:
        """Return the venue calendar of `instrument`."""
        return venue_calendar(instrument.venue)

    def ex_dates(self, instrument: Instrument) -> tuple[date, ...]:
        """Return the ex-dates of all dividends, ascending, past and future."""
        return self._ex_dates(instrument.venue, instrument.payout_months, instrument.payout_day)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _generator(self, process: str, block: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(process.encode()), block])

    def _draw_totals(self, process: str) -> NDArray[np.float64]:
        return self._generator(process, 0).standard_normal(_DAYS)

    def _draw_bridge(self, process: str, block: int) -> NDArray[np.float64]:
        """Return unit bridges from 0 to 0, one row per day of the block, one column per node's end."""
        steps = self._generator(process, 1 + block).standard_normal((_DAYS_PER_BLOCK, NODES_PER_DAY))
        walk: NDArray[np.float64] = np.cumsum(steps * np.sqrt(_RISK_SHARE), axis=1)
        return walk - walk[:, -1:] * _RISK_SO_FAR

    def _processes(self, instrument: Instrument) -> list[tuple[str, float, NDArray[np.float64]]]:
        """Return (name, beta, risk per day) of everything that moves `instrument`."""
        moving = [
            (name, beta, _risk_per_day(FACTORS[name], name in ALWAYS_OPEN_FACTORS)) for name, beta in instrument.betas
        ]
        own = _risk_per_day(instrument.own_risk, instrument.is_always_open)
        return [*moving, (f"own:{instrument.symbol}", 1.0, own)]

    def _draw_tables(self, instrument: Instrument) -> _Tables:
        moves = np.zeros(_DAYS)
        for process, beta, risk in self._processes(instrument):
            moves += beta * self._totals(process) * risk
        drops = np.zeros(_DAYS)
        for ex_date in self.ex_dates(instrument):
            drops[_day_index(ex_date)] = np.log1p(-instrument.payout)
        deviation = np.zeros(_DAYS)
        today = 0.0
        for day, (move, drop) in enumerate(zip(moves.tolist(), drops.tolist(), strict=True)):
            today += drop
            deviation[day] = today
            today = instrument.persistence * today + move
        starts = [_day_index(date(year, 1, 1)) for year, _ in instrument.levels]
        level = np.interp(np.arange(_DAYS), starts, np.log([price for _, price in instrument.levels]))
        return _Tables(deviation, level)

    def _draw_block(self, instrument: Instrument, block: int) -> Candles:
        # Splits change the unit of the native price, not the path: without them the tables are the same object.
        path = replace(instrument, splits=())
        tables = self._tables(path)
        days = np.minimum(np.arange(block * _DAYS_PER_BLOCK, (block + 1) * _DAYS_PER_BLOCK), _DAYS - 2)
        start = tables.deviation[days][:, None]
        drift = (instrument.persistence - 1.0) * start + (tables.level[days + 1] - tables.level[days])[:, None]
        moves = drift * _RISK_SO_FAR
        for process, beta, risk in self._processes(instrument):
            total = self._totals(process)[days] * risk[days]
            moves += beta * (self._bridge(process, block) * risk[days][:, None] + total[:, None] * _RISK_SO_FAR)
        start = start + tables.level[days][:, None]
        nodes = np.exp(np.concatenate((start, start + moves), axis=1))
        return self._candles_of(instrument, nodes, days, block)

    def _candles_of(
        self, instrument: Instrument, nodes: NDArray[np.float64], days: NDArray[np.int64], block: int
    ) -> Candles:
        nodes = nodes * _native_factor(instrument, days)[:, None]
        opened, closed = nodes[:, :-1].ravel(), nodes[:, 1:].ravel()
        index = np.arange(_NODES_PER_BLOCK) + block * _NODES_PER_BLOCK + zlib.crc32(instrument.symbol.encode())
        weekday_risk = _total_risk(instrument)
        wick = 0.3 * weekday_risk * np.tile(np.sqrt(_RISK_SHARE), _DAYS_PER_BLOCK)
        high = np.maximum(opened, closed) * (1.0 + wick * self._noise[index % _NOISE_SIZE])
        low = np.minimum(opened, closed) * (1.0 - wick * self._noise[(3 * index + 17) % _NOISE_SIZE])
        activity = 0.3 + self._noise[(7 * index + 5) % _NOISE_SIZE]
        unit = 1.0 if instrument.is_always_open else closed
        volume = np.round(instrument.turnover * activity / unit)
        opened, high, low, closed = (np.round(column, instrument.decimals) for column in (opened, high, low, closed))
        candles = Candles(opened, high, low, closed, volume)
        for column in candles:
            column.setflags(write=False)
        return candles

    def _list_ex_dates(self, venue: str, months: tuple[int, ...], day: int) -> tuple[date, ...]:
        if not months:
            return ()
        labels = venue_calendar(venue).sessions(FIRST_TRADE_DAY, LAST_DAY).label
        wanted = [date(year, month, day) for year in range(FIRST_TRADE_DAY.year, LAST_DAY.year) for month in months]
        rows = np.searchsorted(labels, np.array(wanted, dtype="datetime64[D]"))
        ex_dates: list[date] = labels[rows].tolist()
        return tuple(ex_date for ex_date in ex_dates if ex_date > FIRST_TRADE_DAY)


def _day_index(day: date) -> int:
    return int((np.datetime64(day, "D") - _DAY_ZERO).astype(int))


@lru_cache(maxsize=128)
def _risk_per_day(risk: float, always_open: bool) -> NDArray[np.float64]:
    """Return the standard deviation of each day's move: small at weekends, unless the market never closes."""
    per_day = np.full(_DAYS, risk)
    if not always_open:
        weekday = (np.arange(_DAYS) + _DAY_ZERO.astype(int) + 3) % 7  # the epoch was a Thursday; Monday is 0
        per_day[weekday == 5] *= _SATURDAY_RISK  # noqa: PLR2004 - Saturday
        per_day[weekday == 6] *= _SUNDAY_RISK  # noqa: PLR2004 - Sunday
    per_day.setflags(write=False)
    return per_day


def _total_risk(instrument: Instrument) -> float:
    """Return the standard deviation of a weekday's move of `instrument`."""
    return math.hypot(instrument.own_risk, *(beta * FACTORS[name] for name, beta in instrument.betas))


def _native_factor(instrument: Instrument, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, per day, what turns a price on the basis of the levels into the price as traded."""
    factor = np.full(days.shape, instrument.level_basis)
    for split in instrument.splits:
        factor[days >= _day_index(split.ex_date)] /= split.ratio
    return factor
