"""What a tick loads and how much memory it takes; and that the programs of `benchmarks/` still do what they measure."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.universe import UNIVERSE
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SECOND_TICK = FIRST_TICK + timedelta(minutes=30)

#: no part of a tick, whatever is installed
NEVER = {
    "apprise",
    "dagster_graphql",
    "dagster_k8s",
    "dagster_webserver",
    "fastapi",
    "kubernetes",
    "matplotlib",
    "plotly",
    "pytest",
    "starlette",
    "uvicorn",
    "market_assets.api",
    "market_assets.cli",
    "market_assets.sources.simulator",
}
#: loaded by what needs them, not when a run worker loads the code location and opens a migrated SQLite database. Later
#: others load them too: Dagster's SQLite storage asks alembic, and the cache of yfinance tries every driver there is
LATER = {"alembic", "curl_cffi", "exchange_calendars", "psycopg", "pymysql", "yfinance"}

START = """
from market_assets.definitions import build_definitions
from market_assets.opening import open_store
from market_assets.settings import Settings

settings = Settings.load()
build_definitions(settings=settings).get_repository_def().get_job("collect")
open_store(settings).close()
"""
TICK = """
from benchmarks import collect

sys.argv = ["collect", "--now", NOW]
collect.main()
"""
REPORT = """
import json
from pathlib import Path

peak = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(json.dumps({"modules": sorted(sys.modules), "peak_mib": int(peak[0]) / 1024}))
"""


def run(arguments: list[str], directory: Path, **environment: str) -> str:
    """Return what `python <arguments>` prints; its settings are `environment` alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    home = {"DAGSTER_HOME": str(directory / "dagster"), "YFINANCE_REQUEST_DELAY": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=directory,
        env=kept | home | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def report_of(program: str, directory: Path, database: Path, url: str) -> dict[str, Any]:
    code = f"import sys\nNOW = {SECOND_TICK.isoformat()!r}\n{program}\n{REPORT}"
    printed = run(["-c", code], directory, DATABASE_URL=f"sqlite:///{database}", YAHOO_BASE_URL=url)
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return report


@pytest.fixture
def loaded(workshop: Workshop, tmp_path: Path) -> Path:
    """A copy of the database after its first collection; the simulator stands at the second tick."""
    database, _ = workshop.prepared(UNIVERSE)
    workshop.clock.set(SECOND_TICK)
    return Path(shutil.copyfile(database, tmp_path / "loaded.db"))


def test_a_run_worker_starts_without_what_only_other_processes_or_later_steps_need(
    workshop: Workshop, loaded: Path, tmp_path: Path
) -> None:
    modules = set(report_of(START, tmp_path, loaded, workshop.simulator.url)["modules"])
    assert not modules & (NEVER | LATER)
    assert "market_assets.sources.yahoo" not in modules


def test_a_tick_works_without_pyarrow(workshop: Workshop, loaded: Path, tmp_path: Path) -> None:
    # pandas imports pyarrow wherever it is installed; nothing else of a tick may ask for it
    without = 'sys.modules["pyarrow"] = None'
    report = report_of(f"{without}\n{TICK}", tmp_path, loaded, workshop.simulator.url)
    assert not [name for name in report["modules"] if name.startswith("pyarrow.")]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_tick_loads_nothing_of_other_processes_and_stays_below_350_mib(
    workshop: Workshop, loaded: Path, tmp_path: Path
) -> None:
    report = report_of(TICK, tmp_path, loaded, workshop.simulator.url)
    assert "yfinance" in report["modules"]
    assert not set(report["modules"]) & NEVER
    assert report["peak_mib"] < 350


def test_the_plain_script_computes_the_same_feature_row(workshop: Workshop, tmp_path: Path) -> None:
    collector = workshop.bootstrapped(UNIVERSE)
    options = ["--database", str(tmp_path / "plain.db"), "--base-url", workshop.simulator.url]
    options += ["--now", FIRST_TICK.isoformat(), "--cache", str(tmp_path / "yfinance"), "--history-days", "59"]
    plain = json.loads(run(["-m", "benchmarks.reference.plain_tick", *options], tmp_path))
    assert len(plain) == 58
    row = collector.row(FIRST_TICK.replace(minute=0))
    for column, value in plain.items():
        assert math.isclose(row[column], value, rel_tol=1e-9, abs_tol=1e-9), column


def test_the_empty_graph_of_the_benchmark_has_the_steps_of_a_tick(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'unused.db'}"
    run(["-m", "benchmarks.empty", "--now", FIRST_TICK.isoformat()], tmp_path, DATABASE_URL=database)
    assert list(tmp_path.glob("dagster/history/runs/*-*.db"))
    assert not (tmp_path / "unused.db").exists()
