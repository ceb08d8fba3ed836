"""Old runs of Dagster go, and Dagster's UI shows the same state of every asset, partition and check as before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa
import typer

from market_assets.automation.jobs import PURGE_JOB
from market_assets.automation.retention import plan_purge, preview, purge
from market_assets.cli.purge import purge as by_hand
from market_assets.clock import ManualClock
from market_assets.definitions import build_definitions
from market_assets.settings import Settings
from market_assets.sources.simulator import Fault, FaultKind, SimulatorServer
from market_assets_tests.databases import POSTGRESQL, SQLITE, database_copy, permanent_database
from market_assets_tests.fakes import Collector, indicators_of
from market_assets_tests.integration.conftest import FIRST_TICK
from market_assets_tests.integration.dagster_state import RUN, UNIVERSE, ask, instance_at, rows, run_files, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WEDNESDAY, THURSDAY, FRIDAY = (FIRST_TICK + timedelta(days=days) for days in range(3))
HALF_AN_HOUR = timedelta(minutes=30)
DAYS = [(FIRST_TICK + timedelta(days=days)).date().isoformat() for days in range(-1, 4)]


@dataclass(frozen=True)
class History:
    """Three days of a collector, in Dagster's storage of one kind."""

    kind: str
    home: Path
    database: str | None
    #: everything before is old
    before: datetime
    runs: dict[str, str]

    @contextmanager
    def copy(self, to: Path) -> Iterator[tuple[dg.DagsterInstance, Path]]:
        """Open a copy of the instance."""
        home = to / "home"
        shutil.copytree(self.home, home)
        if self.database is None:
            with instance_at(home) as instance:
                yield instance, home
            return
        with database_copy(POSTGRESQL, self.database, to) as url, instance_at(home, url) as instance:
            yield instance, home


