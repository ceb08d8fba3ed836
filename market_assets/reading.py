"""Reading the latest feature row back for people.

Belongs here: the latest row, what stands beside a value (age, reason), the correlations of its time. Does not belong
here: ranges of rows (`client/`), printing, and anything of Dagster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from market_assets.calendars import to_us, venue_calendar
from market_assets.columns import feature_columns
from market_assets.crypto_join import CORRELATION_JOIN_DAYS
from market_assets.row_texts import notes, null_reasons
from market_assets.store.tables import CRYPTO_CORRELATIONS, ML_FEATURES

if TYPE_CHECKING:
    from market_assets.store import Snapshot, Store
    from market_assets.universe import Universe

#: how far back the latest row is looked for, step by step; at last everywhere
_LATEST_WITHIN = (timedelta(days=2), timedelta(days=30), None)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature row: the values, and per column or ticker what is known about them."""

    observed_at: datetime
    values: dict[str, float | None]
    feature_count: int
    core_count: int
    #: per NULL column: why
    reasons: dict[str, str]
    #: per ticker: what to know beside the numbers
    notes: dict[str, list[str]]
    #: per ticker: minutes since the price bar's end, open-market minutes of staleness, the venue's state (open, closed)
    ages: dict[str, tuple[float, float, str]]
    resolution: dict[str, str]
    origin: str
    read_as_of: datetime
    known_from: datetime


def latest_row(store: Store, now: datetime, universe: Universe, *, as_of: datetime | None = None) -> FeatureRow | None:
    """Return the newest feature row at or before `now`, as known at `as_of` (default: now); None if there is none."""
    with store.snapshot(as_of) as snapshot:
        return row_at(snapshot, now, universe)


def row_at(snapshot: Snapshot, at: datetime, universe: Universe) -> FeatureRow | None:
    """Return the newest feature row at or before `at` that a snapshot holds; None if there is none."""
    for within in _LATEST_WITHIN:
        start = None if within is None else at - within
        frame = snapshot.read(ML_FEATURES, start=start, end=at + timedelta(microseconds=1))
        if not frame.empty:
            return _row(frame.iloc[-1], universe)
    return None


@dataclass(frozen=True, slots=True)
class MeasuredCorrelation:
    """Correlation of a crypto reference with one ticker over the last sessions."""

    ticker: str
    #: length of the window
    sessions: int
    #: the last session of the window
    session: date
    #: None: too few returns, or no session at all was computed
    correlation: float | None
    pairs: int


def correlations_at(snapshot: Snapshot, crypto: str, at: datetime, universe: Universe) -> list[MeasuredCorrelation]:
    """Return what was measured up to the last session of each ticker whose close was known at `at`.

    In order of the universe, then of the window's length. A ticker without a stored value is left out.
    """
    first = (at - timedelta(days=CORRELATION_JOIN_DAYS)).date()
    stored = snapshot.read(CRYPTO_CORRELATIONS, start=first, end=at.date() + timedelta(days=2), series=[crypto])
    by_ticker = dict(tuple(stored.groupby("ticker", sort=False)))
    found = []
    for ticker in universe:
        own = by_ticker.get(ticker.name)
        session = venue_calendar(ticker.venue).last_closed_session(to_us(at - ticker.feed_lag))
        if own is None or session is None:
            continue
        for row in own[own["session"] == session].sort_values("sessions").to_dict("records"):
            value = None if pd.isna(row["correlation"]) else float(row["correlation"])
            found.append(MeasuredCorrelation(ticker.name, int(row["sessions"]), session, value, int(row["pairs"])))
    return found


def _row(row: pd.Series[Any], universe: Universe) -> FeatureRow:
    return FeatureRow(
        observed_at=row["observed_at"].to_pydatetime(),
        values={name: None if pd.isna(row[name]) else float(row[name]) for name in feature_columns(universe)},
        feature_count=int(row["feature_count"]),
        core_count=int(row["core_count"]),
        reasons=null_reasons(row["reasons"], universe),
        notes=notes(row["reasons"]),
        ages={name: (age, stale, state) for name, (age, stale, state) in _json(row["ages"]).items()},
        resolution=_json(row["resolution"]),
        origin=str(row["origin"]),
        read_as_of=row["read_as_of"].to_pydatetime(),
        known_from=row["known_from"].to_pydatetime(),
    )


def _json(text: object) -> dict[str, Any]:
    return dict(json.loads(text)) if isinstance(text, str) and text else {}
