"""What the market is said to do beside what it did.

Belongs here: the comparison of a documented correlation with a measured one, in words. Does not belong here: measuring,
and what follows from a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from market_assets.analysis.measures import WindowCorrelation


class Verdict(StrEnum):
    """How a documented correlation stands to the measured one."""

    UNDOCUMENTED = "undocumented"
    NOT_MEASURED = "not measured"
    #: same sign, and the documented value lies within the measured interval
    HOLDS = "holds"
    WEAKER = "weaker"
    STRONGER = "stronger"
    OPPOSITE = "opposite sign"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict and what it stands on."""

    documented: float | None
    verdict: Verdict
    #: None where one of the two values is missing
    sign_agrees: bool | None = None
    #: whether the documented value lies within the measured interval
    within: bool | None = None
    #: whether the measured interval contains zero: its sign cannot be told
    about_zero: bool | None = None

    @property
    def words(self) -> str:
        """The verdict as a person reads it beside the documented value."""
        if self.verdict in {Verdict.UNDOCUMENTED, Verdict.NOT_MEASURED}:
            return "" if self.verdict is Verdict.UNDOCUMENTED else "not measured"
        told = "inside the interval" if self.within else "outside of the interval"
        if self.verdict is not Verdict.HOLDS:
            told += f": measured {'with the ' if self.verdict is Verdict.OPPOSITE else ''}{self.verdict.value}"
        return told + (", about zero" if self.about_zero else "")


def compare(documented: float | None, measured: WindowCorrelation) -> Comparison:
    """Compare a documented correlation (None: there is none) with a measured one."""
    if documented is None:
        return Comparison(None, Verdict.UNDOCUMENTED)
    value, interval = measured.correlation, measured.interval
    if value is None or interval is None:
        return Comparison(documented, Verdict.NOT_MEASURED)
    sign_agrees = (value > 0.0) == (documented > 0.0)
    within = documented in interval
    if not sign_agrees:
        verdict = Verdict.OPPOSITE
    elif within:
        verdict = Verdict.HOLDS
    else:
        verdict = Verdict.WEAKER if abs(value) < abs(documented) else Verdict.STRONGER
    return Comparison(documented, verdict, sign_agrees, within, 0.0 in interval)
