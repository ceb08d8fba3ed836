"""`/health`, `/ready`, `/status`, `/assets`, `/metrics`."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from market_assets.api.documents import Readiness
from market_assets.api.state import Assets, Status
from market_assets.indicators import INDICATORS
from market_assets.store import Store
from market_assets.universe import UNIVERSE
from market_assets_tests.stocked import NOW

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from starlette.testclient import TestClient

    from market_assets.clock import ManualClock
    from market_assets_tests.api.conftest import Serve


def good_tick(database: Path, began: datetime, run_id: str = "good") -> None:
    store = Store.connect(f"sqlite:///{database}")
    store.runs.start_collection(run_id, "tick", began, "yahoo")
    day = began.date().isoformat()
    summary = {"first_day": day, "last_day": day, "complete": True, "tickers": 19, "stored": [], "failed": {}}
    store.runs.finish_collection(run_id, "ok", began + timedelta(seconds=7), summary)
    store.close()


def parts(client: TestClient) -> dict[str, tuple[bool, str]]:
    answer = client.get("/ready")
    told = Readiness.model_validate_json(answer.content)
    assert answer.status_code == (200 if told.ready else 503)
    assert told.ready == all(part.ok for part in told.parts)
    return {part.part: (part.ok, part.detail) for part in told.parts}


def test_health_needs_no_database(serve: Serve) -> None:
    assert serve(database_url="sqlite:////nowhere/at/all.db").get("/health").json()["status"] == "ok"


def test_ready_says_which_part_is_not(client: TestClient, serve: Serve, database: Path) -> None:
    good_tick(database, NOW - timedelta(minutes=9))
    assert [ok for ok, _ in parts(client).values()] == [True, True, True]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE market_assets_version SET version_num = '0001'")
    connection.close()
    outdated = parts(serve())
    assert outdated["database"][0]
    assert not outdated["schema"][0]
    assert "market-assets migrate" in outdated["schema"][1]
    missing = parts(serve(database_url="sqlite:////nowhere/at/all.db"))
    assert list(missing) == ["database"]
    assert "collect first" in missing["database"][1]


def test_ready_misses_ticks_only_while_a_venue_is_open(client: TestClient, database: Path, clock: ManualClock) -> None:
    good_tick(database, NOW)
    clock.set(NOW + timedelta(minutes=61))
    assert parts(client)["ticks"][0]
    clock.set(NOW + timedelta(minutes=62))
    ok, told = parts(client)["ticks"]
    assert not ok
    assert "XNYS" in told
    # a Saturday
    clock.set(NOW + timedelta(days=5))
    ok, told = parts(client)["ticks"]
    assert ok
    assert "every venue is closed" in told


def test_ready_without_ticks_is_ready_before_the_first_collection(client: TestClient, clock: ManualClock) -> None:
    clock.set(NOW + timedelta(hours=3))
    assert client.get("/ready").status_code == 503
    answer = client.get("/ready?ticks=false")
    assert answer.status_code == 200
    assert [part["part"] for part in answer.json()["parts"]] == ["database", "schema"]
    assert client.get("/ready?tick=false").status_code == 422


def test_status_is_the_command_lines_and_the_next_tick(client: TestClient) -> None:
    status = Status.model_validate_json(client.get("/status").content)
    assert status.at == NOW
    assert status.next_tick == NOW.replace(minute=31)
    assert status.tickers["TLT"]["last_error"]["message"].startswith("timeout")
    assert status.runs == {"ok": 1, "partial": 1, "running": 1}


def test_assets_are_the_universe_with_documented_and_measured_correlations(
    client: TestClient, clock: ManualClock
) -> None:
    assets = Assets.model_validate_json(client.get("/assets").content)
    assert [one.name for one in assets.tickers] == [one.name for one in UNIVERSE]
    assert [one.column for one in assets.indicators] == [one.column for one in INDICATORS]
    qqq, btc = assets.tickers[0], assets.tickers[-2]
    assert (qqq.features, qqq.documented_correlation) == (
        ["ml_qqq_price", "ml_qqq_change_1d", "ml_qqq_volatility"],
        0.75,
    )
    assert btc.features == []
    del clock


def test_metrics_tell_the_collector_and_the_requests(client: TestClient, database: Path) -> None:
    good_tick(database, NOW - timedelta(minutes=9))
    client.get("/ml-features")
    client.get("/ml-features?at=x")
    text = client.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["market_assets_database_up",] == 1
    assert found["market_assets_features",] == 57
    assert found["market_assets_feature_target",] == 35
    assert found["market_assets_row_age_seconds",] == 600
    assert found["market_assets_last_good_tick_seconds",] == 7
    assert found["market_assets_last_good_tick_timestamp_seconds",] == (NOW - timedelta(minutes=9)).timestamp()
    assert found["market_assets_collections_total", "ok", "tick"] == 2
    assert found["market_assets_fetch_failures_24h", "TLT", "timeout"] == 1
    assert found["market_assets_http_requests_total", "/ml-features", "200", "GET"] == 1
    assert found["market_assets_http_requests_total", "/ml-features", "422", "GET"] == 1
    assert found["market_assets_http_request_seconds_count", "/ml-features"] == 2


def test_metrics_without_a_database_say_that_it_is_down(serve: Serve) -> None:
    answer = serve(database_url="sqlite:////nowhere/at/all.db").get("/metrics")
    assert answer.status_code == 200
    assert "market_assets_database_up 0.0" in answer.text
    assert "market_assets_features" not in answer.text


@pytest.mark.parametrize("path", ["/status", "/assets", "/metrics"])
def test_what_is_long_is_packed(client: TestClient, path: str) -> None:
    assert client.get(path).headers["content-encoding"] == "gzip"
