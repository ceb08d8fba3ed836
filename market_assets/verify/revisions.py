"""What changed after it had first been served: bars, and the feature rows that stood on them.

Belongs here: comparing first with latest versions, and naming the bars behind a changed row. Does not belong here:
whether a change is allowed (each is: the log keeps both versions), printing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import to_us
from market_assets.columns import feature_columns
from market_assets.store.tables import KNOWN_FROM, KNOWN_TO, MARKET_BARS, REMOVED
from market_assets.verify.evidence import Cause, explain, tickers_of
from market_assets.verify.observe import plain
from market_assets.verify.served import blocks, row_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from market_assets.store import Snapshot, Store
    from market_assets.universe import Universe
    from market_assets.verify.history import LogHistory
    from market_assets.verify.served import Definitions

_BAR_VALUES = ("open", "high", "low", "close", "volume", "basis")
_BAR_KEY = ["ticker", "interval", "bar_start"]
#: changed rows whose bars are looked for, at most: it takes some 20 ms each
EXPLAINED = 500


@dataclass(frozen=True, slots=True)
class Change:
    """One value, as first served and as it is now; None is NULL, or a row that is gone."""

    column: str
    served: float | None
    latest: float | None

    @property
    def relative(self) -> float | None:
        """The change as a part of the value served; None where one of the two is missing or the first is zero."""
        if self.served is None or self.latest is None or self.served == 0.0:
            return None
        return self.latest / self.served - 1.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"column": self.column, "served": self.served, "latest": self.latest, "relative": self.relative}


@dataclass(frozen=True, slots=True)
class BarRevision:
    """One bar that is not what it first was, or came late."""

    ticker: str
    interval: str
    bar_start: datetime
    #: `revised`, `withdrawn` (the source no longer has it), or `late` (it came long after it was due, unchanged)
    kind: str
    #: when it was first stored, and when last changed
    served_at: datetime
    changed_at: datetime
    versions: int
    #: of the last version against the first; empty for a late bar, and for one that is again what it was
    changes: tuple[Change, ...]
    #: how long after it became available it was first stored
    delay: timedelta

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "ticker": self.ticker,
            "interval": self.interval,
            "bar_start": self.bar_start.isoformat(),
            "kind": self.kind,
            "served_at": self.served_at.isoformat(),
            "changed_at": self.changed_at.isoformat(),
            "versions": self.versions,
            "delay_seconds": self.delay.total_seconds(),
            "changes": [change.to_json() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class RowRevision:
    """One feature row that is not what it was when it was served."""

    observed_at: datetime
    origin: str
    #: `bars` (the log changed), `definition` (the computation did) or `withdrawn` (the row is gone)
    kind: str
    served_at: datetime
    changed_at: datetime
    versions: int
    #: by column; empty if only counts and texts changed
    changes: tuple[Change, ...]
    #: the bars and actions that the two versions do not have in common; empty if they were not looked for
    causes: tuple[Cause, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "observed_at": self.observed_at.isoformat(),
            "origin": self.origin,
            "kind": self.kind,
            "served_at": self.served_at.isoformat(),
            "changed_at": self.changed_at.isoformat(),
            "versions": self.versions,
            "changes": [change.to_json() for change in self.changes],
            "causes": [str(cause) for cause in self.causes],
        }


@dataclass(slots=True)
class Revisions:
    """Everything that changed within a range."""

    #: bars and feature rows that were looked at
    bars_seen: int = 0
    rows_seen: int = 0
    bars: list[BarRevision] = field(default_factory=list)
    rows: list[RowRevision] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "bars_seen": self.bars_seen,
            "rows_seen": self.rows_seen,
            "bars": [one.to_json() for one in self.bars],
            "features": [one.to_json() for one in self.rows],
        }


def revisions(
    store: Store, start: datetime, end: datetime, definitions: Definitions, *, late_after: timedelta
) -> Revisions:
    """Return what changed of the bars and feature rows with start <= their time < end.

    A bar is late if it was first stored more than `late_after` after it became available, while collections were under
    way: bars from before the first collection are not.
    """
    found = Revisions()
    began = store.runs.collection_began()
    with store.snapshot() as snapshot:
        frame = snapshot.versions(MARKET_BARS, start=start, end=end)
        found.bars_seen = len(frame.drop_duplicates(_BAR_KEY))
        found.bars = list(_bars(frame, definitions.universe, began, late_after))
        every = row_versions(snapshot, start, end, every_version=True)
        found.rows_seen = every["observed_at"].nunique()
        found.rows = list(_rows(snapshot, every, definitions))
    return found


def _bars(
    frame: pd.DataFrame, universe: Universe, began: datetime | None, late_after: timedelta
) -> Iterator[BarRevision]:
    first = frame.drop_duplicates(_BAR_KEY, keep="first").reset_index(drop=True)
    last = frame.drop_duplicates(_BAR_KEY, keep="last").reset_index(drop=True)
    counts = frame.groupby(_BAR_KEY, sort=False).size().to_numpy()
    gone = last[REMOVED].to_numpy()
    lags = {ticker.name: ticker.feed_lag for ticker in universe}
    available = first["bar_end"] + pd.to_timedelta(first["ticker"].map(lags).fillna(timedelta(0)))
    delay = first[KNOWN_FROM] - available
    collecting = np.zeros(len(first), dtype=np.bool_) if began is None else (available >= began).to_numpy()
    late = collecting & (delay > late_after).to_numpy()
    for row in np.flatnonzero((counts > 1) | gone | late).tolist():
        one, other = first.iloc[row], last.iloc[row]
        kind = "withdrawn" if gone[row] else "revised" if counts[row] > 1 else "late"
        yield BarRevision(
            str(one["ticker"]),
            str(one["interval"]),
            one["bar_start"].to_pydatetime(),
            kind,
            one[KNOWN_FROM].to_pydatetime(),
            (other[KNOWN_TO] if gone[row] else other[KNOWN_FROM]).to_pydatetime(),
            int(counts[row]),
            _changes(one, other, _BAR_VALUES, gone=bool(gone[row])),
            delay.iloc[row].to_pytimedelta(),
        )


def _rows(snapshot: Snapshot, every: pd.DataFrame, definitions: Definitions) -> Iterator[RowRevision]:
    columns = feature_columns(definitions.universe, definitions.indicators)
    counts = every.groupby("observed_at", sort=True).size()
    several = set(counts.index[counts > 1])
    changed = every["observed_at"].isin(several) | every[REMOVED]
    # A removed row that came back counts like any other.
    first = every.loc[changed].drop_duplicates("observed_at", keep="first").reset_index(drop=True)
    last = every.loc[changed].drop_duplicates("observed_at", keep="last").set_index("observed_at")
    explained = 0
    for part, history in blocks(snapshot, definitions, first):
        for _, one in part.iterrows():
            other = last.loc[one["observed_at"]]
            gone = bool(other[REMOVED])
            changes = _changes(one, other, columns, gone=gone)
            if one["feature_version"] != other["feature_version"]:
                kind = "definition"
            else:
                kind = "withdrawn" if gone else "bars"
            causes: tuple[Cause, ...] = ()
            if kind == "bars" and explained < EXPLAINED:
                causes, explained = _causes(one, other, changes, history, definitions), explained + 1
            yield RowRevision(
                one["observed_at"].to_pydatetime(),
                str(one["origin"]),
                kind,
                one[KNOWN_FROM].to_pydatetime(),
                (other[KNOWN_TO] if gone else other[KNOWN_FROM]).to_pydatetime(),
                int(counts[one["observed_at"]]),
                changes,
                causes,
            )


def _causes(
    one: pd.Series[Any],
    other: pd.Series[Any],
    changes: tuple[Change, ...],
    history: LogHistory,
    definitions: Definitions,
) -> tuple[Cause, ...]:
    if pd.isna(one["read_as_of"]) or pd.isna(other["read_as_of"]):
        return ()
    columns = [change.column for change in changes] or ["reasons"]
    wanted = {name for column in columns for name in tickers_of(column, definitions.universe, definitions.indicators)}
    tickers = [ticker for ticker in definitions.universe.features if ticker.name in wanted]
    only = history.only(wanted)
    logs = [only.as_of(to_us(version["read_as_of"].to_pydatetime())) for version in (one, other)]
    return tuple(explain(to_us(one["observed_at"].to_pydatetime()), tickers, *logs))


def _changes(one: pd.Series[Any], other: pd.Series[Any], columns: Sequence[str], *, gone: bool) -> tuple[Change, ...]:
    pairs = ((name, plain(one[name]), None if gone else plain(other[name])) for name in columns)
    return tuple(Change(name, _number(served), _number(latest)) for name, served, latest in pairs if served != latest)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) else None
