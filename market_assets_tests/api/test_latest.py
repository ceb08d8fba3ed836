"""`GET /ml-features`."""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.api.documents import LatestFeatures
from market_assets.columns import core_columns, feature_columns
from market_assets.store import Replacement, Store
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.stocked import LATEST, NOW, feature_frame

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from market_assets.clock import ManualClock
    from market_assets_tests.api.conftest import Serve


def test_the_newest_row_has_every_feature_with_the_reason_of_a_null(client: TestClient) -> None:
    answer = client.get("/ml-features")
    assert answer.status_code == 200
    row = LatestFeatures.model_validate_json(answer.content)
    assert tuple(row.features) == feature_columns()
    assert row.observed_at == LATEST
    assert row.timestamp == NOW - timedelta(minutes=8)
    null = feature_columns()[-3]
    assert row.features[null] is None
    assert row.reasons == {null: "19_of_20_returns"}
    assert row.features["ml_qqq_price"] == 1 / 3
    assert (row.feature_count, row.core_count, row.target, row.stale) == (57, 42, 35, False)
    assert row.ages["QQQ"].model_dump() == {"minutes": 75, "stale_minutes": 0, "venue": "closed"}
    assert row.notes == {"SPY": ["approximate"]}
    assert row.correlations is None


def test_the_core_set_leaves_out_currencies_and_volatility(client: TestClient) -> None:
    assert tuple(client.get("/ml-features?set=core").json()["features"]) == core_columns()


@pytest.mark.parametrize("spelling", ["BTC", "btc-usd", "BTCUSDT"])
def test_a_symbol_adds_its_correlations_however_it_is_spelt(
    client: TestClient, clock: ManualClock, spelling: str
) -> None:
    # the session whose correlations are stored closes at 21:00
    clock.set(NOW + timedelta(days=1))
    row = client.get(f"/ml-features?symbol={spelling}").json()
    assert row["symbol"] == "BTC"
    # but the newest row is of before: it cannot see that close
    assert row["features"]["ml_nasdaq_correlation"] is None
    assert row["reasons"]["ml_nasdaq_correlation"] == "no_correlation_stored"
    assert row["correlations"] == []


def test_correlations_are_those_of_the_last_session_that_had_closed_at_the_rows_time(
    client: TestClient, database: Path, clock: ManualClock
) -> None:
    evening = NOW.replace(hour=21, minute=30)
    store = Store.connect(f"sqlite:///{database}", clock=clock)
    clock.set(evening + timedelta(minutes=1))
    frame = feature_frame(1, until=evening)
    scopes = [ML_FEATURES.scope("", NOW.date())]
    store.replace([Replacement(ML_FEATURES, frame)], scopes=scopes, fetched_at=clock.now(), accept_deletions=True)
    store.close()
    row = client.get("/ml-features?symbol=BTC").json()
    assert row["observed_at"] == "2026-03-02T21:30:00Z"
    assert row["features"]["ml_nasdaq_correlation"] == 0.71
    day = "2026-03-02"
    assert row["correlations"] == [
        {"ticker": "QQQ", "sessions": 20, "session": day, "correlation": 0.71, "pairs": 20},
        {"ticker": "GLD", "sessions": 90, "session": day, "correlation": -0.5, "pairs": 90},
    ]


def test_an_earlier_time_gives_the_row_of_then(client: TestClient) -> None:
    assert client.get("/ml-features?at=2026-03-02T13:59Z").json()["observed_at"] == "2026-03-02T13:30:00Z"
    # a plus sign that nobody escaped
    assert client.get("/ml-features?at=2026-03-02T14:59+01:00").json()["observed_at"] == "2026-03-02T13:30:00Z"
    assert client.get("/ml-features?at=9999-12-31").json()["observed_at"] == "2026-03-02T15:00:00Z"


@pytest.mark.parametrize("query", ["at=2026-01-01", "at=0001-01-01", "as_of=2026-03-02T15:01Z", "as_of=0001-01-01"])
def test_where_no_row_was_known_it_says_so(client: TestClient, query: str) -> None:
    answer = client.get(f"/ml-features?{query}")
    assert answer.status_code == 404
    assert "no feature row was known at" in answer.json()["detail"]


