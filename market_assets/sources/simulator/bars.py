"""Rows of an answer: what Yahoo would show of the simulated market at one instant.

Belongs here: bars of any interval aggregated from five-minute candles, the unfinished bar, the live row, feed lags,
Yahoo's daily FX rows, prices and events rebased to splits. Does not belong here: drawing prices (`market.py`), JSON
(`wire.py`), faults.

A *view* is the market as published at one instant: it ends at `now` minus the venue's feed lag. All instants are
integer microseconds since the epoch, UTC; windows are half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from market_assets.calendars import local_midnight_us
from market_assets.sources.simulator.market import FIRST_TRADE_DAY, NODE_US, Candles, Market

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    from market_assets.calendars import SessionTable
    from market_assets.sources.simulator.instruments import Instrument

SECOND_US = 1_000_000
_MINUTE_US = 60 * SECOND_US
DAY_US = 1440 * _MINUTE_US
#: no venue stays shut longer
_LONGEST_CLOSURE_US = 10 * DAY_US

#: Yahoo's names of the intervals served here, in microseconds; None is a session
INTERVAL_US: dict[str, int | None] = {
    "5m": 5 * _MINUTE_US,
    "15m": 15 * _MINUTE_US,
    "30m": 30 * _MINUTE_US,
    "60m": 60 * _MINUTE_US,
    "1h": 60 * _MINUTE_US,
    "1d": None,
}


@dataclass(slots=True)
class Rows:
    """Rows as they travel, ascending by `start_us`; NaN is null. Faults change them in place."""

    #: stamp of the row
    start_us: NDArray[np.int64]
    #: venue-local session date that the row belongs to, datetime64[D]
    label: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    #: how many rows at the end are no bars but Yahoo's extra row: the live row or the closing print
    prints: int = 0

    def keep(self, wanted: NDArray[np.bool_]) -> None:
        """Drop the rows where `wanted` is False."""
        self.prints = int(wanted[len(self) - self.prints :].sum())
        for name in ("start_us", "label", "open", "high", "low", "close", "volume"):
            setattr(self, name, getattr(self, name)[wanted])

    def append_print(self, start_us: int, label: np.datetime64, price: NDArray[np.float64]) -> None:
        """Add an extra row without volume whose four prices are `price`, an array of one."""
        self.prints += 1
        self.start_us = np.append(self.start_us, start_us)
        self.label = np.append(self.label, label)
        for name in ("open", "high", "low", "close"):
            setattr(self, name, np.append(getattr(self, name), price))
        self.volume = np.append(self.volume, 0.0)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.start_us)


class Spans(NamedTuple):
    """Bars before their prices, parallel arrays."""

    label: NDArray[np.datetime64]
    #: first and last instant of trading
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]

    def where(self, wanted: NDArray[np.bool_]) -> Spans:
        """Return the spans where `wanted` is True."""
        return Spans(self.label[wanted], self.start_us[wanted], self.end_us[wanted])


@dataclass(frozen=True, slots=True)
class Event:
    """A dividend (`value` per share) or a split (`value` new shares per old), stamped at its session's open."""

    ex_date: date
    stamp_us: int
    value: float


