"""`feature_count_meets_target`: whether the newest feature row has enough that is known and fresh.

Belongs here: the pure judgement of one row's counts. Does not belong here: what counts (`features.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.checks.verdict import Markdown, Severity, Value, Verdict, offenders
from market_assets.columns import core_columns, feature_columns
from market_assets.pictures import markdown_table, sparkline
from market_assets.row_texts import notes, null_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from market_assets.indicators import Indicator
    from market_assets.universe import Universe

COUNT_CHECK = "feature_count_meets_target"
COUNT_DESCRIPTION = (
    "The newest row of the run has at least ML_FEATURE_COUNT_TARGET features that are not NULL and stand on fresh "
    "inputs. While a venue is closed its last session counts."
)


def evaluate_feature_count(
    rows: pd.DataFrame, target: int, *, universe: Universe, indicators: Sequence[Indicator]
) -> Verdict:
    """Judge the last of the feature rows (one per observation time, ascending); ERROR below `target`."""
    columns = feature_columns(universe, indicators)
    if rows.empty:
        return Verdict.not_judged("there is no observation time yet")
    latest = rows.iloc[-1]
    count, core = int(latest["feature_count"]), int(latest["core_count"])
    nulls = null_reasons(str(latest["reasons"]), universe)
    by_reason: dict[str, list[str]] = {}
    for column in columns:
        if column in nulls:
            by_reason.setdefault(nulls[column], []).append(column)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    noted = notes(str(latest["reasons"]))
    late = [f"{ticker}: {', '.join(said)}" for ticker, said in noted.items() if "stale_warn" in said]
    not_fresh = len(columns) - len(nulls) - count
    metadata: dict[str, Value] = {
        "observed": count,
        "threshold": target,
        "worst_offenders": offenders([f"{reason}: {', '.join(names)}" for reason, names in ordered]),
        "observed_at": f"{latest['observed_at']:%Y-%m-%d %H:%M} UTC",
        "features": f"{count} of {len(columns)}",
        "core_features": f"{core} of {len(core_columns(universe, indicators))}",
        "null": len(nulls),
        "not_fresh": not_fresh,
        "feature_counts": sparkline([float(value) for value in rows["feature_count"]]),
    }
    if late:
        metadata["late_tickers"] = offenders(late)
    if ordered:
        table = markdown_table(("why NULL", "features"), [(reason, ", ".join(names)) for reason, names in ordered])
        metadata["null_features"] = Markdown(table)
    description = f"{count} of {len(columns)} features are known and fresh, the target is {target}"
    if target > len(columns):
        description += "; no row can reach it: lower ML_FEATURE_COUNT_TARGET"
    elif count < target:
        description += f": {len(nulls)} are NULL, {not_fresh} stand on late inputs"
    return Verdict(passed=count >= target, severity=Severity.ERROR, description=description, metadata=metadata)
