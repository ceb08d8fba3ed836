"""Every setting changes what the program does: each is set in the environment of `market-assets` itself."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy.engine import make_url

from market_assets.collection.build import build_macro_rows
from market_assets.collection.days import DayRange
from market_assets.indicators import INDICATORS
from market_assets.settings import Settings
from market_assets.sources.simulator import Fault
from market_assets.store import AlertState, CollectionLock, Decision
from market_assets.store.tables import CRYPTO_ML_FEATURES, MACRO_INDICATORS
from market_assets.universe import UNIVERSE
from market_assets_tests.alerts.receivers import webhook
from market_assets_tests.databases import MARIADB, POSTGRESQL, empty_database
from market_assets_tests.fakes import TimedRequests
from market_assets_tests.integration.programs import (
    Program,
    _real_time_simulator,
    program,
    quickstarted,
    yahoo,
)

if TYPE_CHECKING:
    from market_assets.sources.simulator import SimulatorServer

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration


def charts(yahoo: SimulatorServer, symbol: str | None = None) -> list[float]:
    """Return when (monotonic seconds) chart requests came in, in order."""
    assert isinstance(yahoo.requests, TimedRequests)
    both = zip(yahoo.requests, yahoo.requests.seconds, strict=True)
    return [at for request, at in both if request.symbol is not None and symbol in {None, request.symbol}]


def test_the_interval_sets_the_grid_and_the_log_level_and_the_delay_are_what_the_server_sees(
    program: Program, yahoo: SimulatorServer
) -> None:
    """COLLECTION_INTERVAL_MINUTES, LOG_LEVEL, YFINANCE_REQUEST_DELAY."""
    # a database of its own: rows that are stored stay, whatever the interval becomes
    new = f"sqlite:///{program.directory / 'new.db'}"
    interval = {"COLLECTION_INTERVAL_MINUTES": "180", "DATABASE_URL": new}
    done = program.run("collect", LOG_LEVEL="DEBUG", YFINANCE_REQUEST_DELAY="0.06", **interval)
    assert done.status == 0, done.err
    today = datetime.now(UTC).date()
    rows = program.run("features", "--start", f"{today}", "-f", "json", "--only", "spy_price", DATABASE_URL=new).json()
    times = [datetime.fromisoformat(row["observed_at"]) for row in rows]
    assert [(at.hour % 3, at.minute) for at in times] == [(0, 0)] * len(times)
    # each request is told, with what came of it and how long it took
    told = re.findall(
        r"DEBUG market_assets.sources.pool: \S+ \S+ \S+: \d+ bars in \d+\.\d{3} s \(attempt 1\)", done.err
    )
    assert len(told) == len(charts(yahoo)) >= 19
    # the first ones wait for cookie and crumb and arrive together
    starts = charts(yahoo)[8:]
    assert starts[-1] - starts[0] >= 0.9 * 0.06 * (len(starts) - 1)


def test_the_log_is_silent_at_warning_and_as_many_requests_are_under_way_as_there_are_workers(
    program: Program, yahoo: SimulatorServer
) -> None:
    """LOG_LEVEL, YAHOO_WORKERS, YAHOO_BASE_URL, DATABASE_URL."""
    yahoo.latency = timedelta(milliseconds=40)
    other = program.directory / "other.db"
    other.write_bytes(program.database.read_bytes())
    before = program.database.read_bytes()
    done = program.run("collect", LOG_LEVEL="WARNING", YAHOO_WORKERS="2", DATABASE_URL=f"sqlite:///{other}")
    assert (done.status, done.err) == (0, "")
    assert len(charts(yahoo)) >= 19
    assert yahoo.in_flight_peak == 2
    # the database that DATABASE_URL names was written, the usual one was not
    assert program.database.read_bytes() == before
    assert other.read_bytes() != before


def test_requests_are_repeated_waited_for_and_rested_after_a_rate_limit_as_is_set(
    program: Program, yahoo: SimulatorServer
) -> None:
    """YAHOO_ATTEMPTS, YAHOO_TIMEOUT_SECONDS, YAHOO_BACKOFF_SECONDS, YAHOO_WORKERS; two tickers fail, no other does."""
    yahoo.faults.add(Fault(kind="server_error", symbol="QQQ"))
    yahoo.faults.add(Fault(kind="hang", symbol="TLT"))
    yahoo.faults.add(Fault(kind="rate_limited", symbol="ETH-USD", times=1))
    done = program.run(
        "collect",
        YAHOO_ATTEMPTS="2",
        YAHOO_TIMEOUT_SECONDS="0.5",
        YAHOO_BACKOFF_SECONDS="1",
        LOG_LEVEL="DEBUG",
    )
    assert done.status == 0, done.err
    assert yahoo.in_flight_peak > 2
    assert re.search(r"ETH \S+ \S+: rate limited, going on in [12] s", done.err)
    windows = {symbol: {one.interval for one in yahoo.requests if one.symbol == symbol} for symbol in ("QQQ", "TLT")}
    assert len(charts(yahoo, "QQQ")) == 2 * len(windows["QQQ"])
    waited = [float(seconds) for seconds in re.findall(r"TLT \S+ \S+: timeout in (\d+\.\d+) s", done.err)]
    assert len(waited) == len(charts(yahoo, "TLT")) == 2 * len(windows["TLT"])
    assert all(0.4 < seconds < 5 for seconds in waited)
    assert "Collected 17 of 19 tickers" in done.out
    assert {"QQQ (unavailable)", "TLT (timeout)"} == set(re.findall(r"[A-Z]+ \([a-z]+\)", done.err.splitlines()[-1]))
    state = program.run("status", "--json").json()
    assert state["tickers"]["QQQ"]["last_error"]["message"].startswith("unavailable: ")
    assert state["tickers"]["SPY"]["last_error"] is None
    assert state["collections"][0]["status"] == "partial"


def test_another_collection_is_waited_for_as_long_as_is_set(program: Program) -> None:
    """COLLECTION_LOCK_WAIT_SECONDS; COLLECTION_LEASE_SECONDS is proved by killing a collection."""
    with program.store() as store, CollectionLock(store).acquire("someone else"):
        began = time.monotonic()
        done = program.run("collect", COLLECTION_LOCK_WAIT_SECONDS="0.5")
    assert done.status == 1
    assert time.monotonic() - began < 60
    assert "waiting up to 0 s for another collection" in done.err or "waiting up to 1 s" in done.err
    assert "Failed. the collection lock is held by someone else since " in done.err


def test_your_own_crypto_table_is_the_left_side_of_the_join(program: Program) -> None:
    """CRYPTO_PRICES_TABLE, CRYPTO_PRICES_COLUMNS; MACRO_INDICATORS_COMPAT in the same collection."""
    stamp = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)
    with closing(sqlite3.connect(program.database)) as database, database:
        database.execute("CREATE TABLE prices (ts DATETIME, symbol TEXT, close_usd REAL, volume REAL, market_cap REAL)")
        database.execute("INSERT INTO prices VALUES (?, 'BTC', 42.5, 1, 7e11)", [stamp.isoformat(" ")])
    own = {"CRYPTO_PRICES_TABLE": "prices", "CRYPTO_PRICES_COLUMNS": "timestamp=ts,price=close_usd"}
    done = program.run("collect", MACRO_INDICATORS_COMPAT="1", **own)
    assert done.status == 0, done.err
    with program.store() as store:
        frame = store.read(CRYPTO_ML_FEATURES)
        # as many lines as closes are known at this hour, and the scope that says that they were looked for
        today = DayRange.of(stamp.replace(tzinfo=UTC))
        with store.snapshot() as snapshot:
            wanted = build_macro_rows(snapshot, today, timedelta(minutes=30), UNIVERSE, INDICATORS)
        assert len(store.read(MACRO_INDICATORS)) == len(wanted.replacements[0].frame)
        assert store.covered_days("ml_macro_indicators", "", today.first, today.last + timedelta(days=1)) == {
            today.first
        }
    joined = frame.loc[frame["timestamp"].dt.date == stamp.date()]
    assert joined[["symbol", "price", "market_cap"]].to_numpy().tolist() == [["BTC", 42.5, 7e11]]
    # naive timestamps of the user's table are UTC
    assert joined["timestamp"].tolist() == [stamp.replace(tzinfo=UTC)]


def test_the_api_reads_a_replica_and_asks_dagster_as_often_as_is_set(program: Program) -> None:
    """DATABASE_READ_URL, API_TOKEN, API_COLLECT_PER_HOUR, DAGSTER_GRAPHQL_URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = "a token of this test"  # noqa: S105
    settings = {
        "DATABASE_URL": f"sqlite:///{program.directory / 'nowhere.db'}",
        "DATABASE_READ_URL": f"sqlite:///{program.database}",
        "API_TOKEN": token,
        "API_COLLECT_PER_HOUR": "1",
        "DAGSTER_GRAPHQL_URL": "http://127.0.0.1:1/graphql",
        "LOG_LEVEL": "ERROR",
    }
    url, bearer = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}
    with program.started("serve", "--port", str(port), **settings):
        limit = time.monotonic() + 60
        while True:
            try:
                row = httpx2.get(f"{url}/ml-features")
                break
            except httpx2.TransportError:
                assert time.monotonic() < limit
                time.sleep(0.1)
        assert row.json()["feature_count"] >= 35
        assert httpx2.post(f"{url}/collect").status_code == 401
        # the webserver is asked whether a run is under way before a start is counted
        refused = httpx2.post(f"{url}/collect", headers=bearer)
        assert (refused.status_code, "DAGSTER_GRAPHQL_URL=http://127.0.0.1:1/graphql" in refused.text) == (502, True)


