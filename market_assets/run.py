"""Dagster for the command line: the collect job in this process, and the purge of old runs.

Belongs here: the Dagster instance and the call. Does not belong here: what the job does, what is printed.
"""

from __future__ import annotations

import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from market_assets.errors import SettingsError
from market_assets.stopping import Stop

if TYPE_CHECKING:
    from datetime import timedelta

    import dagster as dg

    from market_assets.automation.retention import Purged
    from market_assets.clock import Clock
    from market_assets.collection.days import DayRange
    from market_assets.collection.session import Progress
    from market_assets.settings import Settings
    from market_assets.store import CollectionRecord, Store

_DAGSTER_YAML = """\
# Written by `market-assets` because DAGSTER_HOME was not set. Everything is Dagster's own default but telemetry,
# the invitation to its newsletter, and the runs of a backfill: one at a time, for all want the same lock.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    tag_concurrency_limits:
      - key: dagster/backfill
        limit: 1
"""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of one run: Dagster's verdict, the collection's own record, and the first step that failed."""

    run_id: str
    succeeded: bool
    record: CollectionRecord | None
    failure: str = ""
    #: it was asked to stop
    interrupted: bool = False


def ensure_dagster_home() -> Path:
    """Return DAGSTER_HOME, made with telemetry off if it is unset (then `.dagster` in the working directory).

    Raises:
        SettingsError: DAGSTER_HOME is not an absolute path, or cannot be written to.
    """
    named = os.environ.get("DAGSTER_HOME")
    if named and not Path(named).expanduser().is_absolute():
        raise SettingsError(f"DAGSTER_HOME={named}: must be an absolute path, such as {Path(named).resolve()}")
    home = Path(named).expanduser() if named else Path.cwd() / ".dagster"
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            config.write_text(_DAGSTER_YAML, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME={home}: cannot be written ({error.strerror}); name a directory that this user may write to"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def run_collection(
    settings: Settings,
    store: Store,
    *,
    days: DayRange,
    kind: str,
    clock: Clock | None = None,
    accept_deletions: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> RunOutcome:
    """Run the collect job over `days` in this process on the local Dagster instance; never raise for a failed step.

    `stop` ends it from another thread. In the main thread, Dagster's own handlers of SIGINT and SIGTERM end it too.

    Raises:
        SettingsError: DAGSTER_HOME cannot be used.
    """
    home = ensure_dagster_home()
    # A Dagster instance in PostgreSQL then stores what a run intends to materialize at once; SQLite knows no batches.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

    from market_assets.automation.failures import first_failure
    from market_assets.automation.jobs import ACCEPT_DELETIONS_TAG, COLLECT_JOB, KIND_TAG
    from market_assets.definitions import build_definitions
    from market_assets.partitions import range_tags

    logging.getLogger("dagster").setLevel(logging.ERROR)
    stop = stop or Stop()
    definitions = build_definitions(settings=settings, store=store, clock=clock, progress=progress, stop=stop)
    job = definitions.resolve_job_def(COLLECT_JOB)
    tags = {KIND_TAG: kind}
    if accept_deletions:
        tags[ACCEPT_DELETIONS_TAG] = "true"
    single = days.first == days.last
    run_id = run_id or str(uuid.uuid4())
    with _instance(home) as instance:
        try:
            stop.check()
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                partition_key=days.first.isoformat() if single else None,
                tags=tags if single else {**tags, **range_tags(days)},
                run_config={"loggers": {"console": {"config": {"log_level": _console_level(settings)}}}},
                raise_on_error=False,
            )
        except KeyboardInterrupt:
            if not stop.requested:
                raise
            return RunOutcome(run_id, succeeded=False, record=store.runs.collection(run_id), interrupted=True)
    record = store.runs.collection(run_id)
    return RunOutcome(run_id, result.success, record, first_failure(result.all_events).text, interrupted=stop.requested)


def purge_runs(older_than: timedelta, location: str, *, dry_run: bool) -> Purged:
    """Purge the runs of the code location `location` that ended so long ago; with `dry_run`, tell what would go.

    Raises:
        RetentionError: Dagster's events are in a storage of an unknown kind.
        SettingsError: DAGSTER_HOME cannot be used.
    """
    from market_assets.automation.retention import plan_purge, preview, purge
    from market_assets.clock import SystemClock

    with _instance(ensure_dagster_home()) as instance:
        # Dagster stamps runs by the machine's clock.
        plan = plan_purge(instance, SystemClock().now() - older_than, location)
        return preview(instance, plan) if dry_run else purge(instance, plan)


def _instance(home: Path) -> dg.DagsterInstance:
    """Return the Dagster instance of `home`; raise SettingsError if its configuration or its files cannot be used."""
    import dagster as dg

    try:
        return dg.DagsterInstance.get()
    except Exception as error:
        # A broken dagster.yaml shows itself in as many ways as it has parts.
        raise SettingsError(
            f"DAGSTER_HOME={home}: Dagster cannot use it; correct {home / 'dagster.yaml'} or name another directory. "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def _console_level(settings: Settings) -> str:
    # The package's own log says what happened; Dagster's stack traces are for whoever looks for a bug.
    return "ERROR" if settings.log_level == "DEBUG" else "CRITICAL"
