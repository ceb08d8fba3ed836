"""`POST /collect` and what is told of a collection."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from market_assets.api.documents import Collection, Started
from market_assets.api.launch import GraphQLLauncher, LaunchError, RunState
from market_assets.api.limits import Bucket
from market_assets.store import CollectionLock, Store
from market_assets_tests.api.conftest import TOKEN
from market_assets_tests.stocked import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from market_assets_tests.api.conftest import FakeLauncher, Serve

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve(api_token=TOKEN, dagster_ui_url="https://dagster.example")


def test_without_a_token_in_the_settings_it_is_off_and_says_so(serve: Serve, launcher: FakeLauncher) -> None:
    answer = serve().post("/collect", headers=BEARER)
    assert answer.status_code == 403
    assert "API_TOKEN" in answer.json()["detail"]
    assert launcher.launched == []


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN}x", "Bearer ü"])
def test_a_wrong_token_is_refused_and_never_told_back(
    client: TestClient, launcher: FakeLauncher, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = client.post("/collect", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert launcher.launched == []


def test_a_collection_is_started_once_while_it_is_under_way(client: TestClient, launcher: FakeLauncher) -> None:
    first = client.post("/collect", headers=BEARER)
    assert first.status_code == 202
    started = Started.model_validate_json(first.content)
    assert (started.run_id, started.already_running) == (launcher.launched[0], False)
    assert first.headers["location"] == started.status_url == f"/collect/{started.run_id}"
    assert started.run_url == f"https://dagster.example/runs/{started.run_id}"
    again = client.post("/collect", headers=BEARER)
    assert again.status_code == 202
    assert again.json() == first.json() | {"already_running": True}
    launcher.states[started.run_id] = RunState.DONE
    assert client.post("/collect", headers=BEARER).json()["already_running"] is False
    assert len(launcher.launched) == 2


def test_a_collection_that_somebody_else_has_started_is_named(
    client: TestClient, database: Path, launcher: FakeLauncher
) -> None:
    store = Store.connect(f"sqlite:///{database}")
    store.runs.start_collection("theirs", "tick", NOW, "yahoo")
    with CollectionLock(store).acquire("theirs"):
        answer = client.post("/collect", headers=BEARER).json()
        assert (answer["run_id"], answer["already_running"]) == ("theirs", True)
        assert client.get("/collect/theirs").json()["status"] == "running"
    store.runs.start_collection("old days", "settle", NOW, "yahoo")
    with CollectionLock(store).acquire("old days"):
        # it collects other days: today's is started, and waits for it
        assert client.post("/collect", headers=BEARER).json()["run_id"] in launcher.launched
    store.close()


def test_too_many_collections_an_hour_are_refused_with_the_time_to_wait(serve: Serve, launcher: FakeLauncher) -> None:
    client = serve(api_token=TOKEN, api_collect_per_hour=2)
    for _ in range(2):
        assert client.post("/collect", headers=BEARER).status_code == 202
        launcher.states[launcher.launched[-1]] = RunState.DONE
    refused = client.post("/collect", headers=BEARER)
    assert refused.status_code == 429
    assert 1790 <= int(refused.headers["retry-after"]) <= 1800


def test_a_bucket_refills_evenly() -> None:
    now = 0.0
    bucket = Bucket(2, 10.0, clock=lambda: now)
    assert [bucket.take(), bucket.take(), bucket.take()] == [0.0, 0.0, 5.0]
    now = 4.0
    assert bucket.take() == pytest.approx(1.0)
    now = 5.0
    assert bucket.take() == 0.0
    now = 1000.0
    assert [bucket.take(), bucket.take(), bucket.take()] == [0.0, 0.0, 5.0]


def test_dagster_that_cannot_be_reached_is_told_as_such(client: TestClient, launcher: FakeLauncher) -> None:
    launcher.broken = "DAGSTER_GRAPHQL_URL=http://dagster/graphql: ConnectError: refused"
    answer = client.post("/collect", headers=BEARER)
    assert answer.status_code == 502
    assert answer.json()["detail"] == launcher.broken


def test_how_a_collection_went_is_told_ticker_by_ticker(client: TestClient) -> None:
    told = Collection.model_validate_json(client.get("/collect/last").content)
    assert (told.status, told.kind) == ("partial", "tick")
    assert told.finished_at == NOW - timedelta(hours=1) + timedelta(seconds=4)
    assert told.tickers["QQQ"].status == "stored"
    assert told.tickers["TLT"].status == "failed"
    assert "timeout" in (told.tickers["TLT"].error or "")
    assert told.features == {"rows": 31, "feature_count": 57}
    assert client.get("/collect/killed").json()["status"] == "interrupted"


def test_what_was_only_launched_yet_is_queued_and_what_never_began_has_failed(
    client: TestClient, launcher: FakeLauncher
) -> None:
    run_id = client.post("/collect", headers=BEARER).json()["run_id"]
    assert client.get(f"/collect/{run_id}").json()["status"] == "queued"
    launcher.states[run_id] = RunState.FAILED
    assert client.get(f"/collect/{run_id}").json()["status"] == "failed"


def test_an_unknown_collection_is_not_found_and_a_strange_id_is_refused(client: TestClient) -> None:
    assert client.get("/collect/unknown").status_code == 404
    assert client.get("/collect/a;b").status_code == 422


# --- GraphQL ----------------------------------------------------------------------------------------------------------


async def _answers(monkeypatch: pytest.MonkeyPatch, answer: httpx2.Response | Exception) -> GraphQLLauncher:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        assert "query" in json.loads(request.content)
        return answer

    transport = httpx2.MockTransport(handle)
    client = httpx2.AsyncClient
    monkeypatch.setattr("market_assets.api.launch.httpx2.AsyncClient", lambda **_: client(transport=transport))
    return GraphQLLauncher("http://dagster/graphql")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx2.ConnectError("refused"), "ConnectError: refused"),
        (httpx2.Response(503, request=httpx2.Request("POST", "http://dagster/graphql")), "503"),
        (
            httpx2.Response(200, text="<html>", request=httpx2.Request("POST", "http://dagster/graphql")),
            "JSONDecodeError",
        ),
        (
            httpx2.Response(
                200,
                json={"data": {"repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": []}}},
                request=httpx2.Request("POST", "http://dagster/graphql"),
            ),
            "no code location has the job collect",
        ),
        (
            httpx2.Response(
                200,
                json={"data": {"repositoriesOrError": {"__typename": "PythonError", "message": "broken"}}},
                request=httpx2.Request("POST", "http://dagster/graphql"),
            ),
            "broken",
        ),
        (
            httpx2.Response(
                200, json={"errors": [{"message": "syntax"}]}, request=httpx2.Request("POST", "http://dagster/graphql")
            ),
            "syntax",
        ),
    ],
)
def test_whatever_dagster_answers_amiss_is_one_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, answer: Any, told: str
) -> None:
    async def ask() -> None:
        launcher = await _answers(monkeypatch, answer)
        with pytest.raises(LaunchError, match=told) as raised:
            await launcher.launch("2026-03-02")
        assert "DAGSTER_GRAPHQL_URL=http://dagster/graphql" in str(raised.value) or "no code location" in str(
            raised.value
        )

    asyncio.run(ask())
