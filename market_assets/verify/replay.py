"""The replay certificate: every served row, computed again from the raw log as it was known then, bit by bit.

Belongs here: computing served rows again, each from the knowledge that it was computed from, and saying what differs.
Does not belong here: reading versions (`served.py`, `history.py`), printing.

Rows are never computed from anything but their own `read_as_of`: that later bars would not matter is what is proven
elsewhere, not assumed here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import to_us
from market_assets.collection.days import DayRange
from market_assets.maths.arrays import instants_us
from market_assets.verify.evidence import UsedBar, bars_behind, tickers_of
from market_assets.verify.history import LogHistory
from market_assets.verify.observe import Difference, plain, same_bits
from market_assets.verify.served import blocks, compared_columns, row_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import pandas as pd

    from market_assets.metrics import TickerLog
    from market_assets.store import Store
    from market_assets.verify.observe import Observer
    from market_assets.verify.served import Definitions

#: divergent rows, and values of each, that are told
_ROWS_TOLD, _VALUES_TOLD = 100, 8
_NO_INSTANT = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Divergence:
    """One row that could not be made again."""

    observed_at: datetime
    origin: str
    known_from: datetime
    read_as_of: datetime
    #: how many columns differ
    columns: int
    #: the first of them, in column order: `one` was served, `other` is what the log gives
    differences: tuple[Difference, ...]
    #: what the log says that the first differing column stands on; only of the first divergent row
    bars: tuple[UsedBar, ...] = ()

    def __str__(self) -> str:
        """Return one line about the first differing column."""
        first = self.differences[0]
        more = f", and {self.columns - 1} more columns" if self.columns > 1 else ""
        return (
            f"{self.observed_at:%Y-%m-%dT%H:%MZ} {first.column}: served {first.one!r}, replayed {first.other!r}{more}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "observed_at": self.observed_at.isoformat(),
            "origin": self.origin,
            "known_from": self.known_from.isoformat(),
            "read_as_of": self.read_as_of.isoformat(),
            "columns": self.columns,
            "values": [{"column": one.column, "served": one.one, "replayed": one.other} for one in self.differences],
            "bars": [one.to_json() for one in self.bars],
        }


@dataclass(slots=True)
class ReplayReport:
    """What a replay found."""

    compared: int = 0
    identical: int = 0
    #: rows by origin: (compared, identical)
    origins: Counter[str] = field(default_factory=Counter)
    identical_by_origin: Counter[str] = field(default_factory=Counter)
    #: rows of other definitions or of another version of the computation: this program cannot make them
    other_definitions: Counter[str] = field(default_factory=Counter)
    #: rows that do not say what they were computed from
    without_knowledge: int = 0
    divergent: list[Divergence] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Part of the compared rows that is identical; 0 if none was compared."""
        return self.identical / self.compared if self.compared else 0.0

    @property
    def first(self) -> Divergence | None:
        """The first row that differs."""
        return self.divergent[0] if self.divergent else None

    @property
    def proven(self) -> bool:
        """Whether rows were compared, all are identical, and none was left out for want of its `read_as_of`."""
        return self.compared > 0 and self.identical == self.compared and not self.without_knowledge

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "compared": self.compared,
            "identical": self.identical,
            "share": self.share,
            "proven": self.proven,
            "by_origin": {
                name: {"compared": count, "identical": self.identical_by_origin[name]}
                for name, count in sorted(self.origins.items())
            },
            "other_definitions": dict(sorted(self.other_definitions.items())),
            "without_knowledge": self.without_knowledge,
            "divergent": [one.to_json() for one in self.divergent],
        }


def replay(
    store: Store,
    start: datetime,
    end: datetime,
    definitions: Definitions,
    *,
    every_version: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ReplayReport:
    """Compute the rows with start <= observed_at < end again, and compare them with what was served.

    Of each row the first version stored, which is the one that was served; with `every_version` all of them. Each is
    computed from the log `as_of` its own `read_as_of`, with the collection interval that its `feature_version` names.
    `progress` is called with (rows done, rows in all).
    """
    report = ReplayReport()
    observers = definitions.observers()
    columns = compared_columns(store)
    with store.snapshot() as snapshot:
        rows = row_versions(snapshot, start, end, every_version=every_version)
        done = 0
        for part, history in blocks(snapshot, definitions, rows):
            known, versions = instants_us(part["read_as_of"]), part["feature_version"].to_numpy(dtype=object)
            for read_as_of_us, version in sorted(set(zip(known.tolist(), versions.tolist(), strict=True))):
                chosen = part.loc[(known == read_as_of_us) & (versions == version)].reset_index(drop=True)
                if read_as_of_us == _NO_INSTANT:
                    report.without_knowledge += len(chosen)
                elif version not in observers:
                    report.other_definitions[version] += len(chosen)
                else:
                    logs = history.as_of(read_as_of_us)
                    _compare(report, chosen, logs, observers[version], columns)
                done += len(chosen)
                progress(done, len(rows))
    report.divergent.sort(key=lambda one: (one.observed_at, one.known_from))
    del report.divergent[_ROWS_TOLD:]
    if report.divergent:
        report.divergent[0] = _with_bars(store, definitions, report.divergent[0])
    return report


def stored_form(frame: pd.DataFrame) -> pd.DataFrame:
    """Return computed rows as the store keeps them: infinities are NULL and there is no -0.0."""
    doubles = {
        name: np.where(np.isfinite(values), values, np.nan) + 0.0
        for name, values in ((name, frame[name].to_numpy()) for name in frame.columns)
        if values.dtype == np.float64
    }
    return frame.assign(**doubles)


def _compare(
    report: ReplayReport,
    served: pd.DataFrame,
    logs: Mapping[str, TickerLog],
    observer: Observer,
    columns: tuple[str, ...],
) -> None:
    replayed = stored_form(observer.features(logs, instants_us(served["observed_at"])))
    same = np.stack([same_bits(served[name].to_numpy(), replayed[name].to_numpy()) for name in columns], axis=1)
    identical = same.all(axis=1)
    origins = served["origin"].to_numpy(dtype=object)
    report.compared += len(served)
    report.identical += int(identical.sum())
    report.origins.update(origins.tolist())
    report.identical_by_origin.update(origins[identical].tolist())
    for row in np.flatnonzero(~identical).tolist():
        one, other = served.iloc[row], replayed.iloc[row]
        differing = [columns[position] for position in np.flatnonzero(~same[row]).tolist()]
        label = one["observed_at"].isoformat()
        report.divergent.append(
            Divergence(
                one["observed_at"].to_pydatetime(),
                str(one["origin"]),
                one["known_from"].to_pydatetime(),
                one["read_as_of"].to_pydatetime(),
                len(differing),
                tuple(
                    Difference(label, name, plain(one[name]), plain(other[name])) for name in differing[:_VALUES_TOLD]
                ),
            )
        )


def _with_bars(store: Store, definitions: Definitions, divergence: Divergence) -> Divergence:
    """Return the divergence with the bars that the log gives for its first differing column."""
    names = tickers_of(divergence.differences[0].column, definitions.universe, definitions.indicators)
    window = DayRange.of(divergence.observed_at).widened(definitions.lookback_days)
    tickers = [definitions.universe[name] for name in names]
    with store.snapshot() as snapshot:
        history = LogHistory.read(snapshot, tickers, window.start, window.end)
    logs = history.as_of(to_us(divergence.read_as_of))
    at_us = to_us(divergence.observed_at)
    return replace(divergence, bars=tuple(bar for name in names for bar in bars_behind(logs[name], at_us)))
