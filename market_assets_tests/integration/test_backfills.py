"""A backfill of many days is many runs, each with everything of its days, whatever becomes of a ticker."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration

from market_assets.automation.jobs import BACKFILL_TAG
from market_assets.clock import SystemClock
from market_assets.columns import feature_columns
from market_assets.partitions import days_of_tags
from market_assets.sources.simulator import Fault, FaultKind, SimulatorServer
from market_assets.store import Store
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.fakes import indicators_of
from market_assets_tests.integration import dagster_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

#: runs are executed where the daemon launches them
_SYNCHRONOUS = """
telemetry: {enabled: false}
run_launcher: {module: dagster._core.launcher.sync_in_memory_run_launcher, class: SyncInMemoryRunLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


@contextmanager
def daemon(home: Path) -> Iterator[WorkspaceProcessContext]:
    """Open an instance, and the code location of `dagster_state` as the daemon sees it."""
    home.mkdir()
    (home / "dagster.yaml").write_text(_SYNCHRONOUS)
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, module_name=dagster_state.__name__, attribute="location"
    )
    target = InProcessWorkspaceLoadTarget([InProcessCodeLocationOrigin(origin)])
    with dg.DagsterInstance.from_config(str(home)) as instance, warnings.catch_warnings():
        # of Dagster, about what it asks of its own schedules
        warnings.simplefilter("ignore", DeprecationWarning)
        with WorkspaceProcessContext(instance, target) as context:
            yield context


def test_a_backfill_of_the_collect_job_is_runs_of_so_many_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = datetime.now(UTC).date() - timedelta(days=1)
    days = [last - timedelta(days=back) for back in range(4, -1, -1)]
    database = f"sqlite:///{tmp_path / 'market.db'}"
    with SimulatorServer(SystemClock()) as server:
        settings = {
            "DATABASE_URL": database,
            "YAHOO_BASE_URL": server.url,
            "YFINANCE_REQUEST_DELAY": "0",
            "YAHOO_ATTEMPTS": "1",
            "BACKFILL_DAYS_PER_RUN": "2",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        server.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="QQQ"))
        with daemon(tmp_path / "home") as context:
            runs = _backfill(context, [day.isoformat() for day in days])

    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 3
    ranges = [days_of_tags(dict(run.tags), datetime.now(UTC)) for run in runs]
    assert [day for one in ranges for day in one] == days
    assert [len(one) for one in ranges] == [2, 2, 1]
    universe = dagster_state.UNIVERSE
    store = Store.connect(database, feature_columns=feature_columns(universe, indicators_of(universe)))
    try:
        logged = store.runs.last_collections(5)
        assert {(run.kind, run.status) for run in logged} == {("backfill", "partial")}
        stored: set[date] = {at.date() for at in store.read(ML_FEATURES)["observed_at"]}
        assert stored == set(days)
    finally:
        store.close()


def _backfill(context: WorkspaceProcessContext, days: list[str]) -> list[dg.DagsterRun]:
    """Launch a backfill of the collect job as its page in the UI does, and let the daemon work it off."""
    instance = context.instance
    location = context.create_request_context().code_locations[0]
    repository = next(iter(location.get_repositories().values()))
    backfill = PartitionBackfill(
        "many-days",
        partition_set_origin=repository.get_partition_set("collect_partition_set").get_remote_origin(),
        status=BulkActionStatus.REQUESTED,
        partition_names=days,
        from_failure=False,
        reexecution_steps=None,
        tags={},
        backfill_timestamp=time.time(),
    )
    instance.add_backfill(backfill)
    for _ in range(5):
        list(execute_backfill_iteration(context, logging.getLogger("backfill")))
    found = instance.get_backfill("many-days")
    assert found is not None
    assert found.status is BulkActionStatus.COMPLETED_SUCCESS, found.error
    return list(reversed(instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: "many-days"}))))
