"""`values_are_plausible`: whether an indicator's values are numbers one may expect.

Belongs here: the pure judgement of one indicator's rows. Does not belong here: the range (kept beside each indicator in
`indicators/`), and what several features say of each other (`identities.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from market_assets.checks.verdict import Severity, Value, Verdict, offenders
from market_assets.pictures import sparkline

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.indicators import Indicator

PLAUSIBLE_CHECK = "values_are_plausible"
PLAUSIBLE_DESCRIPTION = (
    "Every value of the run's days is finite or NULL with a reason (else ERROR), and within the indicator's plausible "
    "range (else WARN)."
)


def evaluate_indicator(indicator: Indicator, rows: pd.DataFrame) -> Verdict:
    """Judge the rows (observed_at, value, reason) of an indicator, as they are stored."""
    if rows.empty:
        return Verdict.not_judged("there is no observation time yet")
    low, high = indicator.plausible
    value = rows["value"].to_numpy(np.float64)
    null = np.isnan(value)
    unexplained = null & rows["reason"].isna().to_numpy()
    infinite = np.isinf(value)
    outside = ~null & ~infinite & ((value < low) | (value > high))
    at = rows["observed_at"].tolist()
    broken = [f"{at[row]:%Y-%m-%dT%H:%MZ}: NULL without a reason" for row in np.flatnonzero(unexplained).tolist()]
    broken += [f"{at[row]:%Y-%m-%dT%H:%MZ}: {value[row]}" for row in np.flatnonzero(infinite).tolist()]
    distance = np.where(outside, np.maximum(low - value, value - high), -np.inf)
    furthest = np.argsort(-distance, kind="stable")[: int(outside.sum())].tolist()
    strange = [f"{at[row]:%Y-%m-%dT%H:%MZ}: {value[row]:.6g}" for row in furthest]
    metadata: dict[str, Value] = {
        "observed": len(broken) + len(strange),
        "threshold": 0,
        "plausible_range": f"{low:g} to {high:g} {indicator.unit}",
        "worst_offenders": offenders([*broken, *strange]),
        "rows_judged": len(rows),
        "rows_null": int(null.sum()),
        "values": sparkline(value.tolist()),
    }
    if not null.all():
        metadata["latest_value"] = float(value[~null][-1])
    reasons = Counter(rows.loc[null & ~unexplained, "reason"].tolist())
    metadata |= {f"null/{reason}": count for reason, count in reasons.most_common(3)}
    if broken:
        description = f"{len(broken)} of {len(rows)} values are no numbers and do not say why. First: {broken[0]}"
    elif strange:
        description = f"{len(strange)} of {len(rows)} values lie outside of {low:g} to {high:g}. Furthest: {strange[0]}"
    else:
        description = f"plausible: {int((~null).sum())} values, {int(null.sum())} NULL with a reason"
    return Verdict(
        passed=not broken and not strange,
        severity=Severity.ERROR if broken else Severity.WARN,
        description=description,
        metadata=metadata,
    )
