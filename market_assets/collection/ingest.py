"""From a source's answers to one write: what is possible, on which split basis, for which whole days.

Belongs here: everything between a fetch and the store. Does not belong here: fetching, storing, features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.basis import AppliedSplits, action_basis, all_splits, detect_applied, keep_rebased, with_basis
from market_assets.collection.days import whole_days
from market_assets.collection.sanity import split_by_sanity
from market_assets.collection.write import ScopedWrite
from market_assets.sources.base import FEED_BEHIND, Interval
from market_assets.store import Replacement, Scope
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS, QUARANTINED_BARS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from market_assets.sources.base import FetchAnswer
    from market_assets.store import Snapshot
    from market_assets.universe import Ticker


@dataclass(frozen=True, slots=True)
class Ingested:
    """The write of one ticker and what it consists of."""

    write: ScopedWrite
    bars: pd.DataFrame
    quarantined: pd.DataFrame


def ingest(ticker: Ticker, answers: Sequence[FetchAnswer], snapshot: Snapshot, *, asked_at: datetime) -> Ingested:
    """Turn the answers for one ticker into one write over every UTC day they wholly cover.

    Rows of partly covered days are left out: the source's limit rolls by the second, and half a day must not replace a
    whole one. An answer without a single row is no scope at all. `asked_at` orders a write without any answer.
    """
    bars_parts: list[pd.DataFrame] = []
    bad_parts: list[pd.DataFrame] = []
    action_parts: list[pd.DataFrame] = []
    scopes: list[Scope] = []
    stored_actions = snapshot.read(CORPORATE_ACTIONS, series=[ticker.name])
    if not answers:
        return Ingested(ScopedWrite((), (), asked_at), pd.DataFrame(), pd.DataFrame())
    # A split that one answer names rebases the bars of every answer of the same moment.
    answered = pd.concat([answer.actions for answer in answers], ignore_index=True).drop_duplicates(["kind", "ex_date"])
    splits = all_splits(answered, stored_actions)
    applied: AppliedSplits | None = None
    for answer in answers:
        interval = answer.request.interval
        if answer.bars.empty and answer.rejected.empty:
            continue
        days = whole_days(answer.covered_start, answer.covered_end, answer.fetched_at)
        scopes += [Scope(ticker.name, interval.value, day) for day in days]
        inside = set(days)
        good, bad = split_by_sanity(answer.bars, ticker)
        stored = snapshot.read(
            MARKET_BARS,
            start=answer.covered_start,
            end=answer.covered_end + timedelta(seconds=1),
            series=[ticker.name],
            intervals=[interval.value],
        )
        applied = detect_applied(good, stored, splits, ticker, sibling=applied, fetched_at=answer.fetched_at)
        good = _with_kept(keep_rebased(with_basis(good, applied), stored), answer, stored)
        bars_parts.append(_inside(_labelled(good, ticker, answer), inside))
        # No basis is known for a price that cannot be true.
        bad_parts.append(_inside(_labelled(bad, ticker, answer), inside).assign(basis=math.nan))
        if interval is Interval.D1:
            actions = answer.actions.loc[answer.actions["ex_date"].isin(inside)].copy()
            actions["ticker"], actions["source"] = ticker.name, answer.source
            action_parts.append(action_basis(actions, stored_actions, applied))
    if not scopes:
        empty = ScopedWrite((), (), asked_at)
        return Ingested(empty, pd.DataFrame(), pd.DataFrame())
    bars = pd.concat(bars_parts, ignore_index=True)
    bad = pd.concat(bad_parts, ignore_index=True)
    replacements = [Replacement(MARKET_BARS, bars), Replacement(QUARANTINED_BARS, bad)]
    if action_parts:
        replacements.append(Replacement(CORPORATE_ACTIONS, pd.concat(action_parts, ignore_index=True)))
    write = ScopedWrite(tuple(replacements), tuple(scopes), min(answer.fetched_at for answer in answers))
    return Ingested(write, bars, bad)


def _with_kept(good: pd.DataFrame, answer: FetchAnswer, stored: pd.DataFrame) -> pd.DataFrame:
    """Add the stored bars that the answer only doubts: a feed that falls silent withdraws nothing."""
    doubted = answer.rejected.loc[answer.rejected["reason"] == FEED_BEHIND, "bar_start"]
    kept = stored.loc[stored["bar_start"].isin(doubted), list(good.columns)]
    return pd.concat([good, kept], ignore_index=True) if len(kept) else good


def _inside(bars: pd.DataFrame, days: set[date]) -> pd.DataFrame:
    inside: pd.DataFrame = bars.loc[bars["bar_start"].dt.date.isin(days)]
    return inside


def _labelled(bars: pd.DataFrame, ticker: Ticker, answer: FetchAnswer) -> pd.DataFrame:
    labelled = bars.copy()
    labelled["ticker"] = ticker.name
    labelled["interval"] = answer.request.interval.value
    labelled["source"] = answer.source
    return labelled
