"""The look-ahead gate on the rows of a store: each is computed again from a log whose future is poisoned.

Belongs here: choosing rows, running the gate on them, and saying what a difference means. Does not belong here: the
poison (`scramble.py`), versions (`served.py`), printing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import to_us
from market_assets.verify.observe import Difference, differences
from market_assets.verify.replay import stored_form
from market_assets.verify.scramble import Scrambler
from market_assets.verify.served import blocks, compared_columns, row_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from market_assets.store import Store
    from market_assets.verify.history import LogHistory
    from market_assets.verify.observe import Observer
    from market_assets.verify.served import Definitions

#: values of one row that are told
_VALUES_TOLD = 8


@dataclass(frozen=True, slots=True)
class Moved:
    """One row that is not what the log without its future gives."""

    observed_at: datetime
    #: `lookahead`: it moves with the future; `not_reproducible`: even the untouched log gives another row
    kind: str
    #: the first differing columns: `one` without the future, or as served; `other` with the future poisoned
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        """Return e.g. `2026-01-02T15:00Z lookahead ml_qqq_price: 612.5 against 17.3`."""
        first = self.differences[0]
        return f"{self.observed_at:%Y-%m-%dT%H:%MZ} {self.kind} {first.column}: {first.one!r} against {first.other!r}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "observed_at": self.observed_at.isoformat(),
            "kind": self.kind,
            "values": [{"column": one.column, "clean": one.one, "poisoned": one.other} for one in self.differences],
        }


@dataclass(slots=True)
class LookaheadReport:
    """What the gate found."""

    seed: int
    judged: int = 0
    moved: list[Moved] = field(default_factory=list)
    #: rows of other definitions, by version, and rows that do not say what they were computed from: not judged
    not_judged: Counter[str] = field(default_factory=Counter)

    @property
    def proven(self) -> bool:
        """Whether rows were judged and none moved."""
        return self.judged > 0 and not self.moved

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "judged": self.judged,
            "seed": self.seed,
            "proven": self.proven,
            "not_judged": dict(sorted(self.not_judged.items())),
            "moved": [one.to_json() for one in self.moved],
        }


def verify_lookahead(
    store: Store,
    start: datetime,
    end: datetime,
    definitions: Definitions,
    *,
    sample: int | None = None,
    newest_first: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> LookaheadReport:
    """Judge the served rows with start <= observed_at < end.

    Args:
        store: whose rows and log.
        start: first observation time.
        end: end of the observation times, not included.
        definitions: what this program computes.
        sample: how many rows to judge, drawn by `seed`; None: all.
        newest_first: take the newest `sample` rows instead of drawing them.
        seed: of the draw and of the poison; the same seed judges the same.
        progress: called with (rows done, rows in all).
    """
    report = LookaheadReport(seed)
    with store.snapshot() as snapshot:
        rows = row_versions(snapshot, start, end)
        if sample is not None and sample < len(rows):
            rows = rows.iloc[_drawn(len(rows), sample, seed, newest_first=newest_first)].reset_index(drop=True)
        judge = _Judge(report, compared_columns(store), definitions.observers())
        done = 0
        for part, history in blocks(snapshot, definitions, rows):
            for position in range(len(part)):
                judge.row(part.iloc[position : position + 1].reset_index(drop=True), history)
                done += 1
                progress(done, len(rows))
    return report


def _drawn(count: int, sample: int, seed: int, *, newest_first: bool) -> np.ndarray[Any, np.dtype[np.intp]]:
    if newest_first:
        return np.arange(count - sample, count)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))


@dataclass(frozen=True, slots=True)
class _Judge:
    report: LookaheadReport
    columns: tuple[str, ...]
    #: the computation by `feature_version`
    observers: Mapping[str, Observer]

    def row(self, served: pd.DataFrame, history: LogHistory) -> None:
        """Judge one row, a frame of one, and add what is found to the report."""
        version, read_as_of = str(served["feature_version"].iloc[0]), served["read_as_of"].iloc[0]
        if version not in self.observers:
            self.report.not_judged[version] += 1
        elif pd.isna(read_as_of):
            self.report.not_judged["without read_as_of"] += 1
        else:
            self.report.judged += 1
            self._judge(served, history, to_us(read_as_of), self.observers[version])

    def _judge(self, served: pd.DataFrame, history: LogHistory, as_of_us: int, observer: Observer) -> None:
        at: datetime = served["observed_at"].iloc[0].to_pydatetime()
        at_us = to_us(at)
        rng = np.random.default_rng([self.report.seed, at_us])

        def row(log: LogHistory) -> pd.DataFrame:
            return stored_form(observer.row(log.as_of(as_of_us), at_us)).reset_index(drop=True)

        poisoned = row(Scrambler(at_us, as_of_us, rng).history(history))
        moved = differences(served, poisoned, "observed_at", self.columns)
        if not moved:
            return
        # Only a row that is not as served needs to be asked why.
        leaked = differences(row(history), poisoned, "observed_at", self.columns)
        kind = "lookahead" if leaked else "not_reproducible"
        self.report.moved.append(Moved(at, kind, tuple((leaked or moved)[:_VALUES_TOLD])))
