"""Run retention: old runs and their events go, and the state of no asset partition and no check changes.

Belongs here: which runs go, in which order, and what is reported of it. Does not belong here: Dagster's tables and
files (`event_storage.py`), when it happens (`purging.py`, `schedules.py`).

A run goes once it ended long enough ago, unless something that it wrote is still the newest of its kind: the
materialization (or the attempt at one) of an asset partition, or the evaluation of a check. Such a run stays, thinned
out to what is the newest and to its own story; it goes when it is superseded.

A purge may be killed anywhere, run twice, and run beside collections. It deletes in transactions of at most
`BATCH_ROWS` rows: first evaluations, then run by run the events and, after them, the run. What was not reached is found
again by the next purge, for the run is still there. New runs only ever supersede: what was planned stays right while
ticks go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from market_assets.automation.evaluations import is_ours
from market_assets.automation.event_storage import EventStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from market_assets.automation.event_storage import Newest

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
#: run records that are read at once
_RECORDS = 1000
#: a run is recorded before its file is made; a file that has no run after this long is what a killed purge left
_ORPHANED_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What a purge would do."""

    #: runs last changed before this instant are old
    before: datetime
    #: old runs that go, oldest first
    going: tuple[str, ...]
    #: old runs that stay, thinned out
    staying: tuple[str, ...]
    newest: Newest


@dataclass(slots=True)
class Purged:
    """What a purge did, or would do."""

    #: runs that went
    runs: int = 0
    #: runs that stay, and from which events were taken
    thinned: int = 0
    #: rows of events; on SQLite those of the index
    events: int = 0
    #: rows of evaluations of checks
    evaluations: int = 0
    #: size of the files that went or shrank, where runs have files
    file_bytes: int = 0
    #: runs that were left for the next purge because time was up
    left: int = 0

    def __str__(self) -> str:
        """Return one line."""
        files = f", {self.file_bytes / 1e6:.1f} MB of files" if self.file_bytes else ""
        left = f"; {self.left} runs are left for the next purge" if self.left else ""
        return (
            f"{self.runs} runs, {self.events} events and {self.evaluations} check evaluations{files}; "
            f"{self.thinned} runs were thinned out{left}"
        )


def plan_purge(instance: dg.DagsterInstance, before: datetime, location: str | None) -> PurgePlan:
    """Return what goes of this code location's runs that were last changed before `before`.

    `location` is the name of the code location, None where there is none.

    Raises:
        RetentionError: Dagster's events are in a storage of an unknown kind.
    """
    newest = EventStorage.of(instance).newest()
    old = list(_old_runs(instance, before, location))
    return PurgePlan(
        before,
        tuple(run_id for run_id in old if run_id not in newest.runs),
        tuple(run_id for run_id in old if run_id in newest.runs),
        newest,
    )


def preview(instance: dg.DagsterInstance, plan: PurgePlan) -> Purged:
    """Return what `purge` would do, in numbers; nothing is changed.

    Events and files are those of the runs that go; `thinned` are the runs that stay, whatever they would still lose.
    """
    storage = EventStorage.of(instance)
    counts = storage.count_events(plan.going)
    rows = storage.superseded_evaluations(frozenset({*plan.going, *plan.staying}), plan.newest)
    return Purged(
        runs=len(plan.going),
        thinned=len(plan.staying),
        events=sum(counts.values()),
        evaluations=sum(map(len, rows)),
        file_bytes=sum(map(storage.file_bytes, plan.going)),
    )


def purge(instance: dg.DagsterInstance, plan: PurgePlan, may_go_on: Callable[[], bool] = lambda: True) -> Purged:
    """Do what `plan` says and return what was done; end early, and say so, once `may_go_on` returns False.

    It is asked before every transaction on evaluations and before every run.
    """
    storage = EventStorage.of(instance)
    done = Purged(left=len(plan.going))
    for batch in storage.superseded_evaluations(frozenset({*plan.going, *plan.staying}), plan.newest):
        if not may_go_on():
            return done
        done.evaluations += storage.delete_evaluations(batch)
    for run_id in plan.going:
        if not may_go_on():
            return done
        size = storage.file_bytes(run_id)
        _delete_logs(instance, run_id)
        done.events += storage.delete_events(run_id)
        # The run goes after its events: whoever is killed in between finds the run again.
        instance.delete_run(run_id)
        storage.delete_file(run_id)
        done.file_bytes += size
        done.runs += 1
        done.left -= 1
    for run_id in plan.staying:
        if not may_go_on():
            return done
        size = storage.file_bytes(run_id)
        _delete_logs(instance, run_id)
        deleted = storage.thin_out(run_id, plan.newest)
        done.events += deleted
        done.thinned += bool(deleted)
        done.file_bytes += size - storage.file_bytes(run_id)
    _delete_orphaned_files(instance, storage)
    return done


def time_limit(seconds: float) -> Callable[[], bool]:
    """Return a `may_go_on` that ends a purge after so many seconds."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline


def _old_runs(instance: dg.DagsterInstance, before: datetime, location: str | None) -> Iterator[str]:
    filters = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
    cursor = None
    while True:
        records = instance.get_run_records(filters, limit=_RECORDS, cursor=cursor, ascending=True)
        for record in records:
            if is_ours(record.dagster_run, location):
                yield record.dagster_run.run_id
        if len(records) < _RECORDS:
            return
        cursor = records[-1].dagster_run.run_id


def _delete_logs(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete what the run's steps printed."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _delete_orphaned_files(instance: dg.DagsterInstance, storage: EventStorage) -> None:
    """Delete the files of runs that are no more: of a purge that was killed, or a run deleted in Dagster's UI."""
    files = storage.files(unchanged_since=time.time() - _ORPHANED_AFTER.total_seconds())
    for start in range(0, len(files), _RECORDS):
        chunk = files[start : start + _RECORDS]
        alive = {run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids=chunk))}
        for run_id in chunk:
            if run_id not in alive:
                storage.delete_file(run_id)
