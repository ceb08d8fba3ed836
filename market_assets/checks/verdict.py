"""What a check finds, in plain values.

Belongs here: the verdict that every pure `evaluate_...` function returns. Does not belong here: Dagster (`results.py`
turns a verdict into its result), and any one check.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: offenders that are named; the rest are counted
OFFENDERS_TOLD = 5
NO_OFFENDERS = "none"


class Severity(StrEnum):
    """How much a failed check matters."""

    #: a number is wrong or missing: nobody should use it
    ERROR = "error"
    #: something is unusual: somebody should look
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Markdown:
    """A metadata value that is shown as Markdown."""

    text: str


Value = str | int | float | bool | Markdown


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check.

    `metadata` has `observed`, `threshold` and `worst_offenders`, and what else helps. A check that had nothing to judge
    passes and says so: `judged` is False then, in the metadata too, so that nobody takes it for a recovery.
    """

    passed: bool
    severity: Severity
    description: str
    metadata: Mapping[str, Value]
    judged: bool = True

    @classmethod
    def not_judged(cls, why: str) -> Verdict:
        """Return the verdict of a check that has nothing to say about this run."""
        return cls(passed=True, severity=Severity.WARN, description=f"not judged: {why}", metadata={}, judged=False)


def offenders(texts: Sequence[str]) -> str:
    """Return the first few of `texts` in one line, and how many more there are."""
    more = len(texts) - OFFENDERS_TOLD
    return "; ".join(texts[:OFFENDERS_TOLD]) + (f"; and {more} more" if more > 0 else "") or NO_OFFENDERS
