"""Random markets for the look-ahead gate: versions of bars on the venues' real calendars, and instants to look at.

Belongs here: making cases and saying what is in them. Does not belong here: assertions, servers, databases.

Prices are nonsense on purpose: a row that takes one wrong bar then differs for sure. Times are the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE, from_us, to_us, venue_calendar
from market_assets.indicators import INDICATORS
from market_assets.maths.arrays import NEVER_US
from market_assets.maths.bars import session_of
from market_assets.universe import UNIVERSE, Universe
from market_assets.verify.history import LogHistory, TickerHistory, Versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market_assets.indicators import Indicator
    from market_assets.universe import Ticker

#: what a case can be about; each is found again in the case itself, see `Case.categories`
CATEGORIES = (
    "dst_week",
    "half_day",
    "fx_sunday_evening",
    "late_bar",
    "revised",
    "split",
    "dividend",
    "holiday",
    "outage",
    "crypto_evening",
    "feed_lag",
    "plain",
)
_FIRST, _LAST = date(2018, 2, 1), date(2026, 6, 30)
_NEW_YORK, _LONDON = ZoneInfo("America/New_York"), ZoneInfo("Europe/London")
_HOUR_US = 60 * US_PER_MINUTE
#: how many days of daily bars stand in front of T: enough for 21 sessions
_DAYS_BEFORE = 40
_TICK_US = US_PER_MINUTE


@dataclass(frozen=True)
class Case:
    """A log, an observation time and the knowledge that its row was served from."""

    seed: int
    universe: Universe
    indicators: tuple[Indicator, ...]
    history: LogHistory
    at_us: int
    as_of_us: int
    outage: bool

    def __str__(self) -> str:
        names = ",".join(ticker.name for ticker in self.universe)
        return f"case {self.seed} at {from_us(self.at_us)} as of {from_us(self.as_of_us)} of {names}"

    @property
    def categories(self) -> set[str]:
        """What the case contains, judged by its data."""
        at = from_us(self.at_us)
        local = at.astimezone(_NEW_YORK)
        found = {
            "dst_week": any(
                (at - timedelta(days=3.5)).astimezone(zone).utcoffset()
                != (at + timedelta(days=3.5)).astimezone(zone).utcoffset()
                for zone in (_NEW_YORK, _LONDON)
            ),
            "half_day": local.date() in half_days() or local.date() - timedelta(days=1) in half_days(),
            "fx_sunday_evening": local.weekday() == 6
            and local.hour >= 17
            and any(ticker.is_fx for ticker in self.universe),
            "holiday": local.date() in holidays() or local.date() - timedelta(days=1) in holidays(),
            "late_bar": any(self._late(one) for one in self.history.tickers.values()),
            "revised": any(self._revised(one) for one in self.history.tickers.values()),
            "split": self._has_action("split", 5),
            "dividend": self._has_action("dividend", 3),
            "outage": self.outage,
            "crypto_evening": self._is_crypto_evening(),
            "feed_lag": any(_closes_within_lag(ticker, self.at_us).any() for ticker in self.universe),
        }
        return {name for name, holds in found.items() if holds} or {"plain"}

    def _is_crypto_evening(self) -> bool:
        """Whether New York has closed and the UTC day, with its crypto bar, has not."""
        day = from_us(self.at_us).date()
        closes = venue_calendar("XNYS").sessions(day, day).close_us
        correlated = {"QQQ", "ARKK", "GLD"} & {ticker.name for ticker in self.universe}
        return bool(self.universe.crypto and correlated and (closes <= self.at_us).any())

    def _late(self, history: TickerHistory) -> bool:
        lag_us = history.ticker.feed_lag // timedelta(microseconds=1)
        bars = history.bars
        due = bars["bar_end"] + lag_us <= self.at_us
        unknown = due & (bars["known_from"] > self.as_of_us)
        # A second version of a bar is a revision.
        known = set(zip(bars["interval"][~unknown].tolist(), bars["bar_start"][~unknown].tolist(), strict=True))
        keys = zip(bars["interval"][unknown].tolist(), bars["bar_start"][unknown].tolist(), strict=True)
        return any(key not in known for key in keys)

    def _revised(self, history: TickerHistory) -> bool:
        ended = history.bars["known_to"] < NEVER_US
        return bool((ended & (history.bars["bar_end"] <= self.at_us)).any())

    def _has_action(self, kind: str, days: int) -> bool:
        today = np.datetime64(from_us(self.at_us).date(), "D")
        return any(
            bool((np.abs(own["ex_date"][own["kind"] == kind] - today) <= np.timedelta64(days, "D")).any())
            for own in (one.actions for one in self.history.tickers.values())
        )


def make_case(seed: int, category: str, universe: Universe | None = None) -> Case:
    """Return the case of a seed, one that contains `category`."""
    rng = np.random.default_rng([seed, CATEGORIES.index(category)])
    universe = universe or _universe(category, rng)
    at_us = _instant(category, rng, universe)
    live = category in {"late_bar", "outage", "revised"} or rng.random() < 0.5
    as_of_us = at_us + _TICK_US + int(rng.integers(0, 20)) * 1_000_000 if live else at_us + 30 * US_PER_DAY
    maker = _Maker(rng, at_us, as_of_us, live=live, category=category)
    return Case(
        seed,
        universe,
        tuple(one for one in INDICATORS if all(name in universe for name in one.inputs)),
        LogHistory({ticker.name: maker.ticker(ticker) for ticker in universe}),
        at_us,
        as_of_us,
        outage=category == "outage",
    )


@cache
def half_days() -> frozenset[date]:
    table = venue_calendar("XNYS").sessions(_FIRST, _LAST)
    return frozenset(table.label[table.close_us - table.open_us < 390 * US_PER_MINUTE].tolist())


@cache
def holidays() -> frozenset[date]:
    """Weekdays on which New York is shut."""
    labels = set(venue_calendar("XNYS").sessions(_FIRST, _LAST).label.tolist())
    days = [_FIRST + timedelta(days=ahead) for ahead in range((_LAST - _FIRST).days)]
    return frozenset(day for day in days if day.weekday() < 5 and day not in labels)


@cache
def _clock_changes() -> tuple[datetime, ...]:
    found = []
    day = datetime(_FIRST.year, _FIRST.month, _FIRST.day, tzinfo=UTC)
    while day.date() < _LAST:
        after = day + timedelta(days=1)
        if any(day.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset() for zone in (_NEW_YORK, _LONDON)):
            found.append(day)
        day = after
    return tuple(found)


def _closes_within_lag(ticker: Ticker, at_us: int) -> NDArray[np.bool_]:
    """Return which recent sessions of a ticker are over while their last bar is under way."""
    closes = venue_calendar(ticker.venue).sessions_between_us(at_us - 2 * US_PER_DAY, at_us + US_PER_DAY).close_us
    return (closes <= at_us) & (at_us < closes + ticker.feed_lag // timedelta(microseconds=1))


def _universe(category: str, rng: np.random.Generator) -> Universe:
    """Return one indicator's inputs and one more ticker, which the category may ask for; now and then a coin."""
    share = ("QQQ", "ARKK", "GLD", "USO")[rng.integers(4)]
    fx = ("EURUSD", "GBPUSD", "JPYUSD")[rng.integers(3)]
    lagged = ("VIX", "DXY")[rng.integers(2)]
    wanted = {
        "feed_lag": lagged,
        "fx_sunday_evening": fx,
        "split": share,
        "dividend": share,
        "crypto_evening": share.replace("USO", "QQQ"),
    }
    further = wanted.get(category, (share, fx, lagged)[rng.integers(3)])
    chosen = {*INDICATORS[rng.integers(len(INDICATORS))].inputs, further}
    if category == "crypto_evening" or rng.random() < 0.3:
        chosen.add(("BTC", "ETH")[rng.integers(2)])
    return Universe(tuple(ticker for ticker in UNIVERSE if ticker.name in chosen))


