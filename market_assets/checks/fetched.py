"""`bars_were_fetched`: whether the fetch of this run succeeded.

Belongs here: the pure judgement of a ticker's outcome. Does not belong here: the fetch itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.checks.verdict import NO_OFFENDERS, Severity, Value, Verdict

if TYPE_CHECKING:
    from market_assets.collection.outcome import TickerOutcome

FETCHED_CHECK = "bars_were_fetched"


def evaluate_fetch(outcome: TickerOutcome) -> Verdict:
    """Judge one ticker's outcome: observed failures against the threshold of none."""
    metadata: dict[str, Value] = {
        "observed": outcome.failed_requests,
        "threshold": 0,
        "worst_offenders": outcome.message or NO_OFFENDERS,
        "requests": outcome.requests,
        "bars": len(outcome.bars),
        "source": outcome.source,
    }
    if outcome.holes:
        metadata["empty_windows"] = "; ".join(outcome.holes)
    if outcome.error is None:
        return Verdict(passed=True, severity=Severity.ERROR, description="fetched", metadata=metadata)
    metadata["cause"] = outcome.error.code
    return Verdict(passed=False, severity=Severity.ERROR, description=outcome.message, metadata=metadata)
