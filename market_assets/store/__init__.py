"""The store: versioned tables in SQLite, PostgreSQL or MariaDB.

Belongs here: everything that knows SQL. Does not belong here: fetching, formulas, Dagster.
"""

from __future__ import annotations

from market_assets.store.alerts import NO_CHECK, AlertBook, AlertKey, AlertMessage, AlertState, Decision
from market_assets.store.diffs import Counts
from market_assets.store.guard import RefusedScope
from market_assets.store.lock import CollectionLease, CollectionLock, LockState
from market_assets.store.runs import CollectionRecord, RunLog, TickerCoverage
from market_assets.store.scopes import Scope
from market_assets.store.snapshots import Snapshot
from market_assets.store.states import DayState, JudgeStates, LedgerEntry, RecordedStates
from market_assets.store.store import Store, StoreDescription
from market_assets.store.tables import VersionedTable
from market_assets.store.versioned import Replacement, WriteReport

__all__ = [
    "NO_CHECK",
    "AlertBook",
    "AlertKey",
    "AlertMessage",
    "AlertState",
    "CollectionLease",
    "CollectionLock",
    "CollectionRecord",
    "Counts",
    "DayState",
    "Decision",
    "JudgeStates",
    "LedgerEntry",
    "LockState",
    "RecordedStates",
    "RefusedScope",
    "Replacement",
    "RunLog",
    "Scope",
    "Snapshot",
    "Store",
    "StoreDescription",
    "TickerCoverage",
    "VersionedTable",
    "WriteReport",
]
