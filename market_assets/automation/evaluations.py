"""From a finished run of Dagster's to what alerts are made from.

Belongs here: reading run records and their events. Does not belong here: what follows from them (`alerts/`).

A range run stores its evaluations without a partition, and a failed non-blocking check leaves a run successful: so they
are read by run, whatever became of it, and not from the checks' histories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from market_assets.alerts.evaluations import (
    NOTHING_FETCHED,
    REPLAY_KIND,
    Evaluation,
    FinishedRun,
    Severity,
    is_conclusive,
    text_of,
)
from market_assets.automation.failures import Failure, first_failure
from market_assets.automation.jobs import COLLECT_JOB, KIND_TAG, PURGE_JOB, REBUILD_JOB, REPLAY_JOB, kind_of
from market_assets.collection.days import DayRange
from market_assets.partitions import PARTITION_TAG, RANGE_START_TAG, days_of_tags

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.store import CollectionRecord, Store

_JOBS = frozenset({COLLECT_JOB, REBUILD_JOB, REPLAY_JOB, PURGE_JOB})
_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}


def is_ours(run: dg.DagsterRun, location: str | None) -> bool:
    """Whether the run is one of this code location: other locations may share the instance.

    A run that the command line started names no location, and is known by its job.
    """
    origin = run.remote_job_origin
    if origin is None or location is None:
        return run.job_name in _JOBS or run.job_name.startswith("__ASSET_JOB")
    return origin.repository_origin.code_location_origin.location_name == location


def read_run(instance: dg.DagsterInstance, record: dg.RunRecord, store: Store, now: datetime) -> FinishedRun:
    """Return what the run of `record` found; `now` bounds its start where the store's log does not know it."""
    run = record.dagster_run
    logged = store.runs.collection(run.run_id)
    at = _began(record, logged, now)
    tags = dict(run.tags)
    kind = _kind_of(run)
    days = days_of_tags(tags, at)
    if kind == REPLAY_KIND and not {PARTITION_TAG, RANGE_START_TAG} & set(tags):
        days = DayRange.of(at).before
    failure = Failure()
    if run.status is dg.DagsterRunStatus.FAILURE:
        failure = first_failure(_events(instance, run.run_id, _FAILURES))
    found = {}
    for event in _events(instance, run.run_id, {dg.DagsterEventType.ASSET_CHECK_EVALUATION}):
        # A step that was tried again evaluates its check again: the last word counts.
        evaluation = evaluation_of(event.asset_check_evaluation_data)
        found[evaluation.key] = evaluation
    return FinishedRun(
        run_id=run.run_id,
        kind=kind,
        at=at,
        days=days,
        evaluations=tuple(found.values()),
        succeeded=None if run.status is dg.DagsterRunStatus.CANCELED else run.status is dg.DagsterRunStatus.SUCCESS,
        failure=failure.text,
        failure_cause=NOTHING_FETCHED if failure.nothing_fetched else "",
        whole=logged is not None and bool(logged.summary.get("complete")),
    )


def unreadable_run(record: dg.RunRecord, error: Exception, store: Store, now: datetime) -> FinishedRun:
    """Return a run whose events cannot be read as one that failed: whatever it found, nobody knows."""
    at = _began(record, store.runs.collection(record.dagster_run.run_id), now)
    return FinishedRun(
        run_id=record.dagster_run.run_id,
        kind=_kind_of(record.dagster_run),
        at=at,
        days=DayRange.of(at),
        succeeded=False,
        failure=text_of(f"what it found cannot be read: {type(error).__name__}: {error}"),
    )


def _began(record: dg.RunRecord, logged: CollectionRecord | None, now: datetime) -> datetime:
    return logged.started_at if logged is not None else min(record.create_timestamp, now)


def _kind_of(run: dg.DagsterRun) -> str:
    if run.job_name == REPLAY_JOB and KIND_TAG not in run.tags:
        return REPLAY_KIND
    return kind_of(run.tags)


def evaluation_of(found: dg.AssetCheckEvaluation) -> Evaluation:
    """Return Dagster's evaluation of a check as plain values."""
    metadata: dict[str, Any] = {name: value.value for name, value in found.metadata.items()}
    is_warning = found.severity is dg.AssetCheckSeverity.WARN
    return Evaluation(
        check=found.check_name,
        asset="/".join(found.asset_key.path),
        passed=found.passed,
        severity=Severity.WARN if is_warning else Severity.ERROR,
        description=text_of(found.description or ""),
        observed=text_of(metadata.get("observed", "")),
        threshold=text_of(metadata.get("threshold", "")),
        cause=text_of(metadata.get("cause", "")),
        conclusive=is_conclusive(metadata, passed=found.passed),
    )


def _events(instance: dg.DagsterInstance, run_id: str, kinds: set[dg.DagsterEventType]) -> list[dg.DagsterEvent]:
    found: list[dg.DagsterEvent] = []
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=kinds, limit=1000)
        entries = (record.event_log_entry.dagster_event for record in page.records)
        found += [event for event in entries if event is not None]
        if not page.has_more:
            return found
        cursor = page.cursor
