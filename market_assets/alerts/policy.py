"""How each check is told of: as data.

Belongs here: one line per check. Does not belong here: what is done with it (telling.py).

The measure is a person at three in the morning. What a source does wrong once and right at the next tick wakes nobody.
What follows from something else that is open is not told beside it. What proves that served numbers are wrong is told
at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import ALERT_PATH, MISSED_TICKS, NOTHING_FETCHED, RUN_FAILED, RUNS_UNREAD
from market_assets.indicators import INDICATORS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Policy:
    """When a check's failure is told."""

    #: what it means, in a few words
    says: str = "failed"
    #: evaluations in a row that must fail before an ERROR, or a WARN, is told
    confirm_error: int = 2
    confirm_warn: int = 2
    #: what explains this failure: checks of the same asset or of an indicator's inputs, `run_failed` of the tick, and
    #: `nothing_fetched` for a tick that failed because no ticker could be fetched
    explained_by: tuple[str, ...] = ()
    #: the only cause of its own that may be explained; empty: any
    explained_cause: str = ""
    #: whether it is never told by itself: it shows in `status`, in `alerts list` and in the daily message
    quiet: bool = False

    def confirm(self, severity: str) -> int:
        """Return how many failures in a row are told."""
        return self.confirm_error if severity == "error" else self.confirm_warn


#: cause of missed ticks while runs start, and fail
RUNS_FAIL = "runs_fail"
NO_RUNS = "no_runs"

_TICKER_CHECKS = ("bars_were_fetched", "bars_are_fresh", "bars_are_sane", "bars_are_complete")
_DEFAULT = Policy(explained_by=(NOTHING_FETCHED,))
_DERIVED = Policy(explained_by=(*_TICKER_CHECKS, NOTHING_FETCHED))
_POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        RUN_FAILED: Policy("the run failed", confirm_error=1),
        MISSED_TICKS: Policy(
            "no tick has succeeded", confirm_error=1, explained_by=(RUN_FAILED,), explained_cause=RUNS_FAIL
        ),
        RUNS_UNREAD: Policy("failed checks cannot be told", confirm_error=1),
        ALERT_PATH: Policy("alerts cannot be posted there", confirm_error=3),
        "bars_were_fetched": Policy("not fetched", explained_by=(NOTHING_FETCHED,)),
        "bars_are_fresh": Policy("late or stale", explained_by=("bars_were_fetched", NOTHING_FETCHED)),
        "bars_are_complete": Policy(
            "bars are missing", explained_by=("bars_were_fetched", "bars_are_fresh", NOTHING_FETCHED)
        ),
        "bars_are_sane": Policy("prices that cannot be true, or hardly"),
        "values_are_plausible": Policy("values out of their range", explained_by=(*_TICKER_CHECKS, NOTHING_FETCHED)),
        "feature_count_meets_target": Policy("too few features", explained_by=(NOTHING_FETCHED,)),
        "identities_hold": Policy("features contradict each other"),
        "no_lookahead": Policy("rows that saw their future", confirm_error=1),
        "served_equals_replayed": Policy("served rows cannot be made again", confirm_error=1, confirm_warn=1),
        "correlation_within_threshold": Policy("documented correlations do not hold", quiet=True),
    }
)
#: a run that is tried again at every tick
_CATCH_UP = Policy("the run failed", confirm_error=2)

#: causes that are one and the same for the person
_SAME_CAUSE: Mapping[str, str] = MappingProxyType({"batch_stopped": "rate_limited", "timeout": "unavailable"})
#: causes that lie with the source as a whole: further tickers that they reach are the same incident
SOURCE_WIDE = frozenset({"rate_limited", "unavailable", "auth"})

#: assets whose failures explain an indicator's
INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {f"indicator/{one.name}": tuple(f"ticker/{name}" for name in one.inputs) for one in INDICATORS}
)


def policy_of(check: str, asset: str) -> Policy:
    """Return the policy of a check; one that is not known is told like a ticker's."""
    if (check, asset) == (RUN_FAILED, "catch_up"):
        return _CATCH_UP
    known = _POLICIES.get(check)
    if known is None:
        return _DERIVED if asset in INPUTS else _DEFAULT
    return known


def known_checks() -> tuple[str, ...]:
    """Return the names of all checks that have a policy: the runbook has a section for each."""
    return tuple(_POLICIES)


def same_cause(cause: str) -> str:
    """Return the cause by which failures are put together."""
    return _SAME_CAUSE.get(cause, cause)
