"""What goes wrong stays where it went wrong, is seen, and is never reported as done."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import sqlalchemy as sa

from market_assets.overview import run_summary
from market_assets.row_texts import null_reasons
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store import CollectionLock, DayState
from market_assets.store.tables import ML_INDICATORS
from market_assets_tests.fakes import Collector, small_universe, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collected
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
TODAY = FIRST_TICK.date()
SECOND_TICK = FIRST_TICK + timedelta(minutes=30)
HALF_PAST = SECOND_TICK.replace(minute=30)
#: seven tickers; the indicators tech_leadership (QQQ, SPY) and credit_spreads (HYG, LQD)
SEVEN = small_universe(("QQQ", "SPY", "HYG", "LQD", "JPYUSD", "VIX", "BTC"))


def test_tickers_that_are_down_harm_nobody_else_and_come_back(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, yahoo_timeout_seconds=1.0)
    server = workshop.simulator
    down = {"QQQ": "symbol_not_found", "HYG": "unavailable", "LQD": "malformed", "VIX": "empty", "JPYUSD": "timeout"}
    for symbol, kind in [
        ("QQQ", FaultKind.NOT_FOUND),
        ("HYG", FaultKind.SERVER_ERROR),
        ("LQD", FaultKind.TRUNCATED),
        ("^VIX", FaultKind.EMPTY),
        ("JPY=X", FaultKind.HANG),
    ]:
        server.faults.add(Fault(kind=kind, symbol=symbol))

    tick = collector.at(SECOND_TICK).collect()

    assert tick.success, tick.failed_steps
    assert tick.status == "partial"
    _assert_unharmed_but(tick, down)
    assert tick.skipped_steps >= {"indicator__tech_leadership", "indicator__credit_spreads"}
    # the bar that was due since stands in the ledger; an answer without it is a hole at the source
    gaps = collector.store.runs.states(TODAY, TODAY + timedelta(days=1), tickers=list(down))
    gaps = [entry for entry in gaps if entry.state not in {DayState.OK, DayState.CLOSED}]
    assert {(entry.ticker, entry.interval, entry.state) for entry in gaps} == {
        (name, "15m", DayState.HOLE_AT_SOURCE if name == "VIX" else DayState.FETCH_FAILED) for name in down
    }
    assert all(down[entry.ticker] in (entry.detail or "") for entry in gaps if entry.ticker != "VIX")
    # the last price carries for a while, with its age
    row = collector.row(HALF_PAST)
    assert row["origin"] == "live"
    assert row["ml_spy_price"] == true_price(server, "SPY", HALF_PAST)
    assert row["ml_qqq_price"] == true_price(server, "QQQ", FIRST_TICK)
    assert '"QQQ":[30,15,"open"]' in row["ages"]
    # and is NULL with a reason, never 0, once it is too old; so is what needs it
    late = collector.at(FIRST_TICK + timedelta(hours=2)).collect()
    assert late.success
    five = FIRST_TICK.replace(hour=17, minute=0)
    row = collector.row(five)
    missing = {
        "ml_qqq_price", "ml_qqq_change_1d", "ml_hyg_price", "ml_hyg_change_1d", "ml_lqd_price", "ml_lqd_change_1d",
        "ml_jpyusd_price", "ml_jpyusd_change_1d", "ml_vix_price", "ml_vix_change_1d",
        "ml_tech_leadership", "ml_credit_spreads",
    }  # fmt: skip
    assert {name for name in collector.columns if row[name] != row[name]} == missing
    reasons = null_reasons(row["reasons"], SEVEN)
    assert {reasons[name] for name in missing if "_price" in name or "_change_1d" in name} == {"stale"}
    assert reasons["ml_credit_spreads"].endswith("stale")
    assert row["feature_count"] <= len(collector.columns) - len(missing)
    # indicators have no row for times at which they could not be computed
    assert collector.store.read(ML_INDICATORS, start=HALF_PAST, series=["credit_spreads"]).empty

    server.faults.clear()
    served = row
    back = collector.at(FIRST_TICK + timedelta(hours=2, minutes=30)).collect()

    assert back.status == "ok"
    assert collector.row(FIRST_TICK.replace(hour=17, minute=30))[list(collector.columns)].notna().all()
    # the hole in the day is filled by later knowledge, labelled so, and what was served is still there
    healed = collector.row(five)
    assert (healed["origin"], healed["ml_qqq_price"]) == ("catch_up", true_price(server, "QQQ", five))
    then = collector.row(five, as_of=served["known_from"])
    assert then["origin"] == "live"
    assert then["reasons"] == served["reasons"]
    states = collector.store.runs.states(TODAY, TODAY + timedelta(days=1), tickers=list(down))
    assert {entry.state for entry in states if entry.interval == "15m"} == {DayState.LATE}
    assert {entry.state for entry in states if entry.interval == "1d"} == {DayState.CLOSED}


def _assert_unharmed_but(tick: Collected, down: dict[str, str]) -> None:
    """Check the outcome of each ticker: those `down` (name: cause) are not materialized and fail their check."""
    materialized = {name.removeprefix("ticker/") for name in tick.materialized if name.startswith("ticker/")}
    assert materialized == {ticker.name for ticker in SEVEN} - set(down)
    for name, check in tick.checks.items():
        assert check.severity is dg.AssetCheckSeverity.ERROR
        assert check.passed is (name not in down)
        if name in down:
            metadata = tick.check_metadata(name)
            assert metadata["cause"] == down[name]
            assert metadata["observed"] >= 1
            assert name in metadata["worst_offenders"]
            assert metadata["threshold"] == 0
    assert tick.record is not None
    assert {name: text.split(":")[0] for name, text in tick.record.summary["failed"].items()} == down
    assert {"ml_features", "crypto_correlations", "crypto_ml_features_materialized"} <= tick.materialized.keys()


def test_a_failed_fetch_is_asked_again_on_the_wire_within_the_run(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, yahoo_attempts=2)
    workshop.simulator.faults.add(Fault(kind=FaultKind.BAD_GATEWAY, symbol="QQQ", interval="15m", times=1))

    tick = collector.at(SECOND_TICK).collect()

    assert tick.status == "ok"
    asked = [request.status for request in tick.requests if (request.symbol, request.interval) == ("QQQ", "15m")]
    assert asked == [502, 200]


def test_a_rate_limit_stops_the_whole_batch_and_fails_the_run(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, yahoo_workers=2)
    workshop.simulator.faults.add(Fault(kind=FaultKind.RATE_LIMITED))

    tick = collector.at(SECOND_TICK).collect()

    assert not tick.success
    assert tick.status == "failed"
    # two workers had a request under way; of the other twelve none went out
    assert 1 <= len({(request.symbol, request.interval) for request in tick.requests}) <= 2
    assert {request.status for request in tick.requests} == {429}
    assert {tick.check_metadata(name)["cause"] for name in tick.checks} == {"rate_limited", "batch_stopped"}
    assert "batch_stopped" in tick.failed_steps["ml_features.compute_ml_features"]
    assert collector.row(HALF_PAST)["origin"] == "live"


def test_when_every_ticker_is_down_the_row_is_written_and_the_run_fails(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN)
    workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND))

    tick = collector.at(SECOND_TICK).collect()

    assert not tick.success
    assert tick.status == "failed"
    message = tick.failed_steps["ml_features.compute_ml_features"]
    assert "CollectionFailedError" in message
    assert "none of 7 tickers could be fetched from simulator (7 x symbol_not_found)" in message
    assert "First: BTC: symbol_not_found: BTC" in message
    assert tick.materialized["ml_features"] == [TODAY.isoformat()]
    row = collector.row(HALF_PAST)
    assert row["ml_spy_price"] == true_price(workshop.simulator, "SPY", FIRST_TICK)


def test_a_source_that_answers_nothing_to_the_first_collection_leaves_a_row_of_nulls_and_a_failed_run(
    workshop: Workshop,
) -> None:
    collector = workshop.new(universe=SEVEN)
    workshop.simulator.faults.add(Fault(kind=FaultKind.EMPTY))

    first = collector.collect()

    assert not first.success
    assert first.status == "failed"
    assert "7 x empty" in first.failed_steps["ml_features.compute_ml_features"]
    row = collector.row(FIRST_TICK.replace(minute=0))
    assert row["feature_count"] == 0
    assert row[list(collector.columns)].isna().all()
    assert set(null_reasons(row["reasons"], SEVEN)) == set(collector.columns)


@pytest.mark.parametrize(
    ("table", "condition", "failing_step", "rows_written"),
    [
        ("market_bars", "NEW.ticker = 'HYG'", "ticker__HYG", False),
        ("ml_features", "1", "ml_features.compute_ml_features", False),
        ("crypto_ml_features_materialized", "1", "crypto_ml_features_materialized", True),
    ],
)
def test_a_collection_whose_database_failed_is_never_reported_as_done(
    workshop: Workshop, table: str, condition: str, failing_step: str, rows_written: bool
) -> None:
    collector = workshop.bootstrapped()
    trigger = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN {condition} "
        "BEGIN SELECT RAISE(ABORT, 'the disk says no'); END"
    )
    with collector.store.database.engine.begin() as connection:
        connection.execute(sa.text(trigger))

    tick = collector.at(SECOND_TICK).collect()

    assert not tick.success
    assert set(tick.failed_steps) == {failing_step}
    assert "the disk says no" in tick.failed_steps[failing_step]
    assert tick.status == "failed"
    assert tick.record is not None
    assert tick.record.finished_at is not None
    assert (HALF_PAST in collector.rows().index) is rows_written
    if table == "market_bars":
        assert "HYG" not in tick.record.summary["stored"]
        assert tick.record.summary["stored"]

    with collector.store.database.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refuse"))
    again = collector.go_on_from(tick)
    assert again.status == "ok"
    # only what is left runs and is asked for
    assert {request.symbol for request in again.requests} == ({"HYG"} if table == "market_bars" else set())
    assert again.materialized.keys() & {"ticker/QQQ", "tick"} == set()
    assert again.materialized["crypto_ml_features_materialized"] == [TODAY.isoformat()]
    assert collector.row(HALF_PAST)[list(collector.columns)].notna().all()


def test_a_rebuild_that_failed_is_not_recorded_as_ok(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = workshop.bootstrapped()

    def fail(*_args: object) -> None:
        raise RuntimeError("no such formula")

    monkeypatch.setattr("market_assets.assets.indicators.build_indicator", fail)
    rebuilt = collector.collect(job="rebuild_features", kind="rebuild")

    assert not rebuilt.success
    assert rebuilt.status == "failed"


SECOND_PROCESS = """
import sys
from datetime import datetime
from types import SimpleNamespace
from market_assets.clock import ManualClock
from market_assets_tests.fakes import Collector, small_universe

