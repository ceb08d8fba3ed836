"""What a correlation is taken of: the choices in which published figures differ.

Belongs here: the choices, their names and their validation. Does not belong here: computing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from market_assets.errors import CorrelationInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from market_assets.maths.arrays import DayArray


class Sampling(StrEnum):
    """The steps that returns are taken over."""

    #: from one session (of plain prices: one date) to the next
    DAILY = "daily"
    #: weeks from Monday to Sunday, each represented by its last price and labelled with its Monday: what pandas calls
    #: `resample("W-MON", label="left", closed="left").last()`
    WEEKLY = "weekly"


class ReturnKind(StrEnum):
    """How a return is computed from two prices."""

    #: ln(after / before)
    LOG = "log"
    #: after / before - 1
    SIMPLE = "simple"


class Pairing(StrEnum):
    """Which crypto price belongs to a ticker's close."""

    #: the price at that close: what can be known then, and what is stored as a feature
    SESSION = "session"
    #: the close of the UTC day of the same date (weekly: of Sunday). It is hours later than the ticker's: for
    #: comparison with figures that were computed from daily tables, never a feature
    DATE = "date"


class Join(StrEnum):
    """What plain price series have in common before returns are taken."""

    #: dates are inner-joined first: crypto's return into a Monday begins on Friday, its week ends with the ticker's
    PRICES = "prices"
    #: each series is sampled on its own dates, and the returns are joined: crypto's return into a Monday begins on
    #: Sunday, and what it did over the weekend is lost; its week ends on Sunday
    RETURNS = "returns"


class Method(StrEnum):
    """Which coefficient."""

    PEARSON = "pearson"
    #: Pearson's correlation of the ranks; ties share their average rank
    SPEARMAN = "spearman"


#: the windows that are looked at when none are named: sessions, or weeks (a quarter, half a year, a year)
DEFAULT_WINDOWS: Mapping[Sampling, tuple[int, ...]] = MappingProxyType(
    {Sampling.DAILY: (20, 90, 250), Sampling.WEEKLY: (13, 26, 52)}
)
#: what a window counts
UNIT: Mapping[Sampling, str] = MappingProxyType({Sampling.DAILY: "session", Sampling.WEEKLY: "week"})
#: two pairs of returns always lie on a line
SMALLEST_WINDOW = 3

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Definition:
    """How returns are taken from the log; the defaults are those of the stored correlations."""

    sampling: Sampling = Sampling.DAILY
    returns: ReturnKind = ReturnKind.LOG
    #: total returns; without dividends, price returns
    dividends: bool = True
    pairing: Pairing = Pairing.SESSION


def choice(kind: type[_Choice], value: str, field: str) -> _Choice:
    """Return the member of `kind` that `value` names; raise CorrelationInputError with the allowed ones."""
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(repr(member.value) for member in kind)
        raise CorrelationInputError(f"{field}={value!r}: choose one of {allowed}") from None


def check_window(window: int) -> int:
    """Return `window`; raise CorrelationInputError unless it is a whole number of at least SMALLEST_WINDOW."""
    if isinstance(window, bool) or not isinstance(window, int) or window < SMALLEST_WINDOW:
        raise CorrelationInputError(f"window={window!r}: must be a whole number of returns, {SMALLEST_WINDOW} or more")
    return window


def mondays(label: DayArray) -> DayArray:
    """Return the Monday of the week that each day lies in."""
    # The epoch was a Thursday.
    number = label.astype("int64")
    monday: DayArray = (number - (number + 3) % 7).astype("datetime64[D]")
    return monday
