"""A log of versions made tick by tick, through the functions of a collection but without a source and without Dagster.

Belongs here: writing bars as they come in, and the rows computed from them, into a store. Does not belong here:
assertions, made-up prices (`market_frames.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.client import FeatureStore
from market_assets.client.columns import Catalogue
from market_assets.clock import ManualClock
from market_assets.collection.build import build_correlations, build_features
from market_assets.collection.days import DayRange
from market_assets.columns import feature_columns
from market_assets.indicators import INDICATORS
from market_assets.store import Replacement, Store
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS
from market_assets.universe import UNIVERSE, Universe
from market_assets_tests.market_frames import action_frame, walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from market_assets.collection.write import ScopedWrite
    from market_assets.indicators import Indicator
    from market_assets.store import WriteReport

SETTLE = timedelta(minutes=1)


def universe_of(*names: str) -> Universe:
    return Universe(tuple(UNIVERSE[name] for name in names))


@dataclass
class FeatureLog:
    """A collector whose source is `bars`: what they are at a tick is what the source answers then."""

    store: Store
    clock: ManualClock
    universe: Universe
    bars: pd.DataFrame
    actions: pd.DataFrame
    #: instant of the first collection
    began: datetime | None = None
    reports: list[WriteReport] = field(default_factory=list)

    @property
    def client(self) -> FeatureStore:
        """A client that reads this log."""
        return FeatureStore(store=self.store, universe=self.universe, indicators=self.indicators)

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        return _indicators_of(self.universe)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.universe, self.indicators)

    @classmethod
    def opened(cls, path: Path, universe: Universe) -> FeatureLog:
        """Open a database that exists; nothing can be collected any more."""
        clock = ManualClock(datetime.fromisoformat("2030-01-01T00:00+00:00"))
        columns = feature_columns(universe, _indicators_of(universe))
        store = Store.connect(f"sqlite:///{path}", clock=clock, feature_columns=columns)
        return cls(store, clock, universe, pd.DataFrame(), pd.DataFrame())

    @classmethod
    def open(
        cls, where: Path | str, universe: Universe, bars: pd.DataFrame, actions: pd.DataFrame | None = None
    ) -> FeatureLog:
        """Make a SQLite database at a path, or the tables in the empty one at a URL."""
        clock = ManualClock(datetime.fromisoformat("2020-01-01T00:00+00:00"))
        columns = feature_columns(universe, _indicators_of(universe))
        url = where if isinstance(where, str) else f"sqlite:///{where}"
        store = Store.connect(url, clock=clock, feature_columns=columns)
        store.migrate()
        return cls(store, clock, universe, bars, action_frame("QQQ") if actions is None else actions)

    def tick(self, at: datetime, first: date | None = None, last: date | None = None) -> None:
        """Collect the days `first` to `last` (default: today) at `at`: bars, then features, then correlations."""
        self.collect_bars(at, first, last)
        self.build(at, first, last)

    def collect_bars(self, at: datetime, first: date | None = None, last: date | None = None) -> None:
        """Store what the source has finished of the days."""
        self.clock.set(at)
        days = DayRange(first or at.date(), last or first or at.date())
        finished = pd.Series(data=False, index=self.bars.index)
        for ticker in self.universe:
            finished |= (self.bars["ticker"] == ticker.name) & (self.bars["bar_end"] + ticker.feed_lag <= at)
        inside = (self.bars["bar_start"] >= days.start) & (self.bars["bar_start"] < days.end)
        paid = self.actions[
            pd.Series([day in days for day in self.actions["ex_date"]], index=self.actions.index, dtype=bool)
        ]
        scopes = [
            MARKET_BARS.scope(ticker.name, day, interval)
            for ticker in self.universe
            for interval in ("15m", "1d")
            for day in days
        ]
        frames = [Replacement(MARKET_BARS, self.bars[finished & inside]), Replacement(CORPORATE_ACTIONS, paid)]
        self.reports.append(self.store.replace(frames, scopes=scopes, fetched_at=at, accept_deletions=True))

    def build(self, at: datetime, first: date | None = None, last: date | None = None) -> None:
        """Compute and store the rows of the days."""
        self.clock.set(at + timedelta(seconds=20))
        days = DayRange(first or at.date(), last or first or at.date())
        if self.began is None:
            self.began = at
            self.store.runs.start_collection("first", "quickstart", at, "test")
        with self.store.snapshot() as snapshot:
            features = build_features(
                snapshot,
                days,
                at,
                interval_minutes=30,
                universe=self.universe,
                indicators=self.indicators,
                began=self.began,
            )
        self._write(features)
        if self.universe.crypto:
            with self.store.snapshot() as snapshot:
                correlations = build_correlations(snapshot, days, at, self.universe)
            self._write(correlations)

    def ticks(self, start: datetime, end: datetime) -> None:
        """Collect every half hour in [start, end), after the settle minute."""
        at = start
        while at < end:
            self.tick(at + SETTLE)
            at += timedelta(minutes=30)

    def revise(self, ticker: str, interval: str, start: str, **values: float) -> None:
        """Change one bar at the source."""
        rows = self._rows(ticker, interval, start)
        for name, value in values.items():
            self.bars.loc[rows, name] = value

    def take_out(self, ticker: str, interval: str, start: str) -> pd.DataFrame:
        """Withhold one bar at the source; `put_back` returns it."""
        rows = self._rows(ticker, interval, start)
        held = self.bars[rows]
        self.bars = self.bars[~rows].reset_index(drop=True)
        return held

    def put_back(self, held: pd.DataFrame) -> None:
        self.bars = pd.concat([self.bars, held], ignore_index=True)

    def _rows(self, ticker: str, interval: str, start: str) -> pd.Series:
        at = pd.Timestamp(start)
        rows = (self.bars["ticker"] == ticker) & (self.bars["interval"] == interval) & (self.bars["bar_start"] == at)
        assert rows.sum() == 1, f"{rows.sum()} bars of {ticker} {interval} start at {start}"
        return rows

    def _write(self, write: ScopedWrite) -> None:
        self.reports.append(self.store.replace(write.replacements, scopes=write.scopes, fetched_at=write.fetched_at))


def _indicators_of(universe: Universe) -> tuple[Indicator, ...]:
    return tuple(one for one in INDICATORS if all(name in universe for name in one.inputs))


def made_up_bars(
    names: Sequence[str], start: str, intraday_from: str, end: str, levels: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return 1d and 15m bars of each ticker along random walks."""
    parts = []
    for name in names:
        level = (levels or {}).get(name, 100.0)
        parts += [
            walk(name, "1d", start, end, level=level, scale=0.01),
            walk(name, "15m", intraday_from, end, level=level),
        ]
    return pd.concat(parts, ignore_index=True)