url, database, at = sys.argv[1:]
clock = ManualClock(datetime.fromisoformat(at))
server = SimpleNamespace(url=url, requests=[])
with Collector(server, clock, database, universe=small_universe(), collection_lease_seconds=5) as collector:
    done = collector.collect()
    print(done.status, done.result.run_id, flush=True)
"""


def start_process(collector: Collector) -> subprocess.Popen[str]:
    """Start a collection at the clock's instant in a process of its own, on the same database and simulator."""
    database = collector.store.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", SECOND_PROCESS, collector.server.url, database, collector.clock.now().isoformat()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_collection_is_shown_as_interrupted_and_the_next_one_goes_on(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(collection_lease_seconds=5).at(SECOND_TICK)
    hang = workshop.simulator.faults.add(Fault(kind=FaultKind.HANG, symbol="QQQ"))
    process = start_process(collector)
    limit = time.monotonic() + 60
    while not any(request.symbol == "QQQ" for request in workshop.simulator.requests):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    workshop.simulator.faults.remove(hang)

    killed = collector.store.runs.last_collections(1)[0]
    assert (killed.status, killed.finished_at) == ("running", None)
    held = CollectionLock(collector.store).describe()
    assert held is not None
    assert held.holder == killed.run_id

    began = time.monotonic()
    tick = collector.collect()

    assert tick.status == "ok", tick.failed_steps
    assert time.monotonic() - began < 15, "the lease of a killed process ends after five seconds"
    assert collector.row(HALF_PAST)["origin"] == "live"
    assert run_summary(killed, None)["status"] == "interrupted"


