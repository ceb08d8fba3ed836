"""Small pieces of text that several commands print.

Belongs here: wording of ages, counts and failures. Does not belong here: printing.
"""

from __future__ import annotations

import re

_MINUTES_PER_HOUR = 60
_MINUTES_PER_DAY = 1440
#: ticker, interval and window in the message of a failed fetch
_REQUEST = re.compile(r"\b\S+ (15m|1h|1d) \S+\.\.\S+: ")


def human_age(minutes: float) -> str:
    """Return minutes as `12 min`, `5 h 10 min` or `2 d 3 h`."""
    whole = int(minutes)
    if whole < _MINUTES_PER_HOUR:
        return f"{whole} min"
    if whole < _MINUTES_PER_DAY:
        return f"{whole // _MINUTES_PER_HOUR} h {whole % _MINUTES_PER_HOUR} min"
    return f"{whole // _MINUTES_PER_DAY} d {whole % _MINUTES_PER_DAY // _MINUTES_PER_HOUR} h"


def counted(number: int, thing: str) -> str:
    """Return e.g. `1 row` or `1,200 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def without_request(message: str) -> str:
    """Return the message of a failed fetch without the request that it names."""
    return _REQUEST.sub("", message)