def test_as_of_gives_the_version_that_was_stored_then(client: TestClient, database: Path, clock: ManualClock) -> None:
    before = client.get("/ml-features").json()
    clock.advance(timedelta(minutes=30))
    store = Store.connect(f"sqlite:///{database}", clock=clock)
    revised = feature_frame(1).assign(ml_qqq_price=9.0)
    store.replace(
        [Replacement(ML_FEATURES, revised)],
        scopes=[ML_FEATURES.scope("", LATEST.date())],
        fetched_at=clock.now(),
        accept_deletions=True,
    )
    store.close()
    time.sleep(1.01)
    now = client.get("/ml-features").json()
    assert now["features"]["ml_qqq_price"] == 9.0
    assert client.get(f"/ml-features?as_of={before['timestamp']}").json()["features"] == before["features"]


def test_a_row_older_than_two_intervals_is_stale(serve: Serve, clock: ManualClock) -> None:
    clock.set(LATEST + timedelta(minutes=61))
    assert serve().get("/ml-features").json()["stale"] is False
    clock.advance(timedelta(seconds=1))
    assert serve().get("/ml-features").json()["stale"] is True
    assert serve().get("/ml-features?at=2026-03-02T15:10Z").json()["stale"] is False


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("at=yesterday", "at", "is no time with a zone"),
        ("at=2026-03-02T13:59", "at", "is no time with a zone"),
        ("at=1772460000", "at", "is no time with a zone"),
        ("symbol=DOGE", "symbol", "known are BTC, ETH"),
        ("set=some", "set", "should be 'core' or 'all'"),
        ("symbl=BTC", "symbl", "is no parameter of this address"),
        ("as_of=';DROP TABLE ml_features--", "as_of", "is no time"),
    ],
)
def test_a_bad_parameter_is_named_with_its_value_and_the_remedy(
    client: TestClient, query: str, field: str, told: str
) -> None:
    answer = client.get(f"/ml-features?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (problem,) = answer.json()["fields"]
    assert problem["field"] == field
    assert told in problem["remedy"]
    assert problem["value"] == query.partition("=")[2]


def test_whoever_holds_the_row_is_told_that_it_has_not_changed(client: TestClient) -> None:
    plain = client.get("/ml-features", headers={"Accept-Encoding": "identity"})
    packed = client.get("/ml-features")
    assert plain.json() == packed.json()
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.headers["etag"] != packed.headers["etag"]
    for held in (plain.headers["etag"], packed.headers["etag"], f'"other", W/{plain.headers["etag"]}', "*"):
        again = client.get("/ml-features", headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/ml-features", headers={"If-None-Match": '"other"'}).status_code == 200
    since = plain.headers["last-modified"]
    assert client.get("/ml-features", headers={"If-Modified-Since": since}).status_code == 304
    assert client.get("/ml-features", headers={"If-Modified-Since": "Mon, 02 Mar 2026 15:01:59 GMT"}).status_code == 200
    assert client.get("/ml-features", headers={"If-Modified-Since": "nonsense"}).status_code == 200


def test_the_packed_body_is_the_plain_one(client: TestClient) -> None:
    with client.stream("GET", "/ml-features") as answer:
        raw = b"".join(answer.iter_raw())
    assert json.loads(gzip.decompress(raw))["observed_at"] == "2026-03-02T15:00:00Z"


def test_many_readers_ask_the_database_twice_a_second_at_most(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    snapshot = Store.snapshot

    def counted(self: Store, *arguments: object) -> object:
        nonlocal asked
        asked += 1
        return snapshot(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "snapshot", counted)
    for _ in range(50):
        assert client.get("/ml-features").status_code == 200
    # two a second, and one that begins it
    assert asked <= 5


def test_a_database_that_breaks_is_an_error_and_no_old_row(client: TestClient, database: Path) -> None:
    assert client.get("/ml-features").status_code == 200
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE ml_features RENAME TO gone")
    connection.close()
    time.sleep(1.01)
    answer = client.get("/ml-features")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "no such table: ml_features" in answer.json()["detail"]
