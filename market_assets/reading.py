"""Reading the latest feature row back for people.

Belongs here: the latest row, and what stands beside a value (age, reason). Does not belong here: ranges of rows
(`client/`), printing, and anything of Dagster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from market_assets.columns import feature_columns
from market_assets.row_texts import notes, null_reasons
from market_assets.store.tables import ML_FEATURES

if TYPE_CHECKING:
    from market_assets.store import Store
    from market_assets.universe import Universe

#: how far back the latest row is looked for
_LATEST_WITHIN = timedelta(days=400)


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
    window = timedelta(days=2)
    while window <= _LATEST_WITHIN * 2:
        frame = store.read(ML_FEATURES, start=now - window, end=now + timedelta(microseconds=1), as_of=as_of)
        if not frame.empty:
            return _row(frame.iloc[-1], universe)
        window *= 8
    return None


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