def _instant(category: str, rng: np.random.Generator, universe: Universe) -> int:
    """Return an observation time: mostly on the grid, often exactly when a bar becomes available, or just before."""
    about = to_us(_about(category, rng))
    if category == "feed_lag":
        # The session is over, and its last bar is under way.
        lagged = next(ticker for ticker in universe if ticker.feed_lag)
        closes = venue_calendar(lagged.venue).sessions_between_us(about, about + 7 * US_PER_DAY).close_us
        return int(closes[0]) + int(rng.integers(lagged.feed_lag // timedelta(microseconds=1)))
    how = rng.random()
    if how < 0.55:
        step = (30 if how < 0.4 else 15) * US_PER_MINUTE
        return about // step * step
    if how < 0.9:
        ticker = tuple(universe)[rng.integers(len(universe))]
        interval = ("15m", "1h", "1d")[rng.integers(3)]
        _, ends = venue_calendar(ticker.venue).expected_bars(interval, about - 2 * US_PER_DAY, about + US_PER_DAY)
        available = ends + ticker.feed_lag // timedelta(microseconds=1)
        near = available[np.abs(available - about) < 45 * US_PER_MINUTE]
        if len(near):
            return int(near[rng.integers(len(near))]) + int(rng.integers(-1, 2))
    return about


def _about(category: str, rng: np.random.Generator) -> datetime:
    def within(hours_from: float, hours_to: float) -> timedelta:
        return timedelta(hours=float(rng.uniform(hours_from, hours_to)))

    def new_york(day: date, hour: int) -> datetime:
        return datetime(day.year, day.month, day.day, hour, tzinfo=_NEW_YORK).astimezone(UTC)

    if category == "dst_week":
        return _clock_changes()[rng.integers(len(_clock_changes()))] + within(-60, 84)
    if category in {"half_day", "holiday"}:
        days = sorted(half_days() if category == "half_day" else holidays())
        return new_york(days[rng.integers(len(days))], 9) + within(0, 24)
    day = _FIRST + timedelta(days=int(rng.integers((_LAST - _FIRST).days)))
    if category == "fx_sunday_evening":
        return new_york(day - timedelta(days=(day.weekday() + 1) % 7), 17) + within(0.8, 6.2)
    if category == "crypto_evening":
        table = venue_calendar("XNYS").sessions(day, day + timedelta(days=7))
        close = from_us(int(table.close_us[0]))
        return close + (close.replace(hour=23, minute=59) - close) * float(rng.uniform(0.3, 0.8))
    if category == "outage":
        labels = venue_calendar("XNYS").sessions(day, day + timedelta(days=7)).label.tolist()
        return new_york(labels[0], 13) + within(0, 3)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + within(0, 24)


@dataclass(frozen=True)
class _Maker:
    rng: np.random.Generator
    at_us: int
    as_of_us: int
    live: bool
    category: str

    def ticker(self, ticker: Ticker) -> TickerHistory:
        actions = self._actions(ticker)
        return TickerHistory(ticker, self._bars(ticker, actions), actions)

    # --- bars ---------------------------------------------------------------------------------------------------------

    def _bars(self, ticker: Ticker, actions: Versions) -> Versions:
        calendar = venue_calendar(ticker.venue)
        closes = set(calendar.sessions_between_us(self.at_us - _DAYS_BEFORE * US_PER_DAY, self.at_us).close_us.tolist())
        names, starts, ends = [], [], []
        for interval, before, after in (("1d", _DAYS_BEFORE, 4), ("15m", _DAYS_BEFORE, 1.5), ("1h", 4, 1.5)):
            start, end = calendar.expected_bars(
                interval, self.at_us - before * US_PER_DAY, self.at_us + int(after * US_PER_DAY)
            )
            there = self.rng.random(len(start)) > 0.02
            if interval == "15m":
                # Of the days before, the quarter hours that may give a close; crypto is sampled at New York's.
                wanted = np.isin(end, self._new_york_closes() if ticker.is_crypto else np.array(sorted(closes)))
                there &= wanted | (start > self.at_us - 3 * US_PER_DAY)
            if interval == "1h" and self.rng.random() < 0.5:
                there[:] = False
            names.append(np.full(int(there.sum()), interval, dtype=object))
            starts.append(start[there])
            ends.append(end[there])
        interval_names, start_us, end_us = np.concatenate(names), np.concatenate(starts), np.concatenate(ends)
        count = len(start_us)
        lag_us = ticker.feed_lag // timedelta(microseconds=1)
        available = end_us + lag_us
        known = available + _TICK_US + self.rng.integers(0, 30, count) * 1_000_000
        if not self.live:
            known = np.full(count, self.as_of_us - int(self.rng.integers(1, 48)) * _HOUR_US)
        known = self._delayed(known, available, interval_names)
        bars = Versions(
            {
                "interval": interval_names,
                "bar_start": start_us,
                "bar_end": end_us,
                "close": self._prices(count),
                "basis": self._basis(ticker, start_us, known, actions),
                "volume": np.round(self.rng.uniform(0, 1e6, count)),
                "known_from": known,
                "known_to": np.full(count, NEVER_US, dtype=np.int64),
            }
        )
        return self._revised(bars, available)

    def _new_york_closes(self) -> NDArray[np.int64]:
        return venue_calendar("XNYS").sessions_between_us(self.at_us - _DAYS_BEFORE * US_PER_DAY, self.at_us).close_us

    def _delayed(
        self, known: NDArray[np.int64], available: NDArray[np.int64], names: NDArray[np.object_]
    ) -> NDArray[np.int64]:
        """Let some bars come late: the newest ones in a case about late bars, hours of them after an outage."""
        late = np.zeros(len(known), dtype=np.bool_)
        if self.category == "outage":
            late = (names != "1d") & (available > self.at_us - 4 * _HOUR_US) & (available <= self.at_us)
        elif self.category == "late_bar" or (self.live and self.rng.random() < 0.1):
            due = np.flatnonzero(available <= self.at_us)
            due = due[np.argsort(available[due], kind="stable")][-12:]
            late[due[self.rng.random(len(due)) < 0.5]] = True
            late[due[-1:]] = True
        delay = self.as_of_us + 1 + self.rng.integers(0, 8 * _HOUR_US, len(known))
        return np.where(late, delay, known)

    def _revised(self, bars: Versions, available: NDArray[np.int64]) -> Versions:
        """Give some bars a second version, some of them before the row was served and some after."""
        part = 0.15 if self.category == "revised" else 0.02 * (self.rng.random() < 0.05)
        chosen = self.rng.random(len(bars)) < part
        if self.category == "revised":
            newest = np.flatnonzero(available <= self.at_us)
            chosen[newest[np.argsort(available[newest], kind="stable")][-3:]] = True
        again = bars.take(chosen)
        changed = np.maximum(again["known_from"] + 1, self.as_of_us + self.rng.integers(-86_400, 86_400, len(again)))
        again = again.with_columns(close=self._prices(len(again)), known_from=changed)
        ended = bars["known_to"].copy()
        ended[chosen] = changed
        withdrawn = self.rng.random(len(again)) < 0.1
        return Versions.concatenated([bars.with_columns(known_to=ended), again.take(~withdrawn)])

    def _prices(self, count: int) -> NDArray[np.float64]:
        prices = 100.0 * np.exp(self.rng.normal(0.0, 0.03, count))
        return np.where(self.rng.random(count) < 0.005, np.nan, prices)

    def _basis(
        self, ticker: Ticker, start_us: NDArray[np.int64], known: NDArray[np.int64], actions: Versions
    ) -> NDArray[np.float64]:
        """Return which splits the source had applied: those that had happened when the bar was fetched."""
        calendar = venue_calendar(ticker.venue)
        table = calendar.sessions(calendar.first_day, calendar.last_day)
        label = table.label[session_of(table, start_us)]
        basis = np.ones(len(start_us))
        for row in np.flatnonzero(actions["kind"] == "split").tolist():
            ex_date = actions["ex_date"][row]
            applied = (label < ex_date) & (known >= calendar.day_start_us(ex_date.item()))
            basis[applied] *= actions["value"][row]
        return basis

    # --- corporate actions --------------------------------------------------------------------------------------------

    def _actions(self, ticker: Ticker) -> Versions:
        """Return dividends and splits of shares, around T in a case about them."""
        kinds, days = [], []
        if ticker.is_core:
            today = np.datetime64(from_us(self.at_us).date(), "D")
            for kind, often in (("dividend", 0.4), ("split", 0.15)):
                if self.category == kind:
                    near = self.rng.permutation(np.arange(-2, 3))[: 1 + self.rng.integers(2)]
                elif self.rng.random() < often:
                    near = self.rng.integers(-30, 6, 1)
                else:
                    continue
                kinds += [kind] * len(near)
                days += [today + int(day) for day in near]
        count = len(kinds)
        kind_column = np.array(kinds, dtype=object)
        ex_dates = np.array(days, dtype="datetime64[D]")
        ratio = self.rng.choice([2.0, 3.0, 0.125, 1.5], count)
        known = np.minimum(
            ex_dates.astype("datetime64[us]").astype(np.int64) - 2 * US_PER_DAY, self.as_of_us - US_PER_DAY
        )
        return Versions(
            {
                "kind": kind_column,
                "ex_date": ex_dates,
                "value": np.where(kind_column == "split", ratio, self.rng.uniform(0.1, 2.0, count)),
                "basis": np.ones(count),
                "known_from": known.astype(np.int64),
                "known_to": np.full(count, NEVER_US, dtype=np.int64),
            }
        )