def test_runs_are_kept_as_long_as_is_set(program: Program) -> None:
    """RUN_RETENTION_DAYS."""
    kept = program.run("purge", "--dry-run", RUN_RETENTION_DAYS="400")
    assert kept.status == 0, kept.err
    assert "400 days ago" in kept.err
    forever = program.run("purge", "--dry-run", RUN_RETENTION_DAYS="0")
    assert forever.status == 2
    assert "RUN_RETENTION_DAYS=0 keeps runs for ever" in " ".join(forever.err.replace("│", " ").split())


def test_the_target_and_the_threshold_decide_what_is_healthy_and_what_is_highly_correlated(program: Program) -> None:
    """ML_FEATURE_COUNT_TARGET, HIGH_CORRELATION_THRESHOLD."""
    low = program.run("status", "--json", ML_FEATURE_COUNT_TARGET="1", HIGH_CORRELATION_THRESHOLD="0.01")
    high = program.run("status", "--json", ML_FEATURE_COUNT_TARGET="59", HIGH_CORRELATION_THRESHOLD="1.0")
    assert (low.status, high.status) == (0, 1)
    assert (low.json()["latest_row"]["target_met"], high.json()["latest_row"]["target_met"]) == (True, False)
    assert len(low.json()["highly_correlated"]) > 10
    assert high.json()["highly_correlated"] == []
    assert "target 59: missed" in program.run("features", ML_FEATURE_COUNT_TARGET="59").out


