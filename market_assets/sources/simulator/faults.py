"""Faults on request: everything that Yahoo has been seen to do wrong.

Belongs here: what a fault is, which requests it meets, and what it does to rows. Does not belong here: HTTP statuses
and bodies (`app.py` answers with them). The client retries some failures by itself (yfinance asks once more after any
status of 400 or above), so `times` counts requests on the wire, not calls of the client.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from market_assets.calendars import to_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from market_assets.sources.simulator.bars import Rows


class FaultKind(StrEnum):
    """What goes wrong."""

    RATE_LIMITED = "rate_limited"  # 429
    INVALID_CRUMB = "invalid_crumb"  # 401
    NOT_FOUND = "not_found"  # 404
    SERVER_ERROR = "server_error"  # 500
    BAD_GATEWAY = "bad_gateway"  # 502 with an HTML page
    HANG = "hang"  # no answer until the server stops
    SLOW = "slow"  # an answer after `delay`
    TRUNCATED = "truncated"  # JSON that breaks off
    WRONG_SYMBOL = "wrong_symbol"  # the answer says it is about `other_symbol`
    REFUSE_CRUMB = "refuse_crumb"  # the crumb service answers with `status`
    EMPTY = "empty"  # a well-formed answer without rows
    NULL_BARS = "null_bars"  # the selected rows are null
    MISSING_SESSION = "missing_session"  # the selected rows are absent
    LATE_BARS = "late_bars"  # what is newer than now - `delay` is absent
    REVISED_BARS = "revised_bars"  # selected prices times `factor`, volumes times `volume_factor`
    BAD_BARS = "bad_bars"  # the selected rows are impossible, see `style`


#: kinds that answer by themselves: no fault added later meets the same request
_ANSWERING = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.INVALID_CRUMB,
        FaultKind.NOT_FOUND,
        FaultKind.SERVER_ERROR,
        FaultKind.BAD_GATEWAY,
        FaultKind.HANG,
        FaultKind.REFUSE_CRUMB,
    }
)


class BadStyle(StrEnum):
    """How a bad bar is bad."""

    HUNDREDFOLD = "hundredfold"  # all four prices x 100
    NEGATIVE = "negative"  # low and close below zero
    HIGH_BELOW_LOW = "high_below_low"  # high and low swapped
    STUCK = "stuck"  # every selected price equals the first selected close


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, for the requests it matches.

    `symbol` (Yahoo's name) and `interval` (`15m`, `1h`, `1d`) restrict it; None matches all. `times` is the number of
    requests it meets before it is used up; None is for ever. `start` and `end` (timezone-aware, half-open) and
    `session` (venue-local date) select the rows that a fault in the data touches; None selects all.
    """

    kind: FaultKind | str
    symbol: str | None = None
    interval: str | None = None
    times: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    session: date | None = None
    delay: timedelta = timedelta(seconds=1)
    factor: float = 1.0
    volume_factor: float = 1.0
    style: BadStyle | str = BadStyle.HUNDREDFOLD
    other_symbol: str = "AAPL"
    status: int = 429

    def __post_init__(self) -> None:
        """Read `kind` and `style` from strings; refuse naive windows and unknown words (ValueError)."""
        object.__setattr__(self, "kind", FaultKind(self.kind))
        object.__setattr__(self, "style", BadStyle(self.style))
        for name in ("start", "end"):
            instant: datetime | None = getattr(self, name)
            if instant is not None:
                to_us(instant)

    def matches(self, symbol: str, interval: str) -> bool:
        """Whether a chart request for `symbol` and `interval` meets this fault."""
        return self.symbol in {None, symbol} and self.interval in {None, interval}


@dataclass(slots=True)
class FaultBook:
    """The faults in force. Thread-safe."""

    _entries: dict[int, tuple[Fault, int | None]] = field(default_factory=dict)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> int:
        """Put `fault` in force and return its number."""
        with self._lock:
            self._next += 1
            self._entries[self._next] = (fault, fault.times)
            return self._next

    def remove(self, number: int) -> None:
        """End the fault of that number; one that is used up or unknown is no error."""
        with self._lock:
            self._entries.pop(number, None)

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._entries.clear()

    def active(self) -> dict[int, Fault]:
        """Return the faults in force by number."""
        with self._lock:
            return {number: fault for number, (fault, _) in self._entries.items()}

    def meet_chart(self, symbol: str, interval: str) -> list[Fault]:
        """Return the faults that this chart request meets, in the order they were added, and count it.

        The list ends with the first fault that answers by itself; what comes later is not used up.
        """
        return self._meet(lambda fault: fault.kind is not FaultKind.REFUSE_CRUMB and fault.matches(symbol, interval))

    def meet_crumb(self) -> list[Fault]:
        """Return the faults that this crumb request meets, and count it."""
        return self._meet(lambda fault: fault.kind is FaultKind.REFUSE_CRUMB)

    def _meet(self, is_met: Callable[[Fault], bool]) -> list[Fault]:
        with self._lock:
            met: list[Fault] = []
            for number, (fault, left) in list(self._entries.items()):
                if not is_met(fault):
                    continue
                met.append(fault)
                if left == 1:
                    del self._entries[number]
                elif left is not None:
                    self._entries[number] = (fault, left - 1)
                if fault.kind in _ANSWERING:
                    break
        return met


def spoil(rows: Rows, fault: Fault) -> None:
    """Do to `rows`, in place, what `fault` does to data; faults of transport do nothing here."""
    inside = _touched(rows, fault)
    if fault.kind is FaultKind.EMPTY:
        rows.keep(np.zeros(len(rows), dtype=np.bool_))
    elif fault.kind is FaultKind.MISSING_SESSION:
        rows.keep(~inside)
    elif fault.kind is FaultKind.NULL_BARS:
        for column in (rows.open, rows.high, rows.low, rows.close, rows.volume):
            column[inside] = np.nan
    elif fault.kind is FaultKind.REVISED_BARS:
        for column in (rows.open, rows.high, rows.low, rows.close):
            column[inside] *= fault.factor
        rows.volume[inside] = np.round(rows.volume[inside] * fault.volume_factor)
    elif fault.kind is FaultKind.BAD_BARS:
        _make_impossible(rows, inside, BadStyle(fault.style))


def _touched(rows: Rows, fault: Fault) -> NDArray[np.bool_]:
    inside = np.ones(len(rows), dtype=np.bool_)
    if fault.kind is FaultKind.NULL_BARS and rows.prints:
        # Yahoo never sends a live row without a price.
        inside[-rows.prints :] = False
    if fault.start is not None:
        inside &= rows.start_us >= to_us(fault.start)
    if fault.end is not None:
        inside &= rows.start_us < to_us(fault.end)
    if fault.session is not None:
        inside &= rows.label == np.datetime64(fault.session, "D")
    return inside


def _make_impossible(rows: Rows, inside: NDArray[np.bool_], style: BadStyle) -> None:
    if style is BadStyle.HUNDREDFOLD:
        for column in (rows.open, rows.high, rows.low, rows.close):
            column[inside] *= 100.0
    elif style is BadStyle.NEGATIVE:
        for column in (rows.low, rows.close):
            column[inside] *= -1.0
    elif style is BadStyle.HIGH_BELOW_LOW:
        rows.high[inside], rows.low[inside] = rows.low[inside], rows.high[inside]
    elif inside.any():
        stuck = rows.close[inside][0]
        for column in (rows.open, rows.high, rows.low, rows.close):
            column[inside] = stuck
