"""What a write changes: the stored rows of the scopes compared with the incoming ones.

Belongs here: comparing. Does not belong here: SQL, locks, and what is done about a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market_assets.store.frames import Arrays, days_of, keys_of, look_up, row_count, take
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market_assets.store.scopes import ScopeSet
    from market_assets.store.tables import ColumnSpec, VersionedTable


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one table that a write found new, changed, withdrawn and equal."""

    inserted: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table; `scopes` holds the position of each row's scope in the write's ScopeSet."""

    arrays: Arrays
    scopes: NDArray[np.intp]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.scopes)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
        """Return the rows under a mask, or at positions."""
        return Rows(take(self.arrays, chosen), self.scopes[chosen])

    def within(self, scopes: NDArray[np.bool_]) -> Rows:
        """Return the rows whose scope is set in the mask."""
        return self[scopes[self.scopes]]

    def per_scope(self, scopes: ScopeSet) -> NDArray[np.intp]:
        """Return the number of rows in each scope."""
        return np.bincount(self.scopes, minlength=len(scopes))


@dataclass(frozen=True, slots=True)
class Diff:
    """How the stored rows of one table differ from the incoming ones."""

    layout: VersionedTable
    #: incoming rows to insert or to overwrite with
    new: Rows
    #: stored rows that are overwritten, with all columns of the current table
    outdated: Rows
    #: stored rows that the source withdrew
    withdrawn: Rows
    #: all stored rows
    stored: Rows
    #: scopes of the stored rows that are equal
    equal_scopes: NDArray[np.intp]

    def within(self, scopes: NDArray[np.bool_]) -> Diff:
        """Return the part of the difference that lies in the scopes of the mask."""
        return Diff(
            self.layout,
            self.new.within(scopes),
            self.outdated.within(scopes),
            self.withdrawn.within(scopes),
            self.stored.within(scopes),
            self.equal_scopes[scopes[self.equal_scopes]],
        )

    @property
    def counts(self) -> Counts:
        """The difference in numbers."""
        changed = len(self.outdated)
        return Counts(len(self.new) - changed, changed, len(self.withdrawn), len(self.equal_scopes))

    @property
    def touched_scopes(self) -> NDArray[np.intp]:
        """Positions of the scopes with a difference."""
        return np.unique(np.concatenate([self.new.scopes, self.withdrawn.scopes]))


def scope_positions(scopes: ScopeSet, layout: VersionedTable, arrays: Arrays) -> NDArray[np.intp]:
    """Return the position of each row's scope, -1 for rows outside of all scopes."""
    count = row_count(arrays)
    series = arrays[layout.series_column] if layout.series_column else np.full(count, layout.fixed_series, dtype=object)
    interval = (
        arrays[layout.interval_column]
        if layout.interval_column
        else np.full(count, layout.fixed_interval, dtype=object)
    )
    return scopes.positions(series, interval, days_of(layout, arrays))


def compare(layout: VersionedTable, stored: Rows, incoming: Rows) -> Diff:
    """Compare by key and compared columns. Carried columns do not count: by themselves they make no new version."""
    if len(stored) == 0:
        return Diff(layout, incoming, stored, stored, stored, np.empty(0, dtype=np.intp))
    positions = {key: position for position, key in enumerate(keys_of(layout, stored.arrays))}
    match = look_up(keys_of(layout, incoming.arrays), positions)
    known = match >= 0
    equal = np.ones(int(known.sum()), dtype=np.bool_)
    for spec in layout.compared:
        equal &= _same(spec, incoming.arrays[spec.name][known], stored.arrays[spec.name][match[known]])
    changed = np.zeros(len(match), dtype=np.bool_)
    changed[known] = ~equal
    withdrawn = np.ones(len(stored), dtype=np.bool_)
    withdrawn[match[known]] = False
    return Diff(
        layout,
        incoming[~known | changed],
        stored[match[changed]],
        stored[withdrawn],
        stored,
        incoming.scopes[known & ~changed],
    )


def _same(spec: ColumnSpec, left: NDArray[np.generic], right: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Compare two columns value by value; NULL equals NULL, and doubles are equal only to the last bit."""
    if spec.kind is Kind.DOUBLE:
        # there are neither infinities nor -0.0 (frames.py), so == means the same bits
        return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)))
    return np.asarray(left == right, dtype=np.bool_)