_LOCATION = """
from datetime import datetime, timezone
from market_assets.automation.schedules import settle_days
from market_assets.definitions import build_definitions
from market_assets.settings import Settings
settings = Settings.load()
definitions = build_definitions(settings=settings)
print({one.name: one.cron_schedule for one in definitions.schedules}["collect_tick"])
print(definitions.resolve_job_def("collect").partitions_def.get_first_partition_key())
print(len(settle_days(datetime(2026, 3, 2, tzinfo=timezone.utc), settings)))
features = next(one for one in definitions.assets if "ml_features" in str(one.keys))
print(features.backfill_policy.max_partitions_per_run)
"""


def test_the_schedule_the_partitions_and_the_settle_run_follow_the_settings(program: Program) -> None:
    """COLLECTION_INTERVAL_MINUTES, SETTLE_MINUTES, SETTLE_DAYS, COLLECTION_START_DATE, BACKFILL_DAYS_PER_RUN."""
    usual = Settings.load().backfill_days_per_run
    assert program.python(_LOCATION).split("\n") == ["1,31 * * * *", "2017-01-01", "10", str(usual), ""]
    changed = program.python(
        _LOCATION,
        COLLECTION_INTERVAL_MINUTES="360",
        SETTLE_MINUTES="20",
        SETTLE_DAYS="3",
        COLLECTION_START_DATE="2024-05-06",
        BACKFILL_DAYS_PER_RUN="7",
    )
    assert changed.split("\n") == ["20 0,6,12,18 * * *", "2024-05-06", "3", "7", ""]
    refused = program.run("collect", "--start", "2024-05-05", COLLECTION_START_DATE="2024-05-06")
    assert refused.status == 2
    assert "2024-05-05 lies before COLLECTION_START_DATE" in " ".join(refused.err.replace("│", " ").split())


