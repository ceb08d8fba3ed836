"""`bars_were_fetched`: whether the fetch of this run succeeded.

Belongs here: the pure judgement of a ticker's outcome. Does not belong here: the fetch itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from market_assets.collection.outcome import TickerOutcome

FETCHED_CHECK = "bars_were_fetched"


@dataclass(frozen=True, slots=True)
class FetchVerdict:
    """Whether a ticker was fetched, and what a person needs to know if it was not."""

    passed: bool
    description: str
    metadata: Mapping[str, str | int]


def evaluate_fetch(outcome: TickerOutcome) -> FetchVerdict:
    """Judge one ticker's outcome: observed failures against the threshold of none."""
    metadata: dict[str, str | int] = {
        "observed": outcome.failed_requests,
        "threshold": 0,
        "requests": outcome.requests,
        "bars": len(outcome.bars),
        "source": outcome.source,
    }
    if outcome.holes:
        metadata["empty_windows"] = "; ".join(outcome.holes)
    if outcome.error is None:
        return FetchVerdict(passed=True, description="fetched", metadata=metadata)
    metadata["worst_offenders"] = outcome.message
    metadata["cause"] = outcome.error.code
    return FetchVerdict(passed=False, description=outcome.message, metadata=metadata)
