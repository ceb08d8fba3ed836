"""`bars_are_sane`: whether a ticker's bars can be true.

Belongs here: the pure judgement of stored and quarantined bars. Does not belong here: what makes a single bar
impossible (`collection/sanity.py`), what its past leads to expect (`movement.py`).

Bad rows were held back at the write, and stand in `quarantined_bars` with the reason. What is unusual but may be true
is stored, used, and named here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import US_PER_MINUTE, venue_calendar
from market_assets.checks.movement import JUMP_LIMIT, LEVEL_LIMIT, STUCK_LIMIT, Kind, Movement, examine
from market_assets.checks.verdict import OFFENDERS_TOLD, Markdown, Severity, Value, Verdict, offenders
from market_assets.collection.sanity import sanity_reasons
from market_assets.maths.arrays import instants_us
from market_assets.maths.bars import session_of
from market_assets.pictures import markdown_table, sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from market_assets.checks.evidence import TickerEvidence

SANE_CHECK = "bars_are_sane"

_SHOWN = ("interval", "bar_start", "open", "high", "low", "close", "reason")
_QUARTER_HOUR_US = 15 * US_PER_MINUTE


def evaluate_sanity(evidence: TickerEvidence) -> Verdict:
    """Judge the bars of the run's days, and the rows quarantined in its windows.

    ERROR: rows were quarantined; a stored bar is impossible, doubled, off the grid or of another source; a price is
    `LEVEL_LIMIT` times off its level. WARN: a jump beyond the ticker's own volatility, or a price that stands still.
    """
    own = evidence.own_bars
    impossible = _impossible(own, evidence)
    moved = examine(evidence.ticker, evidence.bars, evidence.actions, evidence.days)
    reasons = Counter(evidence.quarantined["reason"].tolist())
    levels, jumps, stuck = (moved.of_kind(kind) for kind in (Kind.LEVEL, Kind.JUMP, Kind.STUCK))
    held_back = [
        f"quarantined {interval} {start:%Y-%m-%dT%H:%MZ}: {reason}"
        for interval, start, reason in _named(evidence.quarantined)
    ]
    stored_badly = [
        f"stored {interval} {start:%Y-%m-%dT%H:%MZ}: {reason}" for interval, start, reason in _named(impossible)
    ]
    worst = [*stored_badly, *held_back, *(str(one) for one in (*levels, *jumps, *stuck))]
    metadata: dict[str, Value] = {
        "observed": len(worst),
        "threshold": 0,
        "worst_offenders": offenders(worst),
        "bars_judged": moved.bars,
        "extremes": (
            f"jump {moved.largest_jump:.2f} of {JUMP_LIMIT:g} own daily volatilities, "
            f"level {moved.largest_level:.3g} of {LEVEL_LIMIT:g} times the median close, "
            f"standstill {moved.longest_stuck:.0f} of {STUCK_LIMIT:.0f} open-market minutes"
        ),
    }
    metadata |= {f"quarantined/{reason}": count for reason, count in sorted(reasons.items())}
    if moved.without_past:
        metadata["bars_without_past"] = moved.without_past
    if stuck:
        metadata["volume_while_standing_still"] = moved.stuck_volume
    if held_back or stored_badly:
        metadata["bad_rows"] = Markdown(_table(evidence.quarantined, impossible))
    elif worst:
        closes = own.loc[own["interval"] == (levels or jumps or stuck)[0].interval, "close"]
        metadata["closes"] = sparkline(closes.tolist())
    return Verdict(
        passed=not worst,
        severity=Severity.ERROR if held_back or stored_badly or levels else Severity.WARN,
        description=_description(reasons, len(stored_badly), moved, worst),
        metadata=metadata,
    )


def _impossible(own: pd.DataFrame, evidence: TickerEvidence) -> pd.DataFrame:
    """Return the stored bars that the write should have held back, with a reason; normally none."""
    calendar = venue_calendar(evidence.ticker.venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    reason = sanity_reasons(own, evidence.ticker)
    start, end = instants_us(own["bar_start"]), instants_us(own["bar_end"])
    interval, source = own["interval"].to_numpy(dtype=object), own["source"].to_numpy(dtype=object)
    session = session_of(table, start)
    off_grid = (start % _QUARTER_HOUR_US != 0) | (session < 0) | (end > table.close_us[session])
    doubled = np.zeros(len(own), dtype=np.bool_)
    if len(set(zip(interval.tolist(), start.tolist(), strict=True))) < len(own):
        doubled = own.duplicated(["interval", "bar_start"]).to_numpy()
    for wrong, why in (
        (doubled, "doubled"),
        ((interval != "1d") & off_grid, "off_grid"),
        (end <= start, "ends_before_it_starts"),
        (source != evidence.source, "another_source"),
    ):
        reason[np.asarray(wrong, dtype=np.bool_) & (reason == "")] = why
    if not (reason != "").any():
        return own.iloc[:0].assign(reason=[])
    found: pd.DataFrame = own.loc[reason != ""].copy()
    found["reason"] = reason[reason != ""]
    return found


def _named(rows: pd.DataFrame) -> Iterator[tuple[str, pd.Timestamp, str]]:
    """Yield interval, start and reason of each row."""
    return zip(rows["interval"].tolist(), rows["bar_start"].tolist(), rows["reason"].tolist(), strict=True)


def _table(quarantined: pd.DataFrame, impossible: pd.DataFrame) -> str:
    rows = [
        row
        for frame in (impossible, quarantined)
        for row in frame.loc[:, list(_SHOWN)].head(OFFENDERS_TOLD).itertuples(index=False)
    ]
    return markdown_table(_SHOWN, rows)


def _description(reasons: Counter[str], stored_badly: int, moved: Movement, worst: list[str]) -> str:
    if not worst:
        return f"sane: {moved.bars} bars"
    held_back = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    parts = [
        (f"{stored_badly} stored bars are impossible", bool(stored_badly)),
        (f"quarantined: {held_back}", bool(held_back)),
        *(
            (f"{count} {what}", count > 0)
            for what, count in (
                ("far off their level", len(moved.of_kind(Kind.LEVEL))),
                ("jumps", len(moved.of_kind(Kind.JUMP))),
                ("standing still", len(moved.of_kind(Kind.STUCK))),
            )
        ),
    ]
    return f"{', '.join(text for text, holds in parts if holds)}. First: {worst[0]}"