def parts_of(prefix: str, url: str) -> dict[str, str]:
    """Return the settings that stand for a database URL."""
    parsed = make_url(url)
    found: dict[str, Any] = {
        "HOST": parsed.query.get("host", parsed.host),
        "PORT": parsed.port,
        "DATABASE": parsed.database,
        "USER": parsed.username,
        "PASSWORD": parsed.password,
    }
    return {f"{prefix}_{name}": str(value) for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [(POSTGRESQL, "POSTGRES"), pytest.param(MARIADB, "MYSQL", marks=pytest.mark.mariadb)],
)
def test_a_server_is_found_by_its_parts_and_must_be_migrated_first(
    program: Program, tmp_path: Path, kind: str, prefix: str
) -> None:
    """POSTGRES_* and MYSQL_*: HOST, PORT, DATABASE, USER, PASSWORD."""
    with empty_database(kind, tmp_path) as url:
        parts = parts_of(prefix, url)
        early = program.run("status", **parts)
        assert early.status == 1
        assert "has no tables yet: run `market-assets migrate`" in early.err
        assert program.run("migrate", **parts).out.startswith("Created the schema of ")
        state = program.run("status", "--json", **parts).json()
        assert make_url(url).database in state["database"]["url"]
        assert state["rows_are_from"] is None
        # each part counts
        wrong = parts | {f"{prefix}_PORT": "1"} if prefix == "MYSQL" else parts | {f"{prefix}_DATABASE": "nowhere"}
        assert program.run("status", **wrong).status == 1


def test_alerts_go_where_they_are_told_to_and_point_where_they_should(program: Program) -> None:
    """ALERT_URLS, DAGSTER_UI_URL, RUNBOOK_URL; HEARTBEAT_URL is proved by test_alert_sensors.py."""
    with webhook() as hook:
        urls = {"ALERT_URLS": f"json://127.0.0.1:{hook.port}/a json://127.0.0.1:{hook.port}/b"}
        done = program.run("alerts", "test", RUNBOOK_URL="https://docs.test/runbook", **urls)
        assert (done.status, len(hook.posts)) == (0, 2)
        assert "https://docs.test/runbook" in hook.posts[0]["message"]
        with program.store() as store:
            broken = AlertState("no_lookahead", "ml_features", True, "error", 1, store.now(), store.now(), "run-7")  # noqa: FBT003
            store.alerts.decide(lambda _states, _waiting: Decision(states=[broken]))
        program.run("watch", "--once", DAGSTER_UI_URL="https://dagster.test/", **urls)
    assert "https://dagster.test/runs/run-7" in hook.posts[2]["message"]
    assert program.run("watch", "--once", DAGSTER_UI_URL="dagster.test").status == 2


def test_the_cool_down_and_the_hour_of_the_daily_message_are_what_is_set(program: Program) -> None:
    """ALERT_COOLDOWN_MINUTES, ALERT_HEARTBEAT_HOUR."""
    with webhook() as hook, program.store() as store:
        urls = {"ALERT_URLS": f"json://127.0.0.1:{hook.port}/"}
        now = store.now()
        held = AlertState(
            "no_lookahead", "ml_features", failing=True, severity="error", failures=1, since=now, evaluated_at=now,
            told_at=now - timedelta(minutes=20), loudest="error",
        )  # fmt: skip
        store.alerts.decide(lambda _states, _waiting: Decision(states=[held]))
        program.run("watch", "--once", ALERT_COOLDOWN_MINUTES="60", **urls)
        assert hook.titles == []
        program.run("watch", "--once", ALERT_COOLDOWN_MINUTES="10", **urls)
        assert hook.titles == ["Market collector: ERROR no_lookahead broke: ml_features"]
        hour = str(datetime.now(UTC).hour)
        program.run("watch", "--once", ALERT_HEARTBEAT_HOUR=hour, **urls)
        program.run("watch", "--once", ALERT_HEARTBEAT_HOUR=hour, **urls)
    assert len(hook.titles) == 2
    assert hook.titles[1].startswith("Market collector: open at ")


def test_no_setting_was_forgotten() -> None:
    """This file, or the test it refers to, names every setting there is."""
    text = Path(__file__).read_text(encoding="utf-8")
    named = {name for name in Settings.model_fields if name.upper() in text}
    parts = {
        f"{kind}_{part}" for kind in ("mysql", "postgres") for part in ("host", "port", "database", "user", "password")
    }
    assert named | parts == set(Settings.model_fields)
