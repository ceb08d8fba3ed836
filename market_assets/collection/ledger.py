"""The coverage ledger of a run: what its answers mean for every bar that was expected.

Belongs here: reading what is stored of the days that a run asked for, and judging it. Does not belong here: the
judgement itself (`coverage.py`), SQL.

States are judged from the log of versions, never from the answer alone: the ledger says what a reader of the bars would
find, and judging again gives the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.collection.coverage import Rules, StoredBars, judge_days, with_holes_since
from market_assets.collection.days import ONE_DAY, whole_days
from market_assets.maths.arrays import instants_us
from market_assets.store.tables import KNOWN_FROM, KNOWN_TO, MARKET_BARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date, datetime

    import pandas as pd

    from market_assets.collection.outcome import TickerOutcome
    from market_assets.store import LedgerEntry, Snapshot, Store
    from market_assets.universe import Ticker

_PRICES = ("bar_end", "open", "high", "low", "close", "basis")


def judge_coverage(
    snapshot: Snapshot,
    ticker: Ticker,
    outcome: TickerOutcome,
    known: Iterable[LedgerEntry],
    *,
    now: datetime,
    rules: Rules,
) -> list[LedgerEntry]:
    """Return the entry of every whole UTC day and interval that was asked for; `known` holds what was said of them."""
    if not outcome.windows:
        return []
    start, end = asked_range(outcome)
    stored = read_stored(snapshot, ticker.name, start, end)
    before = {(entry.ticker, entry.interval, entry.day): entry for entry in known}
    entries: list[LedgerEntry] = []
    for request in outcome.windows:
        interval = request.interval.value
        days = whole_days(request.start, request.end, now)
        entries += judge_days(
            ticker,
            request.interval,
            days,
            stored.get(interval, StoredBars.none()),
            asked_at=_asked_at(days, (ticker.name, interval), before, now if outcome.answered else None),
            failure="" if outcome.answered else outcome.message,
            now=now,
            rules=rules,
        )
    return with_holes_since(entries, before, now)


def known_states(store: Store, outcome: TickerOutcome) -> list[LedgerEntry]:
    """Return what was recorded of the days that were asked for, before this run."""
    if not outcome.windows:
        return []
    start, end = asked_range(outcome)
    return store.runs.states(start.date(), end.date() + ONE_DAY, tickers=[outcome.ticker])


def asked_range(outcome: TickerOutcome) -> tuple[datetime, datetime]:
    """Return the first instant that was asked for, and the one after the last."""
    return min(request.start for request in outcome.windows), max(request.end for request in outcome.windows)


def _asked_at(
    days: Iterable[date],
    key: tuple[str, str],
    before: Mapping[tuple[str, str, date], LedgerEntry],
    answered: datetime | None,
) -> dict[date, datetime]:
    if answered is not None:
        return dict.fromkeys(days, answered)
    known = ((day, before.get((*key, day))) for day in days)
    return {day: entry.asked_at for day, entry in known if entry is not None and entry.asked_at is not None}


def read_stored(snapshot: Snapshot, name: str, start: datetime, end: datetime) -> dict[str, StoredBars]:
    """Return what is stored of one ticker in [start, end), by interval."""
    versions = snapshot.versions(MARKET_BARS, start=start, end=end, series=[name], columns=())
    found = {}
    for interval, group in versions.groupby("interval", sort=False):
        starts, first, counts = np.unique(instants_us(group["bar_start"]), return_index=True, return_counts=True)
        last = first + counts - 1
        revised = counts > 1
        repriced = _repriced(snapshot, name, str(interval), group, starts[revised]) if revised.any() else starts[:0]
        found[str(interval)] = StoredBars(
            starts,
            instants_us(group[KNOWN_FROM])[first],
            group[KNOWN_TO].isna().to_numpy()[last],
            revised,
            np.isin(starts, repriced),
        )
    return found


def _repriced(
    snapshot: Snapshot,
    name: str,
    interval: str,
    group: pd.DataFrame,
    starts: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return those of the bars at `starts` of which a version has another price, end or basis than the first."""
    at = group["bar_start"][np.isin(instants_us(group["bar_start"]), starts)]
    versions = snapshot.versions(
        MARKET_BARS,
        start=at.min().to_pydatetime(),
        end=at.max().to_pydatetime() + timedelta(microseconds=1),
        series=[name],
        intervals=[interval],
        columns=_PRICES,
    )
    distinct = versions.groupby("bar_start")[list(_PRICES)].nunique(dropna=False).max(axis=1)
    changed = distinct.index[distinct > 1]
    return np.asarray(instants_us(changed.to_series()), dtype=np.int64)
