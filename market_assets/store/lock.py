"""The one-slot lock that every collection takes, with a lease that a killed process loses.

Belongs here: acquiring, renewing, releasing. Does not belong here: what is done under the lock.

All times are of the database's clock, so pods need not agree on theirs. A heartbeat thread renews the lease with
connections of its own; `check` trusts this process's monotonic clock, counted from before the last renewal was sent, so
it gives up no later than the database does. That is for stopping early. What makes sure is `confirm`, in the very
transaction of every write (`Store.fenced_by`): a process that was paused may look at its watch and write an hour later.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from market_assets.errors import CollectionBusyError, LeaseLostError, StoreError
from market_assets.store.tables import COLLECTION_LOCK

if TYPE_CHECKING:
    from types import TracebackType

    from market_assets.store.store import Store

_LOG = logging.getLogger(__name__)
DEFAULT_LEASE = timedelta(minutes=2)
_RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class LockState:
    """Who holds the lock, since when, and until when at least."""

    holder: str
    acquired_at: datetime
    expires_at: datetime


class CollectionLock:
    """The database's collection lock."""

    def __init__(self, store: Store) -> None:
        """Stand on an open, migrated store."""
        self._database = store.database
        self._table = store.schema.plain(COLLECTION_LOCK)

    def acquire(
        self,
        holder: str,
        *,
        lease: timedelta = DEFAULT_LEASE,
        wait: timedelta = timedelta(0),
        poll: timedelta = timedelta(seconds=1),
    ) -> CollectionLease:
        """Take the lock, waiting up to `wait`; raise CollectionBusyError naming who holds it.

        `holder` is what others are shown: host, process, run. The lease ends `lease` after the last renewal.
        """
        token = uuid.uuid4().hex
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            sent_at = time.monotonic()
            busy = self._database.write(lambda connection: self._try(connection, holder, token, lease), fenced=False)
            if busy is None:
                return CollectionLease(self, token, lease, sent_at)
            if time.monotonic() + poll.total_seconds() > deadline:
                raise CollectionBusyError(
                    f"the collection lock is held by {busy.holder} since {busy.acquired_at:%Y-%m-%d %H:%M:%S} UTC, "
                    f"until {busy.expires_at:%Y-%m-%d %H:%M:%S} UTC at least; wait for it to end "
                    "(a process that died loses the lock when its lease ends)"
                )
            time.sleep(poll.total_seconds())

    def describe(self) -> LockState | None:
        """Return who holds the lock at the moment, None if it is free."""
        with self._database.reading() as connection:
            return self._held(connection, for_update=False)

    def renew(self, token: str, lease: timedelta) -> bool:
        """Extend the lease of `token`; return False if it is not the holder's any more."""

        def extend(connection: sa.Connection) -> bool:
            expires_at = self._database.backend.now(connection) + lease
            update = sa.update(self._table).where(self._table.columns.token == token).values(expires_at=expires_at)
            return connection.execute(update).rowcount == 1

        return self._database.write(extend, fenced=False)

    def free(self, token: str) -> None:
        """Free the lock if `token` still holds it."""
        update = sa.update(self._table).where(self._table.columns.token == token)
        emptied = update.values(holder=None, token=None, acquired_at=None, expires_at=None)
        self._database.write(lambda connection: connection.execute(emptied), fenced=False)

    def holds(self, connection: sa.Connection, token: str) -> bool:
        """Return whether `token` holds the lock; if it does, nobody else takes it before the transaction ends."""
        query = sa.select(self._table.columns.token).with_for_update(read=True)
        return connection.execute(query).scalar_one_or_none() == token

    def _held(self, connection: sa.Connection, *, for_update: bool) -> LockState | None:
        at = self._table.columns
        query = sa.select(at.holder, at.acquired_at, at.expires_at)
        row = connection.execute(query.with_for_update() if for_update else query).one_or_none()
        if row is None:
            raise StoreError("the table collection_lock has no row: run `market-assets migrate`")
        # Only after the row is locked: waiting for it takes time.
        if row.holder is None or row.expires_at <= self._database.backend.now(connection):
            return None
        return LockState(row.holder, row.acquired_at, row.expires_at)

    def _try(self, connection: sa.Connection, holder: str, token: str, lease: timedelta) -> LockState | None:
        busy = self._held(connection, for_update=True)
        if busy is None:
            now = self._database.backend.now(connection)
            taken = sa.update(self._table).values(holder=holder, token=token, acquired_at=now, expires_at=now + lease)
            connection.execute(taken)
        return busy


class CollectionLease:
    """The lock while it is held. A context manager: leaving the block releases it."""

    def __init__(self, lock: CollectionLock, token: str, lease: timedelta, renewed_at: float) -> None:
        """Start renewing; `renewed_at` is the monotonic time before the lock was asked for."""
        self._lock = lock
        self._token = token
        self._lease = lease
        self._renewed_at = renewed_at
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="collection-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLostError if another process may hold the lock by now. Costs nothing; call it between steps."""
        if self._stop.is_set():
            raise LeaseLostError("the collection lock was released; acquire it again")
        if self._lost or time.monotonic() >= self._renewed_at + self._lease.total_seconds():
            raise LeaseLostError(
                f"the lease of the collection lock ({self._lease.total_seconds():.0f} s) ended before it was renewed; "
                "stop, and collect again: a run is idempotent"
            )

    def confirm(self, connection: sa.Connection) -> None:
        """Raise LeaseLostError unless the lock is this one's in the open transaction, and stays so until its end.

        A lease that ran out but was taken by nobody is still good: whoever takes it next sees what this one has stored.
        """
        if not self._lock.holds(connection, self._token):
            self._lost = True
            raise LeaseLostError(
                "another collection has taken the collection lock meanwhile, and its newer rows stand; nothing was "
                "written: stop, and collect again"
            )

    def release(self) -> None:
        """Free the lock, unless the lease was lost. Safe to call twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self._lock.free(self._token)

    def __enter__(self) -> Self:
        """Return the lease itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self.release()

    def _beat(self) -> None:
        while not self._stop.wait(self._lease.total_seconds() / _RENEWALS_PER_LEASE):
            sent_at = time.monotonic()
            try:
                renewed = self._lock.renew(self._token, self._lease)
            except StoreError as error:
                # The next beat tries again; if none gets through in time, `check` says that the lease is lost.
                _LOG.warning("the collection lock could not be renewed: %s", error)
                continue
            if not renewed:
                self._lost = True
                return
            self._renewed_at = sent_at
