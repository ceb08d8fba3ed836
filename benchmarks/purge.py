"""A year of ticks in Dagster's storage, and what it costs to purge all but the last month.

    python -m benchmarks.purge --storage sqlite
    python -m benchmarks.purge --storage postgresql

Two runs are real: a tick of one day and a settle run of ten days, of a job with three assets and nine checks, a tenth
of the collector's. Every other run is a copy of their rows (and, on SQLite, of their files) with its own id, day and
times: 48 ticks and a settle run a day. The last tick is real again. Events are padded to the size of the collector's.
"""

import argparse
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

from market_assets.automation.retention import plan_purge, preview, purge
from market_assets_tests.databases import POSTGRESQL, SQLITE, permanent_database
from market_assets_tests.integration.dagster_state import instance_at

_DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
_PADDING = "x" * 3000
#: rows inserted at once
_CHUNK = 5000
_TICKS = 48


def _asset(name: str) -> dg.AssetsDefinition:
    checks = [dg.AssetCheckSpec(f"check_{number}", asset=name) for number in range(3)]

    @dg.asset(name=name, partitions_def=_DAYS, check_specs=checks, backfill_policy=dg.BackfillPolicy.single_run())
    def made() -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
        yield dg.Output(None, metadata={"preview": _PADDING})
        for check in checks:
            yield dg.AssetCheckResult(check_name=check.name, passed=True, metadata={"offenders": _PADDING[:600]})

    return made


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)
    DEFINITIONS = dg.Definitions(
        assets=[_asset(f"asset_{number}") for number in range(3)],
        jobs=[dg.define_asset_job("collect")],
        resources={"io_manager": dg.mem_io_manager},
        executor=dg.in_process_executor,
    )