@pytest.fixture(scope="module", params=[SQLITE, POSTGRESQL])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Ticks of three days, a settle run, a ticker that fails, and a day whose last attempt fails as a whole."""
    directory = tmp_path_factory.mktemp(request.param)
    database = None
    if request.param == POSTGRESQL:
        pytest.importorskip("dagster_postgres", reason="Dagster's PostgreSQL storage is not installed")
        database = permanent_database(POSTGRESQL, directory)
    clock = ManualClock(FIRST_TICK)
    runs: dict[str, str] = {}
    with (
        instance_at(directory / "home", database) as instance,
        SimulatorServer(clock) as server,
        Collector(server, clock, f"sqlite:///{directory / 'market.db'}", universe=UNIVERSE) as collector,
    ):
        collector.instance = instance

        def tick(name: str, at: datetime) -> None:
            runs[name] = collector.at(at).collect().result.run_id

        tick("wednesday 1", WEDNESDAY)
        tick("wednesday 2", WEDNESDAY + HALF_AN_HOUR)
        night = THURSDAY.replace(hour=2, minute=10)
        settled = collector.at(night).collect((WEDNESDAY - timedelta(days=1)).date(), WEDNESDAY.date(), kind="settle")
        runs["settle"] = settled.result.run_id
        server.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="QQQ"))
        tick("thursday 1, without QQQ", THURSDAY)
        server.faults.clear()
        server.faults.add(Fault(kind=FaultKind.NOT_FOUND))
        tick("thursday 2, which fails", THURSDAY + HALF_AN_HOUR)
        server.faults.clear()
        tick("friday 1", FRIDAY)
        before = datetime.now(UTC)
        tick("friday 2", FRIDAY + HALF_AN_HOUR)
    return History(request.param, directory / "home", database, before, runs)


def test_the_ui_shows_the_same_after_a_purge(history: History, tmp_path: Path) -> None:
    with history.copy(tmp_path) as (instance, home):
        shown_before, rows_before, files_before = shown(instance, DAYS), rows(instance), run_files(home)
        assert {"FAILED", "MATERIALIZED"} <= _statuses(shown_before)
        plan = plan_purge(instance, history.before, None)
        named = {run_id: name for name, run_id in history.runs.items()}
        foretold = preview(instance, plan)

        done = purge(instance, plan)

        # what was superseded goes; the settle run and Thursday's attempts are the last word on their partitions
        assert {named[run_id] for run_id in plan.going} == {"wednesday 1", "wednesday 2", "friday 1"}
        assert {named[run_id] for run_id in plan.staying} == {
            "settle", "thursday 1, without QQQ", "thursday 2, which fails",
        }  # fmt: skip
        assert (done.runs, done.thinned, done.left) == (3, 3, 0)
        # with what Dagster remembers of partitions, and without
        assert shown(instance, DAYS, afresh=False) == shown_before
        assert shown(instance, DAYS) == shown_before
        assert {run.run_id for run in instance.get_runs()} == set(history.runs.values()) - set(plan.going)
        # what is left of a run that stays: its story and what is the newest
        page = ask(instance, RUN, run=history.runs["settle"])["runOrError"]
        kinds = {event["__typename"] for event in page["eventConnection"]["events"]}
        assert page["status"] == "SUCCESS"
        assert kinds == {
            "ExecutionStepStartEvent",
            "ExecutionStepSuccessEvent",
            "RunStartEvent",
            "RunSuccessEvent",
            "MaterializationEvent",
            "AssetMaterializationPlannedEvent",
        }
        failed = ask(instance, RUN, run=history.runs["thursday 2, which fails"])["runOrError"]
        assert "ExecutionStepFailureEvent" in {event["__typename"] for event in failed["eventConnection"]["events"]}
        # it is smaller, by what was said before and after
        rows_after, files_after = rows(instance), run_files(home)
        assert rows_before["event_logs"] - rows_after["event_logs"] == done.events > foretold.events > 0
        assert rows_before["asset_check_executions"] - rows_after["asset_check_executions"] == done.evaluations
        assert foretold.evaluations == done.evaluations > 0
        assert rows_after["asset_event_tags"] < rows_before["asset_event_tags"]
        assert (foretold.runs, foretold.thinned) == (3, 3)
        if history.kind == SQLITE:
            assert set(files_before) - set(files_after) == set(plan.going)
            assert all(files_after[run_id] < files_before[run_id] for run_id in plan.staying)
            assert done.file_bytes == sum(files_before.values()) - sum(files_after.values())
        # once more is nothing more
        again = purge(instance, plan_purge(instance, history.before, None))
        assert (again.runs, again.thinned, again.events, again.evaluations) == (0, 0, 0, 0)


@pytest.mark.parametrize("history", [SQLITE], indirect=True)
def test_deleting_every_old_run_would_show(history: History, tmp_path: Path) -> None:
    """What the purge is for, and that the test above can fail."""
    with history.copy(tmp_path) as (instance, _):
        before = shown(instance, DAYS)
        for run_id in plan_purge(instance, history.before, None).staying:
            instance.delete_run(run_id)

        assert shown(instance, DAYS) != before


@pytest.mark.parametrize("history", [SQLITE], indirect=True)
def test_what_is_superseded_goes_the_next_time(history: History, tmp_path: Path) -> None:
    with history.copy(tmp_path) as (instance, home):
        purge(instance, plan_purge(instance, history.before, None))
        clock = ManualClock(FRIDAY + 2 * HALF_AN_HOUR)
        market = shutil.copy(history.home.parent / "market.db", tmp_path)
        with (
            SimulatorServer(clock) as server,
            Collector(server, clock, f"sqlite:///{market}", universe=UNIVERSE) as later,
        ):
            later.instance = instance
            first, last = (WEDNESDAY - timedelta(days=1)).date(), THURSDAY.date()
            settled = later.collect(first, last, kind="settle").result.run_id
        before = shown(instance, DAYS)

        done = purge(instance, plan_purge(instance, history.before, None))

        assert done.runs == 3
        assert {run.run_id for run in instance.get_runs()} == {settled, history.runs["friday 2"]}
        assert shown(instance, DAYS) == before
        assert set(run_files(home)) == {settled, history.runs["friday 2"]}


@pytest.mark.parametrize(
    ("history", "killed"),
    [
        (SQLITE, "after two evaluations"),
        (SQLITE, "after a run was deleted"),
        (POSTGRESQL, "before a run is deleted"),
    ],
    indirect=["history"],
)
def test_a_purge_that_is_killed_is_finished_by_the_next(history: History, tmp_path: Path, killed: str) -> None:
    with history.copy(tmp_path) as (instance, home):
        before = shown(instance, DAYS)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        program = [sys.executable, "-c", _KILLED, str(home), history.before.isoformat(), killed]
        ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert shown(instance, DAYS) == before
        half_way = rows(instance)

        # a file without a run is old enough to be an orphan after an hour
        for run_id in run_files(home):
            os.utime(home / "history" / "runs" / f"{run_id}.db", (0, 0))
        done = purge(instance, plan_purge(instance, history.before, None))

        assert done.events > 0
        assert rows(instance)["event_logs"] < half_way["event_logs"]
        assert shown(instance, DAYS) == before
        kept = {
            run_id for name, run_id in history.runs.items() if name not in {"wednesday 1", "wednesday 2", "friday 1"}
        }
        assert {run.run_id for run in instance.get_runs()} == kept
        assert set(run_files(home)) == (kept if history.kind == SQLITE else set())


#: a purge that kills itself
_KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
import dagster as dg
from market_assets.automation import event_storage, retention

home, before, where = sys.argv[1:]
event_storage.BATCH_ROWS = 20
asked = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def may_go_on():
    global asked
    asked += 1
    if where == "after two evaluations" and asked == 3:
        die()
    return True

delete_run = dg.DagsterInstance.delete_run

def deadly(instance, run_id):
    if where == "before a run is deleted":
        die()
    delete_run(instance, run_id)
    die()

dg.DagsterInstance.delete_run = deadly
with dg.DagsterInstance.from_config(home) as instance:
    retention.purge(instance, retention.plan_purge(instance, datetime.fromisoformat(before), None), may_go_on)
"""