def test_two_schedulers_at_once_take_turns_and_leave_the_tables_of_one(workshop: Workshop) -> None:
    alone = workshop.bootstrapped().at(SECOND_TICK)
    assert alone.collect().status == "ok"
    shared = workshop.bootstrapped().at(SECOND_TICK)
    workshop.simulator.latency = timedelta(milliseconds=100)
    workshop.simulator.requests.clear()

    both = [start_process(shared), start_process(shared)]
    answers = [process.communicate(timeout=120) for process in both]

    assert [out.split()[0] for out, _ in answers] == ["ok", "ok"], answers
    # each opens its own session at Yahoo; the second one only after the first has asked its last
    paths = [request.path for request in workshop.simulator.requests]
    crumbs = [index for index, path in enumerate(paths) if path.endswith("getcrumb")]
    assert len(crumbs) == 2
    charts = [index for index, path in enumerate(paths) if "/chart/" in path]
    assert len(charts) == 24
    assert sum(index < crumbs[1] for index in charts) == 12
    for table in ("market_bars", "ml_features", "ml_indicators", "crypto_ml_features_materialized", "fetch_ledger"):
        assert contents(shared, table) == contents(alone, table), table
        if table != "fetch_ledger":
            assert contents(shared, f"{table}_history") == contents(alone, f"{table}_history") == []


def contents(collector: Collector, table: str) -> list[tuple[object, ...]]:
    """Return the rows of `table` without their stamps of knowledge."""
    with collector.store.database.engine.connect() as connection:
        reflected = sa.Table(table, sa.MetaData(), autoload_with=connection)
        stamps = {"known_from", "known_to", "read_as_of", "fetched_at"}
        columns = [one for one in reflected.columns if one.name not in stamps]
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]
