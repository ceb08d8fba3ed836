"""The metrics of one ticker at observation times: price, change_1d, volatility.

Belongs here: what the three metrics mean. Does not belong here: indicators, the feature row, reading a store.

Every value at T depends only on what was available at T (bars with `bar_end` plus feed lag <= T, actions whose ex-date
has begun in venue time), and has the same bits whichever longer frame or window it is computed in, as long as the bars
of `lookback_days(METRIC_SESSIONS)` in front of T are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from market_assets.calendars import venue_calendar
from market_assets.maths.arrays import says_nothing, take
from market_assets.maths.bars import INTERVALS, PRICE_LOOKBACK, Bars, PriceBars
from market_assets.maths.closes import APPROXIMATE, FROM_INTRADAY, MISSING, SessionCloses
from market_assets.maths.quantity import Quantity
from market_assets.maths.splits import Splits, rescale
from market_assets.maths.windows import required_pairs, sample_stdev, stretches

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.calendars import SessionTable, VenueCalendar
    from market_assets.maths.arrays import BoolArray, FloatArray, IntArray, TextArray
    from market_assets.maths.bars import ChosenBars
    from market_assets.universe import Ticker

#: daily returns in a volatility
VOLATILITY_RETURNS = 20
#: sessions that the metrics at T look back on, the one of T included
METRIC_SESSIONS = VOLATILITY_RETURNS + 1

STALE = "stale"
NO_PREVIOUS_CLOSE = "no_previous_close"
BAD_ACTION = "bad_action"
NOTE_STALE = "stale_warn"
NOTE_INTRADAY = "close_from_intraday"
NOTE_APPROXIMATE = "approximate"

#: days that a venue's holidays can add to a stretch of sessions, beyond its weekends
_HOLIDAY_SLACK_DAYS = 5
_INTERVAL_NAMES = np.array(INTERVALS, dtype=object)


def lookback_days(sessions: int) -> int:
    """Return how many days before T bars must be read so that `sessions` sessions before T's price bar are complete."""
    return -(-sessions * 7 // 5) + PRICE_LOOKBACK.days + _HOLIDAY_SLACK_DAYS


@dataclass(frozen=True, slots=True)
class StalenessLimits:
    """Limits in open-market minutes since the next bar should have been available."""

    #: above this a value still stands but no longer counts as fresh
    warn: float
    #: above this it is NULL
    null: float

    @classmethod
    def for_interval(cls, interval_minutes: int) -> StalenessLimits:
        """Return the limits that go with a collection interval: half of it and three times it (15 and 90 at 30)."""
        return cls(warn=interval_minutes / 2, null=interval_minutes * 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class TickerLog:
    """What is stored of one ticker.

    `bars`: a bar frame (ticker, interval, bar_start, bar_end, close, basis, ...), one version of each bar.
    `actions`: *all* dividends and splits (kind, ex_date, value, basis), not only those within the window of the bars.
    Other columns are ignored, rows may stand in any order.
    """

    ticker: Ticker
    bars: pd.DataFrame
    actions: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class TickerMetrics:
    """The metrics of one ticker, one entry per observation time."""

    at_us: IntArray
    series: TickerSeries
    price: Quantity
    change_1d: Quantity
    volatility: Quantity
    #: row of the session of the price bar in the venue's session table, -1 without a bar
    session: IntArray
    #: stored close and basis of the price bar
    stored: FloatArray
    stored_basis: FloatArray
    #: minutes since the price bar's end; NaN without a bar
    age_minutes: FloatArray
    #: open-market minutes since the next bar should have been available; NaN without a bar
    stale_minutes: FloatArray
    #: whether the venue is open at T; while it is not, the last session's values carry
    is_open: BoolArray
    #: interval of the price bar, None without a bar
    resolution: TextArray
    #: comma-separated notes, None if there is nothing to say
    notes: TextArray
    #: how many of the ticker's splits are in force
    splits_in_force: IntArray

    def close_before(self, sessions: int) -> Quantity:
        """Return the close that many calendar sessions before the price bar's session, on the basis in force at T."""
        closes = self.series.closes
        rows = np.where(self.session >= 0, self.session - sessions, -1)
        on_bar_scale = closes.on_basis(rows, self.at_us, self.session, self.stored_basis)
        in_force = closes.splits.in_force(closes.table.label[self.session], self.at_us)
        values = rescale(on_bar_scale, self.stored_basis, in_force)
        return Quantity.of(
            values, self.price.reasons, self.price.fresh, otherwise=f"no_close_{sessions}_sessions_before"
        )


@dataclass(frozen=True, slots=True, eq=False)
class TickerSeries:
    """A ticker's log, prepared once: everything that does not depend on T."""

    ticker: Ticker
    calendar: VenueCalendar
    prices: PriceBars
    closes: SessionCloses

    @classmethod
    def prepare(cls, log: TickerLog, calendar: VenueCalendar | None = None) -> TickerSeries:
        """Sort and index `log`.

        Raises:
            ValueError: two bars share interval and start, or an interval is unknown.
            NaiveTimestampError: a time column has no time zone.
        """
        calendar = calendar or venue_calendar(log.ticker.venue)
        table = calendar.sessions(calendar.first_day, calendar.last_day)
        splits = Splits.from_actions(log.actions, calendar)
        bars = Bars.from_frame(log.bars, table)
        return cls(
            log.ticker,
            calendar,
            PriceBars.of(log.ticker, bars, calendar),
            SessionCloses.of(log.ticker, bars, log.actions, table, splits),
        )

    @property
    def table(self) -> SessionTable:
        """The venue's sessions; `closes` is parallel to it."""
        return self.closes.table

    def at(self, at_us: IntArray, limits: StalenessLimits) -> TickerMetrics:
        """Compute the metrics at each T; the T may stand in any order."""
        closes, bars = self.closes, self.prices.bars
        chosen, session, stored, basis, price = self._priced(at_us, limits)
        has, fresh = chosen.row >= 0, price.fresh
        too_old = chosen.stale_minutes > limits.null

        before = closes.on_basis(np.where(has, session - 1, -1), at_us, session, basis)
        dividend = rescale(closes.dividend[session], closes.dividend_basis[session], basis)
        reasons = np.where(says_nothing(price.reasons) & np.isnan(dividend), BAD_ACTION, price.reasons)
        change_values = 100.0 * ((stored + dividend) / before - 1.0)
        change_1d = Quantity.of(change_values, reasons, fresh, otherwise=NO_PREVIOUS_CLOSE)

        volatility, origins = self._volatility(at_us)
        used = np.where(np.isnan(before), MISSING, closes.origin[session - 1])
        intraday, approximate = (
            (used == origin) | np.array([origin in window for window in origins], dtype=np.bool_)
            for origin in (FROM_INTRADAY, APPROXIMATE)
        )
        if self.ticker.is_fx:
            intraday[:] = False  # the rule there, nothing to note
        return TickerMetrics(
            at_us=at_us,
            series=self,
            price=price,
            change_1d=change_1d,
            volatility=volatility,
            session=session,
            stored=stored,
            stored_basis=basis,
            age_minutes=chosen.age_minutes,
            stale_minutes=chosen.stale_minutes,
            is_open=self.calendar.is_open(at_us),
            resolution=take(_INTERVAL_NAMES, take(bars.interval, chosen.row, -1), None),
            notes=_notes(
                {
                    NOTE_STALE: has & ~fresh & ~too_old,
                    NOTE_INTRADAY: intraday,
                    NOTE_APPROXIMATE: approximate,
                }
            ),
            splits_in_force=closes.splits.count_in_force(at_us),
        )

    def price_at(self, at_us: IntArray, limits: StalenessLimits) -> Quantity:
        """Return the price alone at each T, as `at` has it."""
        return self._priced(at_us, limits).price

    def _priced(self, at_us: IntArray, limits: StalenessLimits) -> _Priced:
        bars = self.prices.bars
        chosen = self.prices.choose(at_us)
        session = take(bars.session, chosen.row, -1)
        stored, basis = take(bars.close, chosen.row, np.nan), take(bars.basis, chosen.row, np.nan)
        too_old = chosen.stale_minutes > limits.null
        fresh = chosen.stale_minutes <= limits.warn
        reasons = np.where(says_nothing(chosen.reason) & too_old, STALE, chosen.reason)
        in_force = self.closes.splits.in_force(self.closes.table.label[session], at_us)
        price = Quantity.of(rescale(stored, basis, in_force), reasons, fresh, otherwise=BAD_ACTION)
        return _Priced(chosen, session, stored, basis, price)

    def _volatility(self, at_us: IntArray) -> tuple[Quantity, list[frozenset[int]]]:
        """Return the volatility, and the origins of the closes it stands on, at each T."""
        instants, position = stretches(self.closes.events_us(), at_us)
        windows = [self._volatility_at(instant) for instant in instants]
        values = np.array([window.value for window in windows])[position]
        reasons = np.array([window.reason for window in windows], dtype=object)[position]
        fresh = np.array([window.fresh for window in windows], dtype=np.bool_)[position]
        return Quantity(values, reasons, fresh), [windows[index].origins for index in position.tolist()]

    def _volatility_at(self, instant_us: int) -> _Window:
        closes = self.closes
        last = int(closes.completed(np.array([instant_us]))[0])
        rows = np.arange(max(last - VOLATILITY_RETURNS, 0), last + 1)
        known = closes.known_us[rows] <= instant_us
        origins = frozenset(closes.origin[rows][known].tolist())
        returns = closes.log_return[rows[1:]][closes.return_known_us[rows[1:]] <= instant_us]
        returns = returns[~np.isnan(returns)]
        fresh = bool(known[-1]) if len(rows) else False
        if len(returns) < required_pairs(VOLATILITY_RETURNS):
            return _Window(np.nan, f"{len(returns)}_of_{VOLATILITY_RETURNS}_returns", fresh, origins)
        return _Window(100.0 * sample_stdev(returns), None, fresh, origins)


class _Priced(NamedTuple):
    """The bars that give the price, and the price."""

    chosen: ChosenBars
    session: IntArray
    #: close and basis of the bar, as stored
    stored: FloatArray
    basis: FloatArray
    price: Quantity


class _Window(NamedTuple):
    value: float
    reason: str | None
    fresh: bool
    origins: frozenset[int]


def _notes(marks: dict[str, BoolArray]) -> TextArray:
    """Join the notes that hold, per entry."""
    weight: IntArray = np.sum([mark.astype(np.int64) << bit for bit, mark in enumerate(marks.values())], axis=0)
    names = list(marks)
    texts = [
        ",".join(name for bit, name in enumerate(names) if combination >> bit & 1) or None
        for combination in range(1 << len(names))
    ]
    return take(np.array(texts, dtype=object), weight, None)