@pytest.mark.parametrize("history", [SQLITE], indirect=True)
def test_a_purge_stops_when_its_time_is_up(history: History, tmp_path: Path) -> None:
    with history.copy(tmp_path) as (instance, _):
        before = shown(instance, DAYS)
        plan = plan_purge(instance, history.before, None)
        runs_left = 3

        def one_more() -> bool:
            return len(instance.get_runs()) > len(history.runs) - 1

        done = purge(instance, plan, one_more)

        assert (done.runs, done.left) == (1, runs_left - 1)
        assert "2 runs are left" in str(done)
        assert shown(instance, DAYS) == before


@dg.job(executor_def=dg.in_process_executor)
def theirs() -> None:
    """A job of another code location on the same instance."""
    dg.op(name="their_op")(lambda: None)()


@pytest.mark.parametrize("history", [SQLITE], indirect=True)
def test_by_hand_and_by_the_job_only_old_runs_of_ours_go(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with history.copy(tmp_path) as (instance, home):
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        foreign = theirs.execute_in_process(instance=instance).run_id
        old = {run_id for name, run_id in history.runs.items() if name != "friday 2"}
        _age(instance, {*old, foreign}, days=31)
        before = shown(instance, DAYS)

        by_hand(None, "market_assets", dry_run=True)

        assert "Would go: 3 runs" in capsys.readouterr().out
        assert instance.get_runs_count() == len(history.runs) + 1
        by_hand(40, "market_assets", dry_run=False)
        assert "Purged 0 runs" in capsys.readouterr().out
        monkeypatch.setenv("RUN_RETENTION_DAYS", "0")
        with pytest.raises(typer.BadParameter, match="RUN_RETENTION_DAYS=0"):
            by_hand(None, "market_assets", dry_run=False)

        def the_job(**settings: Any) -> None:
            loaded = Settings.load(**settings)
            definitions = build_definitions(settings=loaded, universe=UNIVERSE, indicators=indicators_of(UNIVERSE))
            assert definitions.resolve_job_def(PURGE_JOB).execute_in_process(instance=instance).success

        the_job(run_retention_days=0)
        assert {run.run_id for run in instance.get_runs()} >= {*history.runs.values(), foreign}
        the_job(run_retention_days=30)

        gone = {history.runs[name] for name in ("wednesday 1", "wednesday 2", "friday 1")}
        left = {run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids=[*history.runs.values(), foreign]))}
        assert left == {*history.runs.values(), foreign} - gone
        assert shown(instance, DAYS) == before


def _age(instance: dg.DagsterInstance, runs: set[str], *, days: int) -> None:
    """Let the runs have ended so many days ago."""
    storage: Any = instance.run_storage
    then = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    with storage.connect() as connection:
        for run_id in runs:
            statement = sa.text("UPDATE runs SET update_timestamp = :then WHERE run_id = :run_id")
            connection.execute(statement, {"then": then.strftime("%Y-%m-%d %H:%M:%S.%f"), "run_id": run_id})


def _statuses(state: dict[str, Any]) -> set[str]:
    return {one["status"] for asset in state["assets"] for one in asset["assetPartitionStatuses"]["ranges"]}
