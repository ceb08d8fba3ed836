"""Asking a collection to stop, from another thread.

Belongs here: the request and how work looks out for it. Does not belong here: signals (`cli/interrupts.py`), and what
is left to do when a collection stops.

A collection is never interrupted in the middle of something: it ends at its next checkpoint, and what it waits for
(an answer, the lock) is ended at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Stop:
    """A request to stop. Thread-safe."""

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._end_waits: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether the work is to stop."""
        return self._requested.is_set()

    @property
    def concerns_anyone(self) -> bool:
        """Whether work has begun that must be brought to an end: whoever began it asked to be told."""
        return bool(self._end_waits)

    def request(self) -> None:
        """Ask the work to stop, and end what it waits for."""
        with self._lock:
            self._requested.set()
            end_waits = list(self._end_waits)
        for end_wait in end_waits:
            end_wait()

    def on_request(self, end_wait: Callable[[], None]) -> None:
        """Call `end_wait` (in the requesting thread) when a stop is requested; now, if it was already."""
        with self._lock:
            self._end_waits.append(end_wait)
            late = self._requested.is_set()
        if late:
            end_wait()

    def check(self) -> None:
        """Raise KeyboardInterrupt if the work is to stop: Dagster ends a run by it, not just a step."""
        if self._requested.is_set():
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Wait, less if a stop is requested meanwhile; raise KeyboardInterrupt then."""
        self._requested.wait(seconds)
        self.check()
