import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from market_assets.event_log import _MOST_OPEN, PooledSqliteEventLogStorage
from market_assets.run import ensure_dagster_home

pytestmark = pytest.mark.integration


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="thing")])
def thing() -> Iterator[dg.Output[int] | dg.AssetCheckResult]:
    yield dg.Output(1)
    yield dg.AssetCheckResult(passed=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return ensure_dagster_home()


def materialize(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions(assets=[thing], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance).run_id


def test_a_home_made_by_the_command_line_keeps_its_event_log_open(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.root_directory == str(home)
        assert type(instance.event_log_storage) is PooledSqliteEventLogStorage


def test_dagsters_own_class_reads_what_was_written_and_the_other_way_round(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        first = materialize(instance)
    config = yaml.safe_load((home / "dagster.yaml").read_text())
    del config["event_log_storage"]
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        second = materialize(instance)
        stored = instance.event_log_storage.get_logs_for_run(first)
        assert stored[-1].dagster_event_type is dg.DagsterEventType.RUN_SUCCESS
    with_pool = PooledSqliteEventLogStorage(str(home))
    assert len(with_pool.get_logs_for_run(second)) == len(stored)
    assert with_pool.has_asset_key(dg.AssetKey("thing"))
    with_pool.dispose()


def test_a_run_opens_its_file_once_however_many_events_it_writes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []
    connect = sqlite3.connect

    def counting(path: str, *arguments: object, **options: object) -> sqlite3.Connection:
        connected.append(Path(path).stem)
        connection: sqlite3.Connection = connect(path, *arguments, **options)  # type: ignore[call-overload]
        return connection

    with dg.DagsterInstance.get() as instance:
        monkeypatch.setattr(sqlite3, "connect", counting)
        run_id = materialize(instance)
        assert len(instance.event_log_storage.get_logs_for_run(run_id)) > 10
    assert connected.count(run_id) <= 4  # Dagster sets the tables up; then there is one connection for all events
    assert home.joinpath("history", "runs", f"{run_id}.db").exists()


def test_who_watches_a_run_is_told_of_each_event_though_the_file_stays_open(home: Path) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    with dg.DagsterInstance.get() as instance:
        run_id = materialize(instance)
        stored = instance.all_logs(run_id)
        watching = PooledSqliteEventLogStorage(str(home))  # as the UI does, in a process of its own
        watching.watch(run_id, None, lambda event, _cursor: told.put(event.run_id))
        try:
            for news in (len(stored) + 1, 1):  # at first all that is there
                instance.event_log_storage.store_event(stored[0])
                assert [told.get(timeout=20) for _ in range(news)] == [run_id] * news
        finally:
            watching.dispose()


def test_files_of_many_runs_do_not_all_stay_open(tmp_path: Path) -> None:
    storage = PooledSqliteEventLogStorage(str(tmp_path))
    for number in range(2 * _MOST_OPEN):
        with storage.run_connection(f"run-{number}"):
            pass
        with storage.index_connection():
            pass
    assert len(storage._engines) == _MOST_OPEN
    assert "index" in storage._engines
    storage.dispose()
    assert not storage._engines


def test_events_of_a_wiped_log_are_gone_and_new_ones_are_kept(home: Path) -> None:
    assert home.is_dir()
    with dg.DagsterInstance.get() as instance:
        before = materialize(instance)
        instance.event_log_storage.wipe()
        assert instance.event_log_storage.get_logs_for_run(before) == []
        after = materialize(instance)
        assert instance.event_log_storage.get_logs_for_run(after)
