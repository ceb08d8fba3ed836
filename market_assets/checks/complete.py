"""`bars_are_complete`: whether the source has every bar that the venue calendar expects of the run's days.

Belongs here: the pure judgement of the ledger's entries, and how many bars may be missing. Does not belong here: the
state of a single bar (`collection/coverage.py`), and fetches that failed (`fetched.py`).

Judged are holes: bars that were due when the source answered, and were not in the answer. What the calendar closes, and
what is not due yet, is no hole. A bar that no answer could have brought is `bars_were_fetched`'s matter, and only told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_assets.checks.verdict import OFFENDERS_TOLD, Markdown, Severity, Value, Verdict, offenders
from market_assets.collection.coverage import FAILED, HOLE, PENDING
from market_assets.pictures import markdown_table
from market_assets.sources.base import Interval

if TYPE_CHECKING:
    from market_assets.checks.evidence import TickerEvidence
    from market_assets.store import LedgerEntry
    from market_assets.universe import Ticker

COMPLETE_CHECK = "bars_are_complete"

#: part of a day's expected bars of one interval that may be missing: 2 quarter hours of New York's day, 9 of the
#: currencies'. On 112 days of ten ETFs in 2019-12 none is missing. Of Yahoo's EURUSD in 2025-10 most gaps have 1 to 8
#: quarter hours; longer ones somebody should see (scripts/derive_check_limits.py)
HOLE_LIMIT = 0.1
#: the same of a ticker that is marked as thinly traded, for a quarter of an hour without a trade has no bar. ARKQ lacks
#: 10 of 26 at most in 2019-12; widened by half
THIN_HOLE_LIMIT = 0.6


@dataclass(frozen=True, slots=True)
class _Day:
    """The bars of one day and interval."""

    entry: LedgerEntry
    limit: float

    def _count(self, letter: str) -> int:
        return (self.entry.slots or "").count(letter)

    @property
    def due(self) -> int:
        return len(self.entry.slots or "") - self._count(PENDING)

    @property
    def holes(self) -> int:
        return self._count(HOLE)

    @property
    def not_fetched(self) -> int:
        return self._count(FAILED)

    @property
    def share(self) -> float:
        """Holes, as a part of all bars of the day: the first bar of a running day does not weigh more than its last."""
        return self.holes / len(self.entry.slots or " ")

    @property
    def is_broken(self) -> bool:
        return self.share > self.limit

    def __str__(self) -> str:
        return f"{self.entry.day} {self.entry.interval}: {self.holes} of {self.due} bars missing at the source"


def evaluate_completeness(evidence: TickerEvidence) -> Verdict:
    """Judge each day and interval by itself; WARN where more bars are missing than may be, and for any missing 1d bar.

    Not judged is a run none of whose days has a bar that was due and asked for.
    """
    days = [
        _Day(entry, _limit(evidence.ticker, entry.interval))
        for entry in sorted(evidence.coverage, key=lambda entry: (entry.day, entry.interval))
        if entry.slots
    ]
    due, not_fetched = sum(day.due for day in days), sum(day.not_fetched for day in days)
    if due == not_fetched:
        why = f"none of {due} bars due was fetched" if due else "no bar is due"
        return Verdict.not_judged(why)
    holes = sum(day.holes for day in days)
    broken = sorted((day for day in days if day.is_broken), key=lambda day: -day.share)
    metadata: dict[str, Value] = {
        "observed": round(max(day.share for day in days), 4),
        "threshold": _limit(evidence.ticker, Interval.M15),
        "worst_offenders": offenders([str(day) for day in broken]),
        "bars_due": due,
        "bars_missing": holes,
    }
    if not_fetched:
        metadata["bars_not_fetched"] = not_fetched
    if broken:
        shown = [(day.entry.day, day.entry.interval, f"`{day.entry.slots}`") for day in broken[:OFFENDERS_TOLD]]
        metadata["missing"] = Markdown(markdown_table(("day", "interval", "bars in order, h is missing"), shown))
        description = (
            f"{len(broken)} of {sum(day.due > 0 for day in days)} days and intervals lack more bars than they may. "
            f"Worst: {broken[0]}"
        )
    else:
        few = f", {holes} missing at the source, which is tolerated" if holes else ""
        description = f"complete: {due - holes - not_fetched} of {due} bars due are there{few}"
    return Verdict(passed=not broken, severity=Severity.WARN, description=description, metadata=metadata)


def _limit(ticker: Ticker, interval: str) -> float:
    """Return the part of a day's bars that may be missing; a day has one 1d bar, and a session without it no close."""
    if interval == Interval.D1:
        return 0.0
    return THIN_HOLE_LIMIT if ticker.thinly_traded else HOLE_LIMIT
