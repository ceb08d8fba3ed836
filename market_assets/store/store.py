"""The store: what everything outside of this package talks to.

Belongs here: the public methods. Does not belong here: how they work; each delegates to a module of its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, Self

import sqlalchemy as sa

from market_assets.columns import feature_columns as universe_feature_columns
from market_assets.store import ledger, revision, user_tables
from market_assets.store import states as ledger_states
from market_assets.store.alerts import AlertBook
from market_assets.store.connect import Database
from market_assets.store.runs import RunLog
from market_assets.store.schema import Schema, build_schema
from market_assets.store.snapshots import Snapshot
from market_assets.store.tables import FETCH_LEDGER, STORE_INFO
from market_assets.store.versioned import SOURCE_KEY, Replacement, VersionedWriter, WriteReport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import date, datetime

    import pandas as pd
    from sqlalchemy.engine import URL

    from market_assets.clock import Clock
    from market_assets.store.lock import CollectionLease
    from market_assets.store.scopes import Scope
    from market_assets.store.states import JudgeStates
    from market_assets.store.tables import VersionedTable


@dataclass(frozen=True, slots=True)
class StoreDescription:
    """What `market-assets status` says about the database."""

    dialect: str
    server_version: str
    #: size on disk in bytes
    size_bytes: int
    #: None if the database was never migrated
    revision: str | None
    #: URL without the password
    url: str


class Store:
    """Versioned tables in one database. Thread-safe: every call takes its own connection from a pool."""

    def __init__(self, database: Database, schema: Schema, clock: Clock | None = None) -> None:
        """Prefer `connect`."""
        self.database = database
        self._schema = schema
        self._clock = clock

    @classmethod
    def connect(
        cls, url: str | URL, *, clock: Clock | None = None, feature_columns: Sequence[str] | None = None
    ) -> Self:
        """Open the store at `url`; no connection is made yet.

        Without a `clock` the database's own clock stamps `known_from`; a clock is for simulated days. `feature_columns`
        defaults to the universe's. Raises SettingsError for an unusable URL and StoreError above 300 tickers.
        """
        columns = universe_feature_columns() if feature_columns is None else feature_columns
        return cls(Database(url), build_schema(columns), clock)

    def close(self) -> None:
        """Close all idle connections."""
        self.database.dispose()

    def over_the_same_connections(self) -> Self:
        """Return a store of the same database that shares this one's connections, and can be fenced by itself."""
        return type(self)(copy(self.database), self._schema, self._clock)

    @contextmanager
    def fenced_by(self, lease: CollectionLease) -> Iterator[None]:
        """While the block lasts, write only what is committed while `lease` still holds the collection lock.

        A write after another process has taken the lock raises LeaseLostError and changes nothing: a collection that
        was paused, and wakes up with old knowledge, cannot withdraw what a newer one has stored.
        """
        with self.database.fenced(lease.confirm):
            yield

    # --- schema -------------------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Create or upgrade the tables and add the columns of new tickers. Safe to run concurrently."""
        from market_assets.store import migrate  # noqa: PLC0415 - imports Alembic, which only a migration needs

        migrate.migrate(self.database, self._schema)

    def check_schema(self) -> None:
        """Raise SchemaOutdatedError, naming the remedy, unless revision and columns are this program's."""
        revision.check_schema(self.database, self._schema)

    @property
    def schema(self) -> Schema:
        """The tables, for this program's feature columns."""
        return self._schema

    # --- versions -----------------------------------------------------------------------------------------------------

    def replace(
        self,
        replacements: Sequence[Replacement],
        *,
        scopes: Sequence[Scope],
        fetched_at: datetime,
        accept_deletions: bool = False,
        states: JudgeStates | None = None,
    ) -> WriteReport:
        """Make the frames the only current rows of `scopes`, in one transaction, and record the `states` it judges.

        A scope is skipped if a newer fetch is stored, and refused if the write would delete more than a fifth of the
        bars of a closed day and neither earlier fetches nor `accept_deletions` confirm it. Feature days that stand on
        what has changed are marked stale. Raises ValueError for rows outside of the scopes, SourceMismatchError, and
        StoreError when the database fails.
        """
        writer = VersionedWriter(self._schema, replacements, scopes, fetched_at, accept_deletions=accept_deletions)

        def work(connection: sa.Connection) -> WriteReport:
            backend = self.database.backend
            report = writer.apply(connection, backend, self._clock)
            if states is not None:
                ledger_states.record(connection, backend, self._schema, states(self._view(connection)))
            return report

        return self.database.write(work)

    @contextmanager
    def snapshot(self, as_of: datetime | None = None) -> Iterator[Snapshot]:
        """Open a consistent view of all tables, as they are or as they were known at `as_of` (aware)."""
        with self.database.reading() as connection:
            yield self._view(connection, as_of)

    def _view(self, connection: sa.Connection, as_of: datetime | None = None) -> Snapshot:
        return Snapshot(connection, self.database.backend, self._schema, as_of)

    def read(
        self,
        table: VersionedTable,
        *,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
        series: Collection[str] | None = None,
        intervals: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        as_of: datetime | None = None,
    ) -> pd.DataFrame:
        """Read one table; see `Snapshot.read`."""
        with self.snapshot(as_of) as snapshot:
            return snapshot.read(table, start=start, end=end, series=series, intervals=intervals, columns=columns)

    # --- what was fetched ---------------------------------------------------------------------------------------------

    def covered_days(self, series: str, interval: str, start: date, end: date) -> set[date]:
        """Return the days in [start, end) of one series and interval that were ever written, empty ones included."""
        return self.all_covered_days(start, end, [series]).get((series, interval), set())

    def all_covered_days(
        self, start: date, end: date, series: Collection[str] | None = None
    ) -> dict[tuple[str, str], set[date]]:
        """Return by (series, interval) the days in [start, end) that were ever written, in one query."""
        table = self._schema.plain(FETCH_LEDGER)
        with self.database.reading() as connection:
            return ledger.covered_days(connection, self.database.backend, table, start=start, end=end, series=series)

    def fetch_times(
        self, series: Collection[str], start: date, end: date
    ) -> dict[str, dict[str, dict[date, datetime]]]:
        """Return by series and interval when each day in [start, end) was last fetched, in one query."""
        table = self._schema.plain(FETCH_LEDGER)
        with self.database.reading() as connection:
            return ledger.fetch_times(connection, self.database.backend, table, start=start, end=end, series=series)

    def now(self) -> datetime:
        """Return the instant by the clock that stamps knowledge: the database's, or the one the store was given."""
        if self._clock is not None:
            return self._clock.now()
        with self.database.reading() as connection:
            return self.database.backend.now(connection)

    def watermark(self) -> datetime:
        """Return the knowledge instant of the last commit."""
        with self.snapshot() as snapshot:
            return snapshot.watermark

    def source(self) -> str | None:
        """Return the label of the source whose rows the database holds, None before the first write."""
        info = self._schema.plain(STORE_INFO)
        with self.database.reading() as connection:
            query = sa.select(info.columns.value).where(info.columns.name == SOURCE_KEY)
            found: str | None = connection.execute(query).scalar_one_or_none()
            return found

    def read_crypto_prices(self, table: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Read the user's own table of crypto prices; see `user_tables.read_crypto_prices`."""
        return user_tables.read_crypto_prices(self.database, table, start, end)

    # --- bookkeeping --------------------------------------------------------------------------------------------------

    @cached_property
    def runs(self) -> RunLog:
        """The log of collections, the ledger of states and the stale days."""
        return RunLog(self.database, self._schema)

    @cached_property
    def alerts(self) -> AlertBook:
        """What is open, what people were told of it, and the messages on their way."""
        return AlertBook(self.database, self._schema)

    def describe(self) -> StoreDescription:
        """Return what the database is; the URL is without its password."""
        with self.database.reading() as connection:
            backend = self.database.backend
            version, size = backend.version(connection), backend.size_bytes(connection)
        return StoreDescription(
            backend.label, version, size, revision.revision_of(self.database), self.database.redacted_url
        )

    def __repr__(self) -> str:
        """Return the store's URL without its password."""
        return f"Store({self.database.redacted_url!r})"

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled: connections do not travel."""
        raise TypeError("a Store cannot be pickled; connect again in the other process")
