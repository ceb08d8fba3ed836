"""What alerts are made from: the evaluation of one check in one finished run.

Belongs here: plain values, and how they are read from a check's metadata. Does not belong here: Dagster's events
(`automation/evaluations.py`), what follows from an evaluation (states.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from market_assets.collection.days import DayRange
from market_assets.collection.holes import REFILL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from market_assets.store import AlertKey

#: alerts that no check of an asset makes
RUN_FAILED = "run_failed"
MISSED_TICKS = "missed_ticks"
RUNS_UNREAD = "runs_not_read"
ALERT_PATH = "alert_path_broken"
#: cause of a failed run in which no ticker at all could be fetched
NOTHING_FETCHED = "nothing_fetched"

#: kinds of runs over days that are not today: they are told of in one line at most
HISTORY_KINDS = frozenset({"settle", "catch_up", REFILL, "backfill", "rebuild"})
#: the nightly proof, which is about yesterday
REPLAY_KIND = "replay"
#: the nightly purge of Dagster's old runs
PURGE_KIND = "purge"
#: kinds whose failure as a whole is told. A refill's is not: it is tried again, and its holes stand in the ledger
UNATTENDED_KINDS = frozenset({"tick", "catch_up", "settle", "rebuild", REPLAY_KIND, PURGE_KIND})


class Severity(StrEnum):
    """How much a failure matters."""

    WARN = "warn"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return 2 if self is Severity.ERROR else 1


def rank(severity: str) -> int:
    """Return the rank of a severity as stored; 0 for none."""
    return Severity(severity).rank if severity else 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One check of one asset, once."""

    check: str
    #: `ticker/QQQ`, `ml_features`; of a run its kind
    asset: str
    passed: bool
    severity: Severity = Severity.ERROR
    description: str = ""
    observed: str = ""
    threshold: str = ""
    #: stable class of a failure, such as `rate_limited`
    cause: str = ""
    #: when it began, if that is known better than from the run
    since: datetime | None = None
    #: False if there was nothing to judge: neither a failure nor a recovery
    conclusive: bool = True

    @property
    def key(self) -> AlertKey:
        """The key of its state."""
        return (self.check, self.asset)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended, and what its checks found."""

    run_id: str
    #: why it was started: tick, settle, catch_up, rebuild, backfill, replay, ad_hoc, quickstart
    kind: str
    #: when it began, UTC
    at: datetime
    days: DayRange
    evaluations: tuple[Evaluation, ...] = ()
    #: None if it was canceled: neither a failure nor a success
    succeeded: bool | None = True
    #: what went wrong first
    failure: str = ""
    failure_cause: str = ""
    #: whether the checks of every asset were to be evaluated
    whole: bool = False

    @property
    def is_current(self) -> bool:
        """Whether its evaluations are about the day that ran when it began, or are the nightly proof of yesterday."""
        if self.kind in HISTORY_KINDS or len(self.days) > 1:
            return False
        today = DayRange.of(self.at)
        return self.days == (today.before if self.kind == REPLAY_KIND else today)

    @property
    def run_evaluation(self) -> Evaluation | None:
        """Whether the run as a whole succeeded; None for one that a person started and sees, or canceled."""
        if self.kind not in UNATTENDED_KINDS or self.succeeded is None:
            return None
        said = f"the {self.kind} run of {self.label} failed: {self.failure or 'it does not say why'}"
        return Evaluation(
            RUN_FAILED,
            self.kind,
            passed=self.succeeded,
            description="" if self.succeeded else said,
            observed="succeeded" if self.succeeded else "failed",
            threshold="succeeded",
            cause="" if self.succeeded else self.failure_cause,
        )

    @property
    def label(self) -> str:
        """The days, in words."""
        first, last = self.days.first, self.days.last
        return first.isoformat() if first == last else f"{first} to {last}"


def is_conclusive(metadata: Mapping[str, Any], *, passed: bool) -> bool:
    """Whether a check had anything to judge, by its metadata.

    A check that passes because it had nothing to judge says `judged: false`. The two proofs fail where they found no
    row, which is no evidence either. A fetch that passes without a bar, or with empty windows, was not due to bring
    any: whether the source has the ticker back, nobody knows.
    """
    if any(metadata.get(name) == 0 for name in ("rows_judged", "rows_compared")):
        return False
    nothing_came = metadata.get("bars") == 0 or "empty_windows" in metadata
    return not (passed and (metadata.get("judged") is False or nothing_came))


def text_of(value: object) -> str:
    """Return a metadata value as text: numbers short, everything in one line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())
