"""What the store does, said as simply as possible: every version of every row in a list.

Belongs here: the model that the property tests compare the store with. Does not belong here: speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime

Key = tuple[str, int]
Value = tuple[float | None, str | None]


@dataclass
class Version:
    """One version of one row."""

    key: Key
    value: Value
    known_from: datetime
    known_to: datetime | None = None
    removed: bool = False


@dataclass
class Model:
    """Rows (series, slot of the day) of days; a scope is (series, day)."""

    versions: dict[tuple[date, Key], list[Version]] = field(default_factory=dict)
    fetched: dict[tuple[str, date], datetime] = field(default_factory=dict)

    def wins(self, series: str, day: date, fetched_at: datetime) -> bool:
        """Whether a fetch of that time may write the scope."""
        stored = self.fetched.get((series, day))
        return stored is None or stored <= fetched_at

    def replace(
        self, rows: dict[tuple[date, Key], Value], scopes: set[tuple[str, date]], fetched_at: datetime, stamp: datetime
    ) -> bool:
        """Apply a write; return whether anything changed."""
        changed = False
        for series, day in scopes:
            if not self.wins(series, day, fetched_at):
                continue
            self.fetched[series, day] = fetched_at
            stored = {
                where: one
                for where in self.versions
                if (one := self.open_version(where)) and self.inside(where, series, day)
            }
            incoming = {where: clean(value) for where, value in rows.items() if self.inside(where, series, day)}
            for where, version in stored.items():
                if incoming.get(where) != version.value:
                    version.known_to, version.removed = stamp, where not in incoming
                    changed = True
            for where, value in incoming.items():
                if where not in stored or stored[where].value != value:
                    self.versions.setdefault(where, []).append(Version(where[1], value, stamp))
                    changed = True
        return changed

    def open_version(self, where: tuple[date, Key]) -> Version | None:
        """Return the version in force."""
        last = self.versions[where][-1]
        return last if last.known_to is None else None

    @staticmethod
    def inside(where: tuple[date, Key], series: str, day: date) -> bool:
        """Whether a row belongs to a scope."""
        return where[0] == day and where[1][0] == series

    def read(self, as_of: datetime | None) -> dict[tuple[date, Key], Value]:
        """Return the rows as they were known at `as_of`, or as they are."""
        return {
            where: version.value
            for where, versions in self.versions.items()
            for version in versions
            if (version.known_to is None if as_of is None else version.known_from <= as_of)
            and (as_of is None or version.known_to is None or as_of < version.known_to)
        }


def clean(value: Value) -> Value:
    """Return the value as a database holds it."""
    number, reason = value
    return (None if number is None or not math.isfinite(number) else number + 0.0, reason)
