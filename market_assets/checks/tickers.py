"""The checks of every ticker, as one visible list.

Belongs here: which checks there are, and what each is given. Does not belong here: what they judge, and Dagster. A
ticker's own step yields them: they cost no step of their own and load nothing through an IO manager.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_assets.checks.complete import COMPLETE_CHECK, evaluate_completeness
from market_assets.checks.fetched import FETCHED_CHECK, evaluate_fetch
from market_assets.checks.fresh import FRESH_CHECK, evaluate_freshness
from market_assets.checks.sane import SANE_CHECK, evaluate_sanity

if TYPE_CHECKING:
    from collections.abc import Callable

    from market_assets.checks.evidence import TickerEvidence
    from market_assets.checks.verdict import Verdict
    from market_assets.collection.outcome import TickerOutcome

    #: reads the evidence when it is first asked, so that a database that fails does not hide a fetch that failed
    Reader = Callable[[], TickerEvidence]


@dataclass(frozen=True, slots=True)
class TickerCheck:
    """One check that every ticker has."""

    name: str
    description: str
    evaluate: Callable[[TickerOutcome, Reader], Verdict]


def _fetch(outcome: TickerOutcome, _read: Reader) -> Verdict:
    return evaluate_fetch(outcome)


def _stored(evaluate: Callable[[TickerEvidence], Verdict]) -> Callable[[TickerOutcome, Reader], Verdict]:
    return lambda _outcome, read: evaluate(read())


TICKER_CHECKS = (
    TickerCheck(FETCHED_CHECK, "The fetch of this run succeeded, after its retries.", _fetch),
    TickerCheck(
        FRESH_CHECK,
        "The last stored bar is young, in open-market minutes since the next one should have been available: a weekend "
        "is never stale, a half day never late. Judged by runs for the current day.",
        _stored(evaluate_freshness),
    ),
    TickerCheck(
        COMPLETE_CHECK,
        "The source has the bars that the venue calendar expects of the run's days: no 1d bar is missing, and no more "
        "than a small part of a day's intraday bars, a larger one of a ticker that is thinly traded.",
        _stored(evaluate_completeness),
    ),
    TickerCheck(
        SANE_CHECK,
        "Bars of the run's days can be true: none was quarantined, none stored that should have been; no jump beyond "
        "the ticker's own volatility, no price far off its level or standing still.",
        _stored(evaluate_sanity),
    ),
)
