"""How often something may be asked.

Belongs here: one bucket. Does not belong here: what is limited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """Lets `size` calls pass at once and refills within `seconds`; for one thread."""

    size: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _level: float = field(init=False)
    _seen: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin full."""
        self._level, self._seen = float(self.size), self.clock()

    def take(self) -> float:
        """Let one call pass, and return 0; or return the seconds after which the next one may."""
        now = self.clock()
        rate = self.size / self.seconds
        self._level = min(self.size, self._level + (now - self._seen) * rate)
        self._seen = now
        if self._level < 1:
            return (1 - self._level) / rate
        self._level -= 1
        return 0.0