class View:
    """One instrument as published at one instant."""

    def __init__(self, market: Market, instrument: Instrument, now_us: int, *, delay_us: int = 0) -> None:
        """Look at `instrument` at `now_us`, the simulator's instant; feed lag and `delay_us` are subtracted here.

        Raises:
            ValueError: `now_us` lies before the market's third week.
        """
        self.market = market
        self.instrument = instrument
        self.calendar = market.calendar(instrument)
        self.zone = ZoneInfo(instrument.timezone)
        self.now_us = now_us
        #: what happened until here is published
        self.end_us = (now_us - delay_us) // SECOND_US * SECOND_US
        self.end_us -= int(instrument.feed_lag.total_seconds()) * SECOND_US
        #: product of the split ratios that all prices are rebased to; counts from midnight, whatever the feed lag
        self.shares_now = market.shares_factor(instrument, now_us)
        #: open of the first session that has bars
        self.first_open_us = int(self.calendar.sessions(FIRST_TRADE_DAY, FIRST_TRADE_DAY).open_us[0])
        begun = self.hours(self.end_us - _LONGEST_CLOSURE_US, self.end_us + 1)
        begun = begun.where(begun.start_us <= self.end_us)
        if len(begun.label) < 2:  # noqa: PLR2004 - the current hours and those before
            raise ValueError(
                f"the simulated market begins on {FIRST_TRADE_DAY}; set the clock at least two weeks later"
            )
        #: the latest hours of trading that have begun, and their session
        self.label = begun.label[-1]
        self.open_us, self.close_us = int(begun.start_us[-1]), int(begun.end_us[-1])
        #: whether prices are printed and at least a second of the hours has been published
        self.is_trading = self.open_us < self.end_us < self.close_us
        #: end of the latest hours that have ended
        self.last_close_us = self.close_us if self.end_us >= self.close_us else int(begun.end_us[-2])

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def last_trade_us(self) -> int:
        """Instant of the last published trade: an odd second while the market is open, else the close."""
        if not self.is_trading:
            return self.last_close_us
        return self.end_us - 3 * SECOND_US if self.end_us % _MINUTE_US == 0 else self.end_us

    def last_price(self) -> float:
        """Return the price of the last published trade, on today's share basis."""
        node = -(-(self.end_us if self.is_trading else self.last_close_us) // NODE_US)
        return float(self._visible(node - 1, node).close[0])

    def sessions(self, start_us: int, end_us: int) -> SessionTable:
        """Return the sessions that overlap [start_us, end_us) and have begun."""
        start = max(start_us, self.first_open_us)
        return self.calendar.sessions_between_us(start, max(start, min(end_us, self.end_us + 1)))

    def hours(self, start_us: int, end_us: int) -> Spans:
        """Return the hours in which Yahoo has bars, of every session that overlaps [start_us, end_us) and has begun.

        Mostly the sessions themselves, see `market_assets.calendars`: a session may begin before its first bar (FX
        on Sundays) and may pause.
        """
        sessions = self.sessions(start_us, end_us)
        if not len(sessions.label):
            return Spans(*sessions)
        starts, ends = self.calendar.expected_bars("15m", int(sessions.open_us[0]), int(sessions.close_us[-1]))
        row = np.searchsorted(sessions.open_us, starts, side="right") - 1
        is_first = np.ones(len(starts), dtype=np.bool_)
        is_first[1:] = (starts[1:] != ends[:-1]) | (row[1:] != row[:-1])
        return Spans(sessions.label[row[is_first]], starts[is_first], ends[np.roll(is_first, -1)])

    def latest_day(self) -> Rows:
        """Return one row: the latest hours of trading with a price, finished or not."""
        hours = self.hours(self.last_close_us - 1, self.end_us)
        begun = hours.where(hours.start_us < self.end_us)
        return self.bars(Spans(begun.label[-1:], begun.start_us[-1:], begun.end_us[-1:]))

    def close_before(self, instant_us: int) -> float | None:
        """Return the close of the last session that ended at or before `instant_us`, or None before the first."""
        sessions = self.sessions(instant_us - _LONGEST_CLOSURE_US, min(instant_us, self.end_us))
        spans = Spans(*sessions)
        closes = self.bars(spans.where(spans.end_us <= min(instant_us, self.end_us))).close
        return float(closes[-1]) if len(closes) else None

    def year_range(self) -> tuple[float, float]:
        """Return low and high of the 52 weeks until the last close, on today's share basis."""
        low, high, basis = _year_range(self.market, self.instrument, self.last_close_us)
        return low * basis / self.shares_now, high * basis / self.shares_now

    # --- rows ---------------------------------------------------------------------------------------------------------

    def rows(self, interval: str, start_us: int, end_us: int) -> Rows:
        """Return all rows whose stamp lies in [start_us, end_us), plus what Yahoo adds at the end.

        Intraday that is the live row while the market is open, and the closing print after the close where Yahoo has
        one; daily it is the running day, stamped with its last trade. Like Yahoo, all of them are added to any window
        that reaches into the current session, even if they lie behind its end.
        """
        length = INTERVAL_US[interval]
        if length is None:
            return self._daily_rows(start_us, end_us)
        hours = self.hours(start_us, end_us)
        # Yahoo's bars of an index begin on the whole hour, even if the index does not; those of a fund at its open.
        anchor = hours.start_us // length * length if self.instrument.venue == "CBOE_INDEX" else hours.start_us
        spans, stamps = _tile(hours, anchor, length)
        inside = (stamps >= start_us) & (stamps < end_us) & (spans.start_us < self.end_us)
        rows = self.bars(spans.where(inside))
        rows.start_us = stamps[inside]
        has_print = self.is_trading or (self.instrument.has_extended_hours and self.last_close_us == self.close_us)
        if has_print and start_us <= self.last_trade_us and end_us > self.open_us:
            rows.append_print(self.last_trade_us, self.label, _served(np.array([self.last_price()])))
        return rows

    def bars(self, spans: Spans) -> Rows:
        """Return one row per span that has begun, the last one unfinished if the view ends inside it."""
        label, starts, ends = spans.where(spans.start_us < self.end_us)
        if not len(starts):
            none = np.empty(0)
            return Rows(starts, label, none, none, none, none, none)
        first = int(starts[0]) // NODE_US
        last = -(-min(int(ends[-1]), self.end_us) // NODE_US)
        candles = self._visible(first, last)
        begin = starts // NODE_US - first
        end = np.minimum(-(-ends // NODE_US), last) - first
        # reduceat over begin, end, begin, end, ...; every second result spans the gap between two bars
        bounds = np.column_stack((begin, end)).ravel()
        return Rows(
            starts,
            label,
            _served(candles.open[begin]),
            _served(np.maximum.reduceat(np.append(candles.high, -np.inf), bounds)[::2]),
            _served(np.minimum.reduceat(np.append(candles.low, np.inf), bounds)[::2]),
            _served(candles.close[end - 1]),
            np.add.reduceat(np.append(candles.volume, 0.0), bounds)[::2],
        )

    # --- events -------------------------------------------------------------------------------------------------------

    def dividends(self, start_us: int, end_us: int) -> list[Event]:
        """Return the dividends in force whose session opens in [start_us, end_us), on today's share basis."""
        found = []
        for ex_date, midnight, stamp in self._in_force(self.market.ex_dates(self.instrument), start_us, end_us):
            before = View(self.market, self.instrument, midnight - 1)
            declared = round(before.last_price() * self.instrument.payout, 3)
            found.append(Event(ex_date, stamp, round(declared * before.shares_now / self.shares_now, 6)))
        return found

    def splits(self, start_us: int, end_us: int) -> list[Event]:
        """Return the splits in force whose session opens in [start_us, end_us)."""
        ratios = {split.ex_date: split.ratio for split in self.instrument.splits}
        in_force = self._in_force(tuple(ratios), start_us, end_us)
        return [Event(ex_date, stamp, ratios[ex_date]) for ex_date, _, stamp in in_force]

    def adjusted_close(self, rows: Rows) -> NDArray[np.float64]:
        """Return the closes reduced by all later dividends in force, as in Yahoo's `adjclose`."""
        in_force = self._in_force(self.market.ex_dates(self.instrument), self.first_open_us, self.now_us + DAY_US)
        days = np.array([ex_date for ex_date, _, _ in in_force], dtype="datetime64[D]")
        later = len(days) - np.searchsorted(days, rows.label, side="right")
        return _served(rows.close * (1.0 - self.instrument.payout) ** later)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _in_force(self, ex_dates: tuple[date, ...], start_us: int, end_us: int) -> list[tuple[date, int, int]]:
        """Return (ex-date, midnight, open of its session) of those in force that open in [start_us, end_us)."""
        found = []
        for ex_date in ex_dates:
            midnight = self.calendar.day_start_us(ex_date)
            if midnight <= self.now_us and start_us - _LONGEST_CLOSURE_US <= midnight < end_us:
                stamp = int(self.calendar.sessions_between_us(midnight, midnight + _LONGEST_CLOSURE_US).open_us[0])
                if start_us <= stamp < end_us:
                    found.append((ex_date, midnight, stamp))
        return found

    def _visible(self, first_node: int, last_node: int) -> Candles:
        """Return the candles on today's share basis; the node in which the view ends is unfinished."""
        candles = self.market.candles(self.instrument, first_node, last_node)
        if last_node * NODE_US > self.end_us:
            part, decimals = self.end_us % NODE_US / NODE_US, self.instrument.decimals
            opened, closed = candles.open[-1], candles.close[-1]
            now = np.round(opened + (closed - opened) * part, decimals)
            above, below = candles.high[-1] - max(opened, closed), min(opened, closed) - candles.low[-1]
            # never outside of the finished candle: a bar only grows
            candles.high[-1] = max(opened, now) + np.floor(above * part * 10**decimals) / 10**decimals
            candles.low[-1] = min(opened, now) - np.floor(below * part * 10**decimals) / 10**decimals
            candles.close[-1] = now
            candles.volume[-1] = np.floor(candles.volume[-1] * part)
        if self.instrument.splits:
            self._rebase(candles, first_node)
        return candles

    def _rebase(self, candles: Candles, first_node: int) -> None:
        """Turn native candles into today's shares, in place."""
        factor = np.full(candles.open.shape, 1.0 / self.shares_now)
        for split in self.instrument.splits:
            factor[max(0, self.calendar.day_start_us(split.ex_date) // NODE_US - first_node) :] *= split.ratio
        for prices in candles[:4]:
            np.multiply(prices, factor, out=prices)
        candles.volume[:] = np.round(candles.volume / factor)

    def _daily_rows(self, start_us: int, end_us: int) -> Rows:
        spans, stamps, finals = self._days(start_us - 2 * DAY_US, min(end_us, self.end_us) + 2 * DAY_US)
        done = finals <= self.end_us
        stamps = np.where(done, stamps, self.last_trade_us)
        reached = np.where(done, stamps, np.minimum(spans.start_us, stamps)) < end_us
        wanted = (spans.start_us < self.end_us) & (stamps >= start_us) & reached
        rows = self.bars(spans.where(wanted))
        rows.start_us = stamps[wanted]
        if self.instrument.is_fx:
            # Yahoo's quirk: the close of row D is the price at the START of D.
            rows.close = np.where(done[wanted], rows.open, rows.close)
        return rows

    def _days(self, start_us: int, end_us: int) -> tuple[Spans, NDArray[np.int64], NDArray[np.int64]]:
        """Return the daily bars around [start_us, end_us), Yahoo's stamps of them, and when each is final."""
        start = max(start_us, self.first_open_us)
        end = max(start, end_us)
        if self.instrument.is_fx:
            stamps, finals = self.calendar.expected_bars("1d", start, end)
            sessions = self.calendar.sessions_between_us(start, end + 2 * DAY_US)
            # A London day ends inside New York's next session; on Fridays and before holidays there is none.
            row = np.searchsorted(sessions.open_us, finals, side="left") - 1
            labels = (stamps + DAY_US // 2).astype("datetime64[us]").astype("datetime64[D]")
            return Spans(labels, stamps, np.minimum(finals, sessions.close_us[row])), stamps, finals
        spans = Spans(*self.calendar.sessions_between_us(start, end))
        stamps = spans.start_us
        if self.instrument.venue == "ICE_USDX":
            days: list[date] = spans.label.tolist()
            stamps = np.array([local_midnight_us(day, self.zone) for day in days], dtype=np.int64)
        return spans, stamps, spans.end_us


def _tile(hours: Spans, anchor_us: NDArray[np.int64], length_us: int) -> tuple[Spans, NDArray[np.int64]]:
    """Return the bars of `length_us` that tile each span of `hours` from its anchor, cut to it, and their stamps."""
    counts = -(-(hours.end_us - anchor_us) // length_us)
    position = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    stamps = np.repeat(anchor_us, counts) + position * length_us
    starts = np.maximum(stamps, np.repeat(hours.start_us, counts))
    ends = np.minimum(stamps + length_us, np.repeat(hours.end_us, counts))
    return Spans(np.repeat(hours.label, counts), starts, ends), stamps


def _served(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return prices as Yahoo sends them: single precision, printed as doubles."""
    return prices.astype(np.float32).astype(np.float64)


@lru_cache(maxsize=512)
def _year_range(market: Market, instrument: Instrument, close_us: int) -> tuple[float, float, float]:
    """Return low and high of the 52 weeks until the close at `close_us`, and their share basis."""
    lag_us = int(instrument.feed_lag.total_seconds()) * SECOND_US
    view = View(market, instrument, close_us + lag_us)
    rows = view.bars(Spans(*view.sessions(close_us - 365 * DAY_US, close_us)))
    return float(rows.low.min()), float(rows.high.max()), view.shares_now
