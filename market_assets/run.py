"""Running the collect job in this process, as the command line does.

Belongs here: the Dagster instance and the call. Does not belong here: what the job does, what is printed.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from market_assets.errors import SettingsError

if TYPE_CHECKING:
    from market_assets.clock import Clock
    from market_assets.collection.days import DayRange
    from market_assets.collection.session import Progress
    from market_assets.settings import Settings
    from market_assets.store import CollectionRecord, Store

_DAGSTER_YAML = """\
# Written by `market-assets` because DAGSTER_HOME was not set. Everything is Dagster's own default but telemetry,
# the invitation to its newsletter, and connections to the event log that stay open: a fifth of a collection's CPU.
telemetry:
  enabled: false
nux:
  enabled: false
event_log_storage:
  module: market_assets.event_log
  class: PooledSqliteEventLogStorage
  config:
    base_dir:
      env: DAGSTER_HOME
"""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of one run: Dagster's verdict, the collection's own record, and the first step that failed."""

    run_id: str
    succeeded: bool
    record: CollectionRecord | None
    failure: str = ""


def ensure_dagster_home() -> Path:
    """Return DAGSTER_HOME, made with telemetry off if it is unset (then `.dagster` in the working directory).

    Raises:
        SettingsError: DAGSTER_HOME is not an absolute path.
    """
    named = os.environ.get("DAGSTER_HOME")
    if named and not Path(named).expanduser().is_absolute():
        raise SettingsError(f"DAGSTER_HOME={named}: must be an absolute path, such as {Path(named).resolve()}")
    home = Path(named).expanduser() if named else Path.cwd() / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_DAGSTER_YAML, encoding="utf-8")
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
    progress: Progress | None = None,
) -> RunOutcome:
    """Run the collect job over `days` in this process on the local Dagster instance; never raise for a failed step."""
    ensure_dagster_home()
    # A Dagster instance in PostgreSQL then stores what a run intends to materialize at once; SQLite knows no batches.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    import dagster as dg

    from market_assets.automation.jobs import ACCEPT_DELETIONS_TAG, COLLECT_JOB, KIND_TAG
    from market_assets.definitions import build_definitions
    from market_assets.partitions import range_tags

    logging.getLogger("dagster").setLevel(logging.ERROR)
    job = build_definitions(settings=settings, store=store, clock=clock, progress=progress).resolve_job_def(COLLECT_JOB)
    tags = {KIND_TAG: kind}
    if accept_deletions:
        tags[ACCEPT_DELETIONS_TAG] = "true"
    single = days.first == days.last
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key=days.first.isoformat() if single else None,
            tags=tags if single else {**tags, **range_tags(days)},
            run_config={"loggers": {"console": {"config": {"log_level": _console_level(settings)}}}},
            raise_on_error=False,
        )
        failure = ""
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                cause = data.error.cause if data.error and data.error.cause else data.error
                failure = f"{event.step_key}: {cause.message.strip() if cause else 'unknown error'}"
                break
    return RunOutcome(result.run_id, result.success, store.runs.collection(result.run_id), failure)


def _console_level(settings: Settings) -> str:
    # Dagster tells every event at DEBUG and every step at INFO; a person at a terminal has the progress bar.
    return "DEBUG" if settings.log_level == "DEBUG" else "ERROR"
