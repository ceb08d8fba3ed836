"""`market-assets status`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.clock import ManualClock
from market_assets.store import CollectionLock, Store
from market_assets.store.revision import HEAD_REVISION
from market_assets_tests.cli.conftest import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run


def test_status_tells_the_latest_row_the_database_and_the_source(run: Run, stocked: Path) -> None:
    done = run("status")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Healthy.\n")
    assert "Latest row: 2026-03-02 15:00 UTC, 10 min old, 57 of 58 features (42 core), target 35 met." in done.out
    assert f"Database: {stocked} (sqlite 3" in done.out
    assert "Source: yahoo\n" in done.out


@pytest.mark.usefixtures("stocked")
def test_a_collection_that_never_wrote_its_end_was_interrupted(run: Run) -> None:
    lines = [line.split() for line in run("status").out.splitlines() if " tick " in line]
    assert [line[-3:] for line in lines] == [
        ["partial", "1/19", "57"],
        ["13:10", "tick", "interrupted"],
        ["ok", "1/19", "57"],
    ]


@pytest.mark.usefixtures("stocked")
def test_each_ticker_has_its_coverage_and_its_last_error_is_printed_as_it_is(run: Run) -> None:
    out = run("status").out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line[:3] in {"QQQ", "HYG", "TLT", "SPY"}}
    assert lines["QQQ"] == ["■", "2", "-", "-", "2026-03-02", "14:30"]
    assert lines["HYG"] == ["□", "-", "-", "-"]
    assert lines["TLT"] == ["x", "-", "-", "-"]
    assert lines["SPY"] == ["-", "-", "-"]
    # brackets in an answer are no markup
    assert "TLT: 2026-03-02 14:10 timeout: no [red]answer[/]" in out


@pytest.mark.usefixtures("stocked")
def test_pairs_count_as_highly_correlated_from_the_threshold_on(run: Run) -> None:
    assert "(at least 0.65, over 20 or 90 sessions): BTC/QQQ 20: +0.71\n" in run("status").out
    assert json.loads(run("status", "--json", HIGH_CORRELATION_THRESHOLD="0.4").out)["highly_correlated"] == [
        "BTC/GLD 90: -0.50",
        "BTC/QQQ 20: +0.71",
    ]
    assert json.loads(run("status", "--json", HIGH_CORRELATION_THRESHOLD="0.8").out)["highly_correlated"] == []


@pytest.mark.usefixtures("stocked")
def test_json_says_what_the_tables_say(run: Run) -> None:
    state = json.loads(run("status", "--json").out)
    assert state["healthy"] is True
    assert state["rows_are_from"] == "yahoo"
    assert state["latest_row"]["minutes_old"] == 10
    assert [run["status"] for run in state["collections"]] == ["partial", "interrupted", "ok"]
    assert state["tickers"]["TLT"]["days"] == {"2026-03-02": "fetch_failed"}
    assert state["tickers"]["TLT"]["last_error"]["at"] == "2026-03-02T14:10:00Z"
    assert state["database"]["revision"] == HEAD_REVISION


@pytest.mark.usefixtures("stocked")
def test_fewer_features_than_the_target_are_not_healthy(run: Run) -> None:
    done = run("status", ML_FEATURE_COUNT_TARGET="58")
    assert done.status == 1
    assert done.out.startswith("Not healthy: 57 features are below the target of 58.")


@pytest.mark.usefixtures("stocked")
def test_a_missed_tick_is_not_healthy_and_the_interval_decides_what_is_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ManualClock(NOW + timedelta(minutes=60))
    monkeypatch.setattr("market_assets.clock.SystemClock.now", lambda _self: later.now())
    done = run("status")
    assert done.status == 1
    assert "Not healthy: no row for more than two intervals of 30 minutes" in done.out
    assert run("status", COLLECTION_INTERVAL_MINUTES="60").status == 0


def test_a_failed_collection_is_not_healthy(run: Run, stocked: Path) -> None:
    store = Store.connect(f"sqlite:///{stocked}")
    store.runs.start_collection("worse", "tick", NOW, "yahoo")
    store.runs.finish_collection("worse", "failed", NOW, {"stored": [], "failed": {"QQQ": "empty: none"}})
    store.close()
    done = run("status")
    assert done.status == 1
    assert done.out.startswith("Not healthy: the last collection did not succeed.")
    assert "QQQ: 2026-03-02 15:10 empty: none" in done.out


def test_the_checks_that_failed_in_the_last_collection_are_told_with_what_they_found(run: Run, stocked: Path) -> None:
    assert "Checks that failed" not in run("status").out
    failed = {"ticker/TLT bars_are_complete": "warn: 1 of 2 days lack more bars than they may [sic]"}
    store = Store.connect(f"sqlite:///{stocked}")
    store.runs.start_collection("settled", "settle", NOW, "yahoo")
    store.runs.finish_collection("settled", "ok", NOW, {"stored": ["TLT"], "failed": {}, "failed_checks": failed})
    store.close()
    done = run("status")
    # what a check finds is for a person to look at; it makes no collection unhealthy
    assert done.status == 0
    assert "Checks that failed in the collection of 2026-03-02 15:10\n" in done.out
    assert "ticker/TLT bars_are_complete: warn: 1 of 2 days lack more bars than they may [sic]" in done.out
    assert json.loads(run("status", "--json").out)["collections"][0]["failed_checks"] == failed


def test_a_collection_that_holds_the_lock_is_running(run: Run, stocked: Path) -> None:
    store = Store.connect(f"sqlite:///{stocked}")
    store.runs.start_collection("now", "ad_hoc", NOW, "yahoo")
    with CollectionLock(store).acquire("now"):
        done = run("status")
    store.close()
    assert "A collection is running (now)." in done.out
    assert [line.split()[-2:] for line in done.out.splitlines() if "ad_hoc" in line] == [["ad_hoc", "running"]]


def test_a_database_in_which_nothing_was_collected_says_what_to_do(run: Run) -> None:
    run("migrate")
    done = run("status")
    assert done.status == 1
    assert done.out.startswith("Not healthy: there is no feature row yet.")
    assert "Nothing was collected yet; collect first: market-assets collect" in done.out


@pytest.mark.usefixtures("stocked")
def test_rows_of_another_source_than_the_configured_one_are_named(run: Run) -> None:
    done = run("status", YAHOO_BASE_URL="http://127.0.0.1:1", DATABASE_URL="sqlite:///market.db")
    assert "Source of the rows: yahoo (a collection now would ask simulator)" in done.out