#: the tickers of the story
STORY = universe_of("QQQ", "HYG", "TLT", "VIX", "BTC")
#: the first collection of the story; the days before it are backfilled
STORY_BEGAN = datetime.fromisoformat("2026-03-03T14:01+00:00")
#: ratio of QQQ's split, and its ex-date
STORY_SPLIT, STORY_EX_DATE = 4.0, date(2026, 3, 5)


def tell_story(where: Path | str) -> FeatureLog:
    """Live through three days in which everything happens that a log of versions is for.

    3 March: from 14:00 on live, the days before backfilled. QQQ's bar of 14:45 is late by half an hour; no collection
    from 16:30 to 18:30, made up for at 18:31. 4 March: the day before is read again; HYG's bar of 15:15 and Bitcoin's
    of 20:45, which the day's correlations stand on, are revised. 5 March: QQQ is split four to one.
    """
    bars = made_up_bars(
        [ticker.name for ticker in STORY],
        "2026-01-02",
        "2026-02-27",
        "2026-03-06",
        {"QQQ": 600.0, "HYG": 80.0, "TLT": 90.0, "VIX": 20.0, "BTC": 70_000.0},
    )
    after = (bars["ticker"] == "QQQ") & (bars["bar_start"] >= pd.Timestamp(STORY_EX_DATE, tz="UTC"))
    bars.loc[after, ["open", "high", "low", "close"]] /= STORY_SPLIT
    actions = action_frame("QQQ", [("split", STORY_EX_DATE.isoformat(), STORY_SPLIT)])
    log = FeatureLog.open(where, STORY, bars, actions)

    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-03-{text}+00:00")

    log.collect_bars(STORY_BEGAN, date(2026, 1, 2), date(2026, 3, 3))
    log.build(STORY_BEGAN, date(2026, 2, 27), date(2026, 3, 3))
    log.ticks(at("03T14:30"), at("03T15:00"))
    late = log.take_out("QQQ", "15m", "2026-03-03T14:45Z")
    log.ticks(at("03T15:00"), at("03T15:30"))
    log.put_back(late)
    log.ticks(at("03T15:30"), at("03T16:30"))
    log.ticks(at("03T18:30"), at("03T20:00"))
    log.tick(at("04T00:01"), date(2026, 3, 3), date(2026, 3, 4))
    log.revise("HYG", "15m", "2026-03-03T15:15Z", close=81.25, high=81.5)
    log.revise("BTC", "15m", "2026-03-03T20:45Z", close=66_000.0)
    log.tick(at("04T01:01"), date(2026, 3, 3), date(2026, 3, 4))
    log.tick(at("05T14:01"), date(2026, 3, 4), date(2026, 3, 5))
    log.ticks(at("05T14:30"), at("05T16:00"))
    return log
