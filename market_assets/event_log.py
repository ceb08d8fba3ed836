"""Dagster's event log in SQLite files, with connections that stay open.

Belongs here: the event log that the `dagster.yaml` of the command line names. Does not belong here: instances on
PostgreSQL or MySQL, which bring their own, and anything about market data.

Dagster's own class makes an engine and a connection for every event. A collection writes 273 of them in 600
transactions: each compiles its statement anew, and closing the last connection brings the write-ahead log back to the
disk each time. The files and tables stay Dagster's own: with or without this class, everything reads what was written.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from dagster._core.events.log import EventLogEntry
    from dagster._serdes import ConfigurableClassData

#: files kept open; each run has one of its own, and the UI looks into many
_MOST_OPEN = 8


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log; `base_dir` is DAGSTER_HOME, the files lie where the default class has them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Open no file but the index, which is made if it is missing."""
        self._engines: dict[str, sa.Engine] = {}
        # One user at a time, as in the base class.
        self._in_use = threading.Lock()
        super().__init__(str(Path(base_dir) / "history" / "runs"), inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage that `dagster.yaml` describes."""
        return cls(inst_data=inst_data, **config_value)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[sa.Connection]:
        """Open a transaction on the events of one run."""
        return self._transaction(str(run_id), lambda: super(PooledSqliteEventLogStorage, self).run_connection(run_id))

    def index_connection(self) -> AbstractContextManager[sa.Connection]:
        """Open a transaction on the events of assets and checks, of all runs."""
        return self._transaction(INDEX_SHARD_NAME, super().index_connection)

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event and wake who watches the run."""
        super().store_event(event)
        # The UI watches the run's file; what is written to the log beside it would not wake the UI.
        os.utime(self.path_for_shard(event.run_id))

    def wipe(self) -> None:
        """Delete all events; the files of the runs go too, so none may stay open."""
        self._close_all()
        super().wipe()

    def dispose(self) -> None:
        """Close all files."""
        self._close_all()
        super().dispose()

    @contextmanager
    def _transaction(
        self, shard: str, set_up: Callable[[], AbstractContextManager[sa.Connection]]
    ) -> Iterator[sa.Connection]:
        with self._in_use:
            engine = self._engines.pop(shard, None) or self._open(shard, set_up)
            self._engines[shard] = engine  # the last used one stands last
            with engine.begin() as connection:
                yield connection

    def _open(self, shard: str, set_up: Callable[[], AbstractContextManager[sa.Connection]]) -> sa.Engine:
        with set_up():
            pass  # the base class makes the file and its tables, or finds them
        if len(self._engines) >= _MOST_OPEN:
            self._engines.pop(next(iter(self._engines))).dispose()
        engine = sa.create_engine(
            self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        sa.event.listen(engine, "connect", _relax)
        return engine

    def _close_all(self) -> None:
        with self._in_use:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _relax(connection: sqlite3.Connection, _record: object) -> None:
    # In WAL mode a power cut can lose the last events, never corrupt the file; the market database has its own record.
    connection.execute("PRAGMA synchronous = NORMAL")
