"""`no_lookahead`: whether the rows just served are the same with their future poisoned.

Belongs here: the pure judgement of a gate's report, and the check that runs the gate after each run of the feature row.
Does not belong here: the gate (`verify/`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from market_assets.assets.common import FEATURES_KEY
from market_assets.clock import Clock
from market_assets.collection.days import DayRange
from market_assets.indicators import Indicator
from market_assets.partitions import days_of_tags
from market_assets.store import Store
from market_assets.universe import Universe
from market_assets.verify.lookahead import LookaheadReport, verify_lookahead
from market_assets.verify.served import Definitions

LOOKAHEAD_CHECK = "no_lookahead"
#: rows of a run over several days that are judged: a row costs a tenth of a second
ROWS_OF_A_RANGE = 8
_OFFENDERS_TOLD = 5


def evaluate_lookahead(report: LookaheadReport) -> dg.AssetCheckResult:
    """Judge a report: observed are the rows that moved, the threshold is none."""
    worst = [str(moved) for moved in report.moved[:_OFFENDERS_TOLD]]
    metadata: dict[str, Any] = {
        "observed": len(report.moved),
        "threshold": 0,
        "rows_judged": report.judged,
        "worst_offenders": ", ".join(worst) or "none",
    }
    if report.not_judged:
        metadata["rows_not_judged"] = ", ".join(f"{count} of {name}" for name, count in report.not_judged.items())
    if report.moved:
        description = f"dependent on what could not be known: {len(report.moved)} of {report.judged} rows: {worst[0]}"
    elif report.judged:
        description = f"the same with their future scrambled: {report.judged} of {report.judged} rows"
    else:
        description = "there was no row of these definitions to judge"
    return dg.AssetCheckResult(
        asset_key=FEATURES_KEY,
        check_name=LOOKAHEAD_CHECK,
        passed=report.proven,
        # Nothing to judge is no proof of a look-ahead: it must not stop the run.
        severity=dg.AssetCheckSeverity.ERROR if report.moved else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def build_lookahead_check(
    universe: Universe, indicators: Sequence[Indicator], clock: Clock
) -> dg.AssetChecksDefinition:
    """Return the check: the newest row of a day, or a few rows of a range of days.

    It takes no input: an unpartitioned check that did would load every partition. It blocks what stands on the rows.
    """
    definitions = Definitions(universe, tuple(indicators))

    @dg.asset_check(
        asset=FEATURES_KEY,
        name=LOOKAHEAD_CHECK,
        blocking=True,
        description=(
            "The newest row comes out the same to the bit after everything that was not available at its time, or "
            "not known when it was served, has been scrambled, deleted and added to."
        ),
    )
    def no_lookahead(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        days = days_of_tags(dict(context.run.tags), clock.now())
        return evaluate_lookahead(judge_days(store, days, definitions))

    return no_lookahead


def judge_days(store: Store, days: DayRange, definitions: Definitions) -> LookaheadReport:
    """Run the gate on the newest row of one day, or on a few rows of several days, others every time."""
    single = len(days) == 1
    return verify_lookahead(
        store,
        days.start,
        days.end,
        definitions,
        sample=1 if single else ROWS_OF_A_RANGE,
        newest_first=single,
        seed=days.last.toordinal(),
    )
