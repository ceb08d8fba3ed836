"""Numbered events of a program that talks to a database: before and after every statement and every commit.

Belongs here: listening to one SQLAlchemy engine, and the moments that are named by an event. Does not belong here: what
happens at them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: characters of a statement that are kept
_HEAD = 60


class Place(StrEnum):
    """Where in a transaction the program is."""

    BEFORE_STATEMENT = "before a statement"
    AFTER_STATEMENT = "after a statement"
    BEFORE_COMMIT = "before a commit"
    AFTER_COMMIT = "after a commit"


@dataclass(frozen=True, slots=True)
class Event:
    """One point of a run. The same run on the same data has the same events."""

    number: int
    place: Place
    #: commits that have returned
    commits: int
    #: number of the transaction, or of the one that ended last
    transaction: int
    #: the statement's beginning, empty at commits
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When a program dies: at an event, or so long after it (never as late as the next), or at a time of its run."""

    event: Event | None
    #: seconds after the event, or of the run; None: at the event itself
    after: float | None = None

    def __str__(self) -> str:
        """Return e.g. `1.2 ms after event 31 (before a commit)`."""
        if self.event is None:
            return f"{self.after or 0.0:.3f} s after the start"
        late = "at" if self.after is None else f"{self.after * 1000:.2f} ms after"
        text = f": {self.event.text}" if self.event.text else ""
        return f"{late} event {self.event.number} ({self.event.place}{text})"


class Tap:
    """Calls `at` with every event of the engine in the calling thread, which is held up meanwhile.

    Threads of the program's own (the lease's heartbeat) are not counted: their statements come at any time.
    """

    def __init__(self, engine: sa.Engine, at: Callable[[Event], None]) -> None:
        """Start listening."""
        self._at = at
        self._thread = threading.get_ident()
        self._number = 0
        self._commits = 0
        self._transaction = 0
        # SQLite's begins with the store's own BEGIN, sent by a listener that may come before this one.
        self._sends_begin = engine.dialect.name == "sqlite"
        if not self._sends_begin:
            sa.event.listen(engine, "begin", self._begins)
        sa.event.listen(engine, "before_cursor_execute", self._before)
        sa.event.listen(engine, "after_cursor_execute", self._after)
        # SQLAlchemy has no event after a commit.
        self._commit: Callable[[Any], None] = engine.dialect.do_commit
        engine.dialect.do_commit = self._committing  # type: ignore[assignment]

    def _happens(self, place: Place, text: str = "") -> None:
        if threading.get_ident() != self._thread:
            return
        self._number += 1
        self._at(Event(self._number, place, self._commits, self._transaction, " ".join(text.split())[:_HEAD]))

    def _begins(self, _connection: Any) -> None:
        if threading.get_ident() == self._thread:
            self._transaction += 1

    def _before(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self._sends_begin and statement.startswith("BEGIN"):
            self._begins(connection)
        self._happens(Place.BEFORE_STATEMENT, statement)

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._happens(Place.AFTER_STATEMENT, statement)

    def _committing(self, connection: Any) -> None:
        self._happens(Place.BEFORE_COMMIT)
        self._commit(connection)
        if threading.get_ident() == self._thread:
            self._commits += 1
        self._happens(Place.AFTER_COMMIT)


def committed(events: Iterable[Event]) -> set[int]:
    """Return the transactions that were committed: those that write."""
    return {event.transaction for event in events if event.place is Place.BEFORE_COMMIT}