class Template:
    """The rows that one real run left."""

    def __init__(self, instance: dg.DagsterInstance, first: date, last: date) -> None:
        self.first, self.last = first, last
        single = first == last
        tags = {
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        done = DEFINITIONS.resolve_job_def("collect").execute_in_process(
            instance=instance,
            partition_key=first.isoformat() if single else None,
            tags=None if single else tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        self.run_id = done.run_id
        events: Any = instance.event_log_storage
        runs: Any = instance.run_storage
        with events.index_connection() as connection:
            self.events = _rows(connection, SqlEventLogStorageTable, self.run_id)
            self.checks = _rows(connection, AssetCheckExecutionsTable, self.run_id)
            ids = [row["id"] for row in self.events]
            tags_of = sa.select(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids))
            self.tags = [dict(row) for row in connection.execute(tags_of).mappings()]
        with runs.connect() as connection:
            self.run = _rows(connection, RunsTable, self.run_id)[0]
            self.run_tags = _rows(connection, RunTagsTable, self.run_id)
        self.file = Path(events.path_for_shard(self.run_id)) if events.is_run_sharded else None


class Copies:
    """Copies of templates, gathered and written in bulk."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        events: Any = instance.event_log_storage
        runs: Any = instance.run_storage
        self._events, self._runs = events, runs
        self._gathered: dict[sa.Table, list[dict[str, Any]]] = {}
        with self._events.index_connection() as connection:
            self._event_id = int(connection.execute(sa.select(sa.func.max(SqlEventLogStorageTable.c.id))).scalar_one())

    def add(self, template: Template, first: date, at: datetime) -> None:
        """Copy the run for the days from `first` on, as if it had run at `at`."""
        run_id = str(uuid.uuid4())
        shift = first - template.first
        length = (template.last - template.first).days + 1
        days = {(template.first + timedelta(days=day)).isoformat(): "" for day in range(length)}
        days = {day: (date.fromisoformat(day) + shift).isoformat() for day in days}

        def told(text: str | None) -> str | None:
            if text is None:
                return None
            text = text.replace(template.run_id, run_id)
            # later days first, so that no day is replaced twice
            for day in sorted(days, reverse=shift > timedelta(0)):
                text = text.replace(day, days[day])
            return text

        naive = at.replace(tzinfo=None)
        ids = {}
        for row in template.events:
            self._event_id += 1
            ids[row["id"]] = self._event_id
            changed = {"id": self._event_id, "run_id": run_id, "event": told(row["event"]), "timestamp": naive}
            self._gather(SqlEventLogStorageTable, row | changed | {"partition": told(row["partition"])})
        for row in template.tags:
            self._gather(AssetEventTagsTable, row | {"event_id": ids[row["event_id"]], "event_timestamp": naive})
        for row in template.checks:
            changed = {"run_id": run_id, "evaluation_event": told(row["evaluation_event"]), "create_timestamp": naive}
            stored = {
                name: ids.get(row[name]) for name in ("evaluation_event_storage_id", "materialization_event_storage_id")
            }
            more = {"partition": told(row["partition"]), "evaluation_event_timestamp": naive}
            self._gather(AssetCheckExecutionsTable, row | changed | stored | more)
        stamps = {"create_timestamp": naive, "update_timestamp": naive}
        body = {
            "run_id": run_id,
            "run_body": told(template.run["run_body"]),
            "partition": told(template.run["partition"]),
        }
        self._gather(RunsTable, template.run | body | stamps)
        for row in template.run_tags:
            self._gather(RunTagsTable, row | {"run_id": run_id, "value": told(row["value"])})
        if template.file is not None:
            shutil.copyfile(template.file, template.file.with_name(f"{run_id}.db"))
        if len(self._gathered[SqlEventLogStorageTable]) >= _CHUNK:
            self.write()

    def _gather(self, table: sa.Table, row: dict[str, Any]) -> None:
        if table is not SqlEventLogStorageTable:
            row = {name: value for name, value in row.items() if name != "id"}
        self._gathered.setdefault(table, []).append(row)

    def write(self) -> None:
        """Write what was gathered."""
        with self._events.index_connection() as connection:
            for table in (SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable):
                if self._gathered.get(table):
                    connection.execute(sa.insert(table), self._gathered[table])
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT setval('event_logs_id_seq', :last)"), {"last": self._event_id})
        with self._runs.connect() as connection:
            for table in (RunsTable, RunTagsTable):
                if self._gathered.get(table):
                    connection.execute(sa.insert(table), self._gathered[table])
        self._gathered.clear()
        self._gathered[SqlEventLogStorageTable] = []


def _rows(connection: sa.Connection, table: sa.Table, run_id: str) -> list[dict[str, Any]]:
    found = connection.execute(sa.select(table).where(table.c.run_id == run_id).order_by(table.c.id))
    return [dict(row) for row in found.mappings()]


def a_year(instance: dg.DagsterInstance, days: int, now: datetime) -> None:
    """Fill `instance` with `days` days of ticks up to `now`, and end with a real one."""
    today = now.date()
    tick = Template(instance, today, today)
    settle = Template(instance, today - timedelta(days=10), today - timedelta(days=1))
    copies = Copies(instance)
    for back in range(days, -1, -1):
        day = today - timedelta(days=back)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for number in range(_TICKS):
            at = midnight + number * timedelta(minutes=30, seconds=5)
            if number == 4:
                copies.add(settle, day - timedelta(days=10), at)
            if at < now:
                copies.add(tick, day, at)
    copies.write()
    for template in (tick, settle):
        instance.delete_run(template.run_id)
        if template.file is not None:
            template.file.unlink()
    Template(instance, today, today)


def state(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Return the newest events and evaluations of every partition, by Dagster's own questions."""
    storage: Any = instance.event_log_storage
    found: dict[str, Any] = {}
    for key in instance.get_asset_keys():
        found[key.to_user_string()] = [
            storage.get_latest_storage_id_by_partition(key, kind)
            for kind in (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        ]
        checks = [dg.AssetCheckKey(key, f"check_{number}") for number in range(3)]
        infos = storage.get_asset_check_partition_info(checks)
        found[f"checks of {key.to_user_string()}"] = sorted(infos, key=str)
    return found


def sizes(instance: dg.DagsterInstance, home: Path) -> dict[str, float]:
    """Return rows, and megabytes of tables or files."""
    events: Any = instance.event_log_storage
    runs: Any = instance.run_storage
    found: dict[str, float] = {"runs": instance.get_runs_count()}
    tables = ("event_logs", "asset_event_tags", "asset_check_executions")
    with events.index_connection() as connection:
        for table in tables:
            found[table] = connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one()  # noqa: S608
        if connection.dialect.name == "postgresql":
            size = sa.text("SELECT pg_database_size(current_database())")
            found["MB of the database"] = round(int(connection.execute(size).scalar_one()) / 1e6)
            for table in tables:
                used = sa.text(f"SELECT pg_total_relation_size('{table}')")
                found[f"MB of {table}"] = round(connection.execute(used).scalar_one() / 1e6)
            return found
        pages = {
            name: connection.execute(sa.text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        }
    files = [path for path in home.glob("history/runs/*.db*") if not path.name.startswith("index.")]
    found["files"] = len(files)
    found["MB of the runs' files"] = round(sum(path.stat().st_size for path in files) / 1e6)
    found["MB of index.db"] = round(pages["page_count"] * pages["page_size"] / 1e6)
    found["MB of it in use"] = round((pages["page_count"] - pages["freelist_count"]) * pages["page_size"] / 1e6)
    with runs.connect() as connection:
        found["MB of runs.db"] = round((home / "history" / "runs.db").stat().st_size / 1e6)
    return found


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(
        f"{what}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU s of this process", flush=True
    )


def main() -> None:
    """Fill, purge, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=[SQLITE, POSTGRESQL], default=SQLITE)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--keep", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        database = permanent_database(POSTGRESQL, home) if asked.storage == POSTGRESQL else None
        with instance_at(home, database) as instance:
            now = datetime.now(UTC)
            with timed(f"{asked.days} days written"):
                a_year(instance, asked.days, now)
            print("before", sizes(instance, home), flush=True)
            before = state(instance)
            cutoff = now - timedelta(days=asked.keep)
            with timed("planned"):
                plan = plan_purge(instance, cutoff, None)
            with timed("foretold"):
                print("would purge", preview(instance, plan), flush=True)
            with timed("purged"):
                print("purged", purge(instance, plan), flush=True)
            print("after", sizes(instance, home), flush=True)
            assert state(instance) == before, "the state of a partition has changed"
            with timed("a night later"):
                later = plan_purge(instance, cutoff + timedelta(days=1), None)
                print("purged", purge(instance, later), flush=True)
            assert state(instance) == before, "the state of a partition has changed"
            if asked.storage == POSTGRESQL:
                engine = sa.create_engine(str(database), isolation_level="AUTOCOMMIT")
                for how in ("VACUUM", "VACUUM FULL"):
                    with timed(how), engine.connect() as connection:
                        connection.execute(sa.text(how))
                    print(how, sizes(instance, home), flush=True)


if __name__ == "__main__":
    main()
