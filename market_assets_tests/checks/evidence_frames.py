"""Evidence for the pure checks, from frames: no store, no run.

Belongs here: putting evidence together. Does not belong here: assertions, and prices (`market_frames.py`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import to_us, venue_calendar
from market_assets.checks.evidence import TickerEvidence
from market_assets.collection.coverage import Rules, StoredBars, judge_days
from market_assets.collection.days import DayRange
from market_assets.collection.outcome import TickerOutcome
from market_assets.metrics import StalenessLimits
from market_assets.sources.base import Interval
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import action_frame, no_bars, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from market_assets.store import LedgerEntry


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def market_of(ticker: str, start: str, intraday_from: str, end: str, *, level: float = 100.0) -> pd.DataFrame:
    """Return calm bars: 1 % a day, 0.1 % a quarter of an hour, the intraday ones beginning where the daily ones are."""
    daily = walk(ticker, "1d", start, end, level=level, scale=0.01)
    before = daily.loc[daily["bar_end"] <= pd.Timestamp(intraday_from, tz="UTC"), "close"]
    intraday = walk(ticker, "15m", intraday_from, end, level=float(before.iloc[-1]), scale=0.001)
    return pd.concat([daily, intraday], ignore_index=True)


def evidence_of(
    ticker: str,
    now: str,
    *bars: pd.DataFrame,
    days: tuple[str, str] | None = None,
    actions: pd.DataFrame | None = None,
    quarantined: Iterable[tuple[str, str, float, str]] = (),
    coverage: Iterable[LedgerEntry] = (),
    interval_minutes: int = 30,
) -> TickerEvidence:
    """Return what a run at `now` (ISO, UTC) finds stored if everything published by then is.

    `days` defaults to the day of `now`; `quarantined` are (interval, bar_start, close, reason).
    """
    at = utc(now)
    everything = pd.concat(bars, ignore_index=True) if bars else no_bars()
    published = everything["bar_end"] + UNIVERSE[ticker].feed_lag <= at
    rows = [
        {
            "ticker": ticker,
            "interval": interval,
            "bar_start": pd.Timestamp(utc(start)),
            "open": close,
            "high": close,
            "low": close,
            "close": close,
            "reason": reason,
        }
        for interval, start, close, reason in quarantined
    ]
    columns = ["ticker", "interval", "bar_start", "open", "high", "low", "close", "reason"]
    about = DayRange(*(date.fromisoformat(day) for day in days)) if days else DayRange.of(at)
    return TickerEvidence(
        ticker=UNIVERSE[ticker],
        outcome=TickerOutcome(ticker, "test", ()),
        days=about,
        now=at,
        limits=StalenessLimits.for_interval(interval_minutes),
        source="test",
        bars=everything[published & (everything["bar_start"] < about.end)].reset_index(drop=True),
        actions=action_frame(ticker) if actions is None else actions,
        quarantined=pd.DataFrame(rows, columns=columns),
        coverage=list(coverage),
    )


def ledger_of(
    ticker: str,
    now: str,
    *,
    days: tuple[str, str] | None = None,
    without: tuple[tuple[str, str, str], ...] = (),
    asked: str | None = None,
) -> list[LedgerEntry]:
    """Return the ledger's entries of `days` (default: the day of `now`) at `now`, as a collection records them.

    Everything that was published by then is stored, but bars whose start lies in one of `without`: (interval, from,
    to). The last answer is that of `asked`, which defaults to `now`.
    """
    at, answered = utc(now), utc(asked or now)
    about = DayRange(*(date.fromisoformat(day) for day in days)) if days else DayRange.of(at)
    entries: list[LedgerEntry] = []
    for interval in Interval:
        calendar, lag = venue_calendar(UNIVERSE[ticker].venue), UNIVERSE[ticker].feed_lag
        starts, ends = calendar.expected_bars(interval, to_us(about.start), to_us(about.end))
        held = ends + lag // timedelta(microseconds=1) <= to_us(answered)
        for lost, begin, end in without:
            held &= ~((starts >= to_us(utc(begin))) & (starts < to_us(utc(end))) & (lost == interval))
        count = int(held.sum())
        never = np.zeros(count, dtype=np.bool_)
        stored = StoredBars(starts[held], ends[held], ~never, never, never)
        asked_at = dict.fromkeys(about, answered)
        entries += judge_days(
            UNIVERSE[ticker],
            interval,
            list(about),
            stored,
            asked_at=asked_at,
            failure="timeout: no answer" if answered < at else "",
            now=at,
            rules=Rules(timedelta(hours=1), None),
        )
    return entries


def half_hours(start: str, end: str) -> list[str]:
    """Return the instants of ticks in [start, end), a minute after each half hour, as ISO texts."""
    at, found = utc(start) + timedelta(minutes=1), []
    while at < utc(end):
        found.append(at.strftime("%Y-%m-%dT%H:%M"))
        at += timedelta(minutes=30)
    return found
