"""The deletion guard: a fetch that withdraws much of a closed day is believed only when it is confirmed.

Belongs here: deciding, and remembering what was refused. Does not belong here: writing versions.

Refused is a write that would delete more than a fifth of the bars stored for a UTC day that had ended when the fetch
began (of a 1d bar: the bar). The refusal remembers a hash of the bar times that the fetch left; once two further
fetches, each at least an hour after the one counted before it, leave the very same times, the deletion is carried out.
A fetch that leaves other times starts the count again, one that withdraws little ends it. Values may differ between
these fetches: volumes of a closed day are revised for days.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_assets.store.frames import US_PER_DAY
from market_assets.store.queries import select_arrays
from market_assets.store.tables import PENDING_DELETIONS

if TYPE_CHECKING:
    import sqlalchemy as sa
    from numpy.typing import NDArray

    from market_assets.store.dialects import Backend
    from market_assets.store.diffs import Diff, Rows
    from market_assets.store.frames import Arrays
    from market_assets.store.schema import Schema
    from market_assets.store.scopes import Scope, ScopeSet

#: a write may delete one in so many bars of a closed day without being asked
_SHARE = 5
#: further fetches that must agree
CONFIRMATIONS = 2
#: time between two fetches that count as independent
CONFIRMATION_GAP = timedelta(hours=1)
_GAP_US = CONFIRMATION_GAP // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RefusedScope:
    """A scope that was not written because it would have lost too many rows."""

    scope: Scope
    #: bars stored
    stored: int
    #: bars that the fetch brought
    incoming: int
    reason: str


@dataclass(slots=True)
class _Pending:
    content_hash: str
    first_seen: int
    last_counted: int
    agreeing: int


def refuse_mass_deletions(
    connection: sa.Connection,
    backend: Backend,
    schema: Schema,
    *,
    scopes: ScopeSet,
    candidates: NDArray[np.bool_],
    diff: Diff,
    incoming: Rows,
    fetched_us: int,
    accept: bool,
) -> list[RefusedScope]:
    """Return the scopes among the `candidates` (a mask) that must not be written; record and forget refusals."""
    stored, withdrawn = diff.stored.per_scope(scopes), diff.withdrawn.per_scope(scopes)
    closed = scopes.days < np.datetime64(fetched_us // US_PER_DAY, "D")
    suspicious = candidates & closed & (withdrawn * _SHARE > stored) & (not accept)
    pending = _load(connection, backend, schema, scopes)
    refused: list[RefusedScope] = []
    remembered: dict[int, _Pending] = {}
    for position in np.flatnonzero(suspicious):
        times = incoming.arrays[diff.layout.time_column][incoming.scopes == position]
        entry = _count(pending.get(int(position)), hashlib.sha256(times.tobytes()).hexdigest(), fetched_us)
        if entry.agreeing >= CONFIRMATIONS:
            continue
        remembered[int(position)] = entry
        refused.append(
            RefusedScope(
                scopes.scopes[position],
                int(stored[position]),
                len(times),
                f"{int(withdrawn[position])} of {int(stored[position])} bars of a closed day would be deleted; "
                f"{entry.agreeing} of {CONFIRMATIONS} further fetches an hour apart agree; "
                "`market-assets collect --accept-deletions` accepts it at once",
            )
        )
    _save(connection, backend, schema, scopes, remembered)
    _forget(connection, backend, schema, scopes, [p for p in pending if candidates[p] and p not in remembered])
    return refused


def _count(before: _Pending | None, content_hash: str, fetched_us: int) -> _Pending:
    if before is None or before.content_hash != content_hash:
        return _Pending(content_hash, fetched_us, fetched_us, 0)
    if fetched_us - before.last_counted < _GAP_US:
        return before
    return _Pending(content_hash, before.first_seen, fetched_us, before.agreeing + 1)


def _load(connection: sa.Connection, backend: Backend, schema: Schema, scopes: ScopeSet) -> dict[int, _Pending]:
    # The table is nearly always empty: one look instead of one per run of days.
    found = select_arrays(connection, backend, list(schema.plain(PENDING_DELETIONS).columns))
    positions = scopes.positions(found["series"], found["interval"], found["day"])
    return {
        int(position): _Pending(
            found["content_hash"][row],
            int(found["first_seen"][row]),
            int(found["last_counted"][row]),
            int(found["agreeing"][row]),
        )
        for row, position in enumerate(positions)
        if position >= 0
    }


def _keys(scopes: ScopeSet, positions: list[int]) -> Arrays:
    return {"series": scopes.series[positions], "interval": scopes.intervals[positions], "day": scopes.days[positions]}


def _save(
    connection: sa.Connection, backend: Backend, schema: Schema, scopes: ScopeSet, entries: dict[int, _Pending]
) -> None:
    if not entries:
        return
    rows = _keys(scopes, list(entries)) | {
        "content_hash": np.array([entry.content_hash for entry in entries.values()], dtype=object),
        "first_seen": np.array([entry.first_seen for entry in entries.values()], dtype=np.int64),
        "last_counted": np.array([entry.last_counted for entry in entries.values()], dtype=np.int64),
        "agreeing": np.array([entry.agreeing for entry in entries.values()], dtype=np.int64),
    }
    backend.upsert(connection, schema.plain(PENDING_DELETIONS), rows)


def _forget(
    connection: sa.Connection, backend: Backend, schema: Schema, scopes: ScopeSet, positions: list[int]
) -> None:
    if positions:
        backend.delete(connection, schema.plain(PENDING_DELETIONS), _keys(scopes, positions))
