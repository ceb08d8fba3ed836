"""Dagster's event storage, below its API: the newest events of each asset partition, and the rows and files of a run.

Belongs here: everything that knows Dagster's private tables and files. Does not belong here: which runs are purged
(`retention.py`).

`DagsterInstance.delete_run` takes a run with all of its events, the newest materialization of a partition too; it
leaves the evaluations of the run's checks behind and, on SQLite, an emptied file. What it lacks is here and nowhere
else (decision 18).

PostgreSQL has one table of events. SQLite has an index, with the events of assets, checks and run statuses, and a file
for each run with all of its events. The evaluations of checks are rows of their own table.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

from market_assets.errors import RetentionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

#: rows that one transaction deletes, at most
BATCH_ROWS = 1000
#: what an asset partition's status is made of: the newest of each kind stays
_ASSET_KINDS = [
    dg.DagsterEventType.ASSET_MATERIALIZATION.value,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
    dg.DagsterEventType.ASSET_OBSERVATION.value,
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE.value,
]
#: what a run that stays keeps of its own story: when it and its steps began, how they ended, and why
_KEPT_ALWAYS = frozenset(
    kind.value
    for kind in (
        dg.DagsterEventType.RUN_ENQUEUED,
        dg.DagsterEventType.RUN_DEQUEUED,
        dg.DagsterEventType.RUN_STARTING,
        dg.DagsterEventType.RUN_START,
        dg.DagsterEventType.RUN_SUCCESS,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELING,
        dg.DagsterEventType.RUN_CANCELED,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_SKIPPED,
    )
)
_COMPLETED = ("SUCCEEDED", "FAILED")
_SQLITE_SUFFIXES = (".db", ".db-wal", ".db-shm")
#: seconds that a run's file may be locked by its run's page in the UI
_SQLITE_TIMEOUT = 30.0

_EVENTS = SqlEventLogStorageTable.c
_CHECKS = AssetCheckExecutionsTable.c

#: an event by what it is the newest of: asset key, kind and partition, as stored
EventKey = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Newest:
    """What must stay, whatever its age."""

    #: newest events of each asset partition, by the run that wrote them
    events: Mapping[str, frozenset[EventKey]]
    #: rows of the newest evaluation of each check and partition
    evaluations: frozenset[int]
    #: runs of those events and evaluations, and the run of the newest event of all
    runs: frozenset[str]
    #: the newest event of all: SQLite would give its number to another one
    last_event: int


class EventStorage:
    """The event storage of one Dagster instance."""

    def __init__(self, storage: SqlEventLogStorage) -> None:
        """Wrap Dagster's storage."""
        self._storage = storage

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> Self:
        """Return the event storage of `instance`; raise RetentionError if it is of an unknown kind."""
        storage = instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage):
            raise RetentionError(
                f"Dagster keeps its events in a {type(storage).__name__}, and runs can be purged from SQL storage "
                "(SQLite, PostgreSQL, MySQL) only; set RUN_RETENTION_DAYS=0, or `storage:` in dagster.yaml"
            )
        return cls(storage)

    def newest(self) -> Newest:
        """Return what the state of every asset partition and check stands on.

        What is the newest now can be superseded while somebody works with the answer, but nothing old becomes the
        newest: the answer keeps rather too much than too little.
        """
        # Dagster's own lock of a SQLite connection is not reentrant.
        keys = [key.to_string() for key in self._storage.get_asset_keys()]
        events: dict[str, set[EventKey]] = defaultdict(set)
        with self._storage.index_connection() as connection:
            last_event = connection.execute(sa.select(sa.func.max(_EVENTS.id))).scalar_one() or 0
            last_run = connection.execute(sa.select(_EVENTS.run_id).where(_EVENTS.id == last_event)).scalar()
            for key in keys:
                newest = (
                    sa.select(sa.func.max(_EVENTS.id))
                    .where(_EVENTS.asset_key == key, _EVENTS.dagster_event_type.in_(_ASSET_KINDS))
                    .group_by(_EVENTS.dagster_event_type, _EVENTS.partition)
                )
                columns = (_EVENTS.run_id, _EVENTS.asset_key, _EVENTS.dagster_event_type, _EVENTS.partition)
                for run_id, *found in connection.execute(sa.select(*columns).where(_EVENTS.id.in_(newest))):
                    events[run_id].add(tuple(found))
        evaluations = self._newest_evaluations()
        return Newest(
            {run_id: frozenset(found) for run_id, found in events.items()},
            frozenset(evaluations),
            frozenset({*events, *evaluations.values(), *([last_run] if last_run else [])}),
            last_event,
        )

    def superseded_evaluations(self, runs: AbstractSet[str], newest: Newest) -> Iterator[Sequence[int]]:
        """Yield, in batches, the rows of evaluations of `runs` that are not the newest of their check and partition."""
        for asset_key, check_name in self._checks():
            of_check = sa.select(_CHECKS.id, _CHECKS.run_id).where(
                _CHECKS.asset_key == asset_key, _CHECKS.check_name == check_name
            )
            with self._storage.index_connection() as connection:
                rows = connection.execute(of_check.order_by(_CHECKS.id)).all()
            yield from _batches([row for row, run in rows if run in runs and row not in newest.evaluations])

    def delete_evaluations(self, rows: Sequence[int]) -> int:
        """Delete the rows in one transaction; return how many there still were."""
        with self._storage.index_connection() as connection:
            return int(connection.execute(sa.delete(AssetCheckExecutionsTable).where(_CHECKS.id.in_(rows))).rowcount)

    def count_events(self, runs: Sequence[str]) -> dict[str, int]:
        """Return how many events of each of `runs` there are; on SQLite those in the index."""
        counts: dict[str, int] = {}
        for start in range(0, len(runs), BATCH_ROWS):
            counted = (
                sa.select(_EVENTS.run_id, sa.func.count())
                .where(_EVENTS.run_id.in_(runs[start : start + BATCH_ROWS]))
                .group_by(_EVENTS.run_id)
            )
            with self._storage.index_connection() as connection:
                counts |= {str(run_id): int(count) for run_id, count in connection.execute(counted)}
        return counts

    def delete_events(self, run_id: str) -> int:
        """Delete every event of a run, in batches; return how many. On SQLite its file stays until `delete_file`."""
        return self._delete_events(run_id, frozenset(), frozenset(), last_event=0)

    def thin_out(self, run_id: str, newest: Newest) -> int:
        """Delete the events of a run that stays, but for those in `newest` and the run's own story; return how many.

        On SQLite, counted in the index; the run's file is thinned out alike, and shrinks.
        """
        keep = newest.events.get(run_id, frozenset())
        deleted = self._delete_events(run_id, keep, _KEPT_ALWAYS, newest.last_event)
        path = self._file(run_id)
        if path is not None and path.exists():
            _thin_out_file(path, keep)
        return deleted

    def file_bytes(self, run_id: str) -> int:
        """Return the size of the run's files; 0 where runs have none."""
        path = self._file(run_id)
        return 0 if path is None else sum(one.stat().st_size for one in _with_companions(path))

    def delete_file(self, run_id: str) -> None:
        """Delete the file of a run that is no more, where runs have files."""
        path = self._file(run_id)
        for one in [] if path is None else _with_companions(path):
            one.unlink(missing_ok=True)

    def files(self, unchanged_since: float) -> list[str]:
        """Return the runs that have a file which was last written before the Unix time `unchanged_since`."""
        if not isinstance(self._storage, SqliteEventLogStorage):
            return []
        index = Path(self._storage.path_for_shard("index"))
        found = (path for path in index.parent.glob("*.db") if path.name != index.name)
        return sorted(path.stem for path in found if path.stat().st_mtime < unchanged_since)

    def _delete_events(self, run_id: str, keep: AbstractSet[EventKey], kinds: AbstractSet[str], last_event: int) -> int:
        columns = (_EVENTS.id, _EVENTS.asset_key, _EVENTS.dagster_event_type, _EVENTS.partition)
        with self._storage.index_connection() as connection:
            rows = connection.execute(sa.select(*columns).where(_EVENTS.run_id == run_id).order_by(_EVENTS.id)).all()
        doomed = [
            row for row, *found in rows if row != last_event and found[1] not in kinds and tuple(found) not in keep
        ]
        for batch in _batches(doomed):
            with self._storage.index_connection() as connection:
                connection.execute(sa.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(batch)))
                connection.execute(sa.delete(SqlEventLogStorageTable).where(_EVENTS.id.in_(batch)))
        return len(doomed)

    def _checks(self) -> list[tuple[str, str]]:
        pairs = sa.select(_CHECKS.asset_key, _CHECKS.check_name).distinct()
        with self._storage.index_connection() as connection:
            return [(asset_key, check_name) for asset_key, check_name in connection.execute(pairs)]

    def _newest_evaluations(self) -> dict[int, str]:
        """Return the rows that stay, with their runs.

        Dagster asks for the newest row of a check, the newest that was completed, and for each partition the newest
        that knows its event.
        """
        found: dict[int, str] = {}
        for asset_key, check_name in self._checks():
            of_check = (_CHECKS.asset_key == asset_key, _CHECKS.check_name == check_name)
            completed = sa.case((_CHECKS.execution_status.in_(_COMPLETED), _CHECKS.id))
            with_event = sa.case((_CHECKS.evaluation_event_storage_id.is_not(None), _CHECKS.id))
            maxima = [sa.func.max(one) for one in (_CHECKS.id, completed, with_event)]
            newest = sa.select(*maxima).where(*of_check).group_by(_CHECKS.partition)
            with self._storage.index_connection() as connection:
                ids = {row for rows in connection.execute(newest) for row in rows if row is not None}
                for batch in _batches(sorted(ids)):
                    runs = sa.select(_CHECKS.id, _CHECKS.run_id).where(_CHECKS.id.in_(batch))
                    found |= {int(row): str(run_id) for row, run_id in connection.execute(runs)}
        return found

    def _file(self, run_id: str) -> Path | None:
        if not isinstance(self._storage, SqliteEventLogStorage):
            return None
        return Path(self._storage.path_for_shard(run_id))


def _batches(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield rows[start : start + BATCH_ROWS]


def _with_companions(path: Path) -> list[Path]:
    return [one for suffix in _SQLITE_SUFFIXES if (one := path.with_suffix(suffix)).exists()]


def _thin_out_file(path: Path, keep: AbstractSet[EventKey]) -> None:
    # Not through Dagster: it compares the schema of every file that it opens with its migrations.
    with closing(sqlite3.connect(path, timeout=_SQLITE_TIMEOUT)) as connection:
        rows = connection.execute("SELECT id, asset_key, dagster_event_type, partition FROM event_logs").fetchall()
        doomed = [(row,) for row, *found in rows if found[1] not in _KEPT_ALWAYS and tuple(found) not in keep]
        if not doomed:
            return
        with connection:
            connection.executemany("DELETE FROM event_logs WHERE id = ?", doomed)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
