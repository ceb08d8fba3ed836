"""`bars_are_fresh`: how old the last stored bar of a ticker is, in open-market minutes of its venue.

Belongs here: the pure judgement. Does not belong here: what staleness is (`maths/bars.py`, `metrics.py`).

Staleness is counted as the feature row counts it, from when the next bar should have been available: a weekend, a
holiday and the hours after a half day's close add nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import from_us, to_us, venue_calendar
from market_assets.checks.verdict import NO_OFFENDERS, Severity, Value, Verdict
from market_assets.maths.bars import INTERVALS, Bars, PriceBars

if TYPE_CHECKING:
    from market_assets.checks.evidence import TickerEvidence

FRESH_CHECK = "bars_are_fresh"

#: a thinly traded ticker may be so many times as late: a quarter of an hour without a trade has no bar. In 2019-12 ARKQ
#: was more than 15 minutes late at 13 of 215 ticks, and never more than 31
_THIN_PATIENCE = 3.0


def evaluate_freshness(evidence: TickerEvidence) -> Verdict:
    """Judge the last bar that may give a price at the run's clock.

    WARN above the limit from which values no longer count as fresh, and of a thinly traded ticker above three times
    that; ERROR above the one from which they are NULL. A run over past days says nothing about today and is not judged.
    """
    if not evidence.is_current:
        days = evidence.days
        return Verdict.not_judged(f"the run is about past days, {days.first} to {days.last}")
    ticker, limits = evidence.ticker, evidence.limits
    patience = limits.warn * (_THIN_PATIENCE if ticker.thinly_traded else 1.0)
    calendar = venue_calendar(ticker.venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    prices = PriceBars.of(ticker, Bars.from_frame(evidence.bars, table), calendar)
    now_us = np.array([to_us(evidence.now)], dtype=np.int64)
    chosen = prices.choose(now_us)
    row, stale = int(chosen.row[0]), float(chosen.stale_minutes[0])
    metadata: dict[str, Value] = {
        "threshold": patience,
        "threshold_error": limits.null,
        "venue": "open" if bool(calendar.is_open(now_us)[0]) else "closed",
    }
    if row < 0:
        told = "no bar of the last days is stored"
        metadata |= {"observed": "no bar", "worst_offenders": told}
        return Verdict(passed=False, severity=Severity.ERROR, description=told, metadata=metadata)
    interval, bar_end = INTERVALS[int(prices.bars.interval[row])], from_us(int(prices.bars.end_us[row]))
    last = f"{interval} until {bar_end:%Y-%m-%d %H:%M} UTC"
    passed = stale <= patience
    metadata |= {
        "observed": stale,
        "worst_offenders": NO_OFFENDERS if passed else last,
        "last_bar": last,
        "age_minutes": float(chosen.age_minutes[0]),
    }
    closed = "" if metadata["venue"] == "open" else f"; the venue is closed, {ticker.name} carries its last session"
    return Verdict(
        passed=passed,
        severity=Severity.ERROR if stale > limits.null else Severity.WARN,
        description=f"last bar {last}, {stale:.0f} open-market minutes late{closed}",
        metadata=metadata,
    )
