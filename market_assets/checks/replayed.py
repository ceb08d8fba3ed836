"""`served_equals_replayed`: whether the rows of a day come out of the log again, to the bit.

Belongs here: the pure judgement of a replay, and the check that a job of its own runs every night. Does not belong
here: the replay (`verify/`), and when the job runs (`automation/`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from market_assets.assets.common import FEATURES_KEY
from market_assets.clock import Clock
from market_assets.collection.days import DayRange
from market_assets.indicators import Indicator
from market_assets.partitions import days_of_tags, yesterday
from market_assets.store import Store
from market_assets.universe import Universe
from market_assets.verify.replay import ReplayReport, replay
from market_assets.verify.served import Definitions

REPLAY_CHECK = "served_equals_replayed"
REPLAY_CHECK_KEY = dg.AssetCheckKey(FEATURES_KEY, REPLAY_CHECK)
_OFFENDERS_TOLD = 5


def evaluate_replay(report: ReplayReport, days: DayRange) -> dg.AssetCheckResult:
    """Judge a report: observed is the share of rows that are identical, the threshold is all."""
    worst = [str(divergence) for divergence in report.divergent[:_OFFENDERS_TOLD]]
    metadata: dict[str, Any] = {
        "observed": report.share,
        "threshold": 1.0,
        "days": f"{days.first} to {days.last}",
        "rows_compared": report.compared,
        "rows_identical": report.identical,
        "worst_offenders": "; ".join(worst) or "none",
    }
    for origin, count in sorted(report.origins.items()):
        metadata[f"origin/{origin}"] = f"{report.identical_by_origin[origin]} of {count} identical"
    if report.first is not None and report.first.bars:
        metadata["bars_behind_the_first"] = "; ".join(
            f"{bar.key} close {bar.close!r} basis {bar.basis!r} ({bar.why})"
            for bar in report.first.bars[:_OFFENDERS_TOLD]
        )
    if report.other_definitions or report.without_knowledge:
        metadata["rows_not_compared"] = (
            f"{sum(report.other_definitions.values())} of other definitions, "
            f"{report.without_knowledge} that do not say what they were computed from"
        )
    if not report.compared:
        description = f"no row of {days.first} to {days.last} could be compared"
    elif report.proven:
        description = f"out of the log again to the bit: {report.identical} of {report.compared} rows"
    else:
        told = worst[0] if worst else f"{report.without_knowledge} rows do not say what they were computed from"
        description = f"different: {report.compared - report.identical} of {report.compared} rows: {told}"
    return dg.AssetCheckResult(
        check_name=REPLAY_CHECK,
        passed=report.proven,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata,
    )


def build_replay_check(universe: Universe, indicators: Sequence[Indicator], clock: Clock) -> dg.AssetChecksDefinition:
    """Return the check over the run's days, or yesterday where the run names none.

    Its job has nothing else in it, so that Dagster starts a fresh process for it: nothing that a collection has in
    memory can help.
    """
    definitions = Definitions(universe, tuple(indicators))

    @dg.asset_check(
        asset=FEATURES_KEY,
        name=REPLAY_CHECK,
        description="Every row served on the day is computed again from the log as it was known then: identical bits.",
    )
    def served_equals_replayed(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]
    ) -> dg.AssetCheckResult:
        day = yesterday(clock.now())
        days = days_of_tags(dict(context.run.tags), DayRange(day, day).start)
        return evaluate_replay(replay(store, days.start, days.end, definitions), days)

    return served_equals_replayed
