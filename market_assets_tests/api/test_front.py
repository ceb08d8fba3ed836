"""What every answer has: an id, limits, problem documents, a line in the log, nothing secret."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from market_assets.api import latest
from market_assets.api.app import create_app
from market_assets.api.front import MOST_ADDRESS, MOST_BODY
from market_assets.api.problems import Problem
from market_assets.cli.serve import JsonFormatter, log_access
from market_assets.errors import StoreError
from market_assets.settings import Settings
from market_assets_tests.api.conftest import TOKEN, services_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets_tests.api.conftest import FakeLauncher, Serve


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve(api_token=TOKEN)


def test_every_answer_has_an_id_of_its_own_or_the_one_that_was_sent(client: TestClient) -> None:
    ids = {
        client.get(path).headers["x-request-id"] for path in ("/health", "/nope", "/ml-features", "/ml-features?at=x")
    }
    assert len(ids) == 4
    assert all(re.fullmatch("[0-9a-f]{8}-[0-9a-f]+", one) for one in ids)
    assert client.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/health", headers={"X-Request-ID": 'a"b\t'}).headers["x-request-id"] != 'a"b\t'
    refused = client.get("/nope", headers={"X-Request-ID": "mine-2"})
    assert refused.json()["request_id"] == "mine-2"


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/nope", 404, "/docs lists what does"),
        ("DELETE", "/ml-features", 405, "see the header Allow"),
        ("GET", "/collect", 405, "see the header Allow"),
        ("GET", f"/ml-features?at={'9' * MOST_ADDRESS}", 414, "8192 bytes at most"),
        ("GET", "/static/old/style.css", 404, "no such file"),
        ("GET", "/static/../settings.py", 404, "does not exist"),
    ],
)
def test_every_error_is_a_problem_document(client: TestClient, method: str, path: str, status: int, told: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, problem.request_id) == (status, answer.headers["x-request-id"])
    assert told in problem.detail
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert answer.headers["allow"]


def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so(client: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/collect", content=b"x" * (MOST_BODY + 1), headers=headers).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * MOST_BODY

    # nobody reads a body here, so nothing is kept of it
    assert client.post("/collect", content=endless(), headers=headers).status_code in {202, 413}


def test_a_bug_is_told_without_its_inside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(f"the secret is {TOKEN}")

    monkeypatch.setattr(latest, "render", broken)
    answer = client.get("/ml-features")
    assert answer.status_code == 500
    problem = Problem.model_validate_json(answer.content)
    assert problem.request_id in problem.detail
    assert TOKEN not in answer.text
    assert "RuntimeError" not in answer.text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:hunter2secret@127.0.0.1:1/db",
        "mysql+pymysql://user:hunter2secret@127.0.0.1:1/db",
        "sqlite:////nowhere/at/all.db",
    ],
)
@pytest.mark.parametrize(
    "path", ["/ml-features", "/ml-features/history", "/status", "/assets", "/collect/x", "/ready", "/"]
)
def test_a_database_that_cannot_be_read_is_told_without_its_password(
    url: str, path: str, clock: ManualClock, launcher: FakeLauncher
) -> None:
    settings = Settings.load(database_url=url)
    with TestClient(create_app(settings, clock=clock, launcher=launcher)) as client:
        answer = client.get(path)
    nothing_yet = url.startswith("sqlite") and path in {"/", "/collect/x"}
    assert answer.status_code == ({"/": 200, "/collect/x": 404}[path] if nothing_yet else 503)
    assert "hunter2secret" not in answer.text
    if "127.0.0.1" in url:
        assert "127.0.0.1" in answer.text


def test_the_server_recovers_when_the_database_appears(serve: Serve, database: Path) -> None:
    later = database.with_name("later.db")
    client = serve(database_url=f"sqlite:///{later}")
    assert client.get("/ml-features").status_code == 503
    assert client.get("/ready").json()["ready"] is False
    later.write_bytes(database.read_bytes())
    assert client.get("/ml-features").status_code == 200


def test_nothing_can_be_written_through_the_servers_connections(serve: Serve) -> None:
    services = services_of(serve())
    with pytest.raises(StoreError, match="readonly database"):
        services.store().runs.start_collection("x", "tick", services.clock.now(), "yahoo")


def test_each_request_is_one_line_in_the_log(
    client: TestClient, accesses: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/ml-features?symbol=BTC", headers={"X-Request-ID": "one"})
    (facts,) = accesses
    log_access(facts)
    line = json.loads(capsys.readouterr().out)
    assert line == {
        "at": line["at"],
        "level": "INFO",
        "logger": "access",
        "request_id": "one",
        "method": "GET",
        "path": "/ml-features",
        "status": 200,
        "bytes": line["bytes"],
        "ms": line["ms"],
    }
    assert line["bytes"] > 500
    assert datetime.fromisoformat(line["at"]).tzinfo is not None


def test_a_line_of_the_log_tells_an_error_with_its_trace() -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it %s", ("broke",), None)
    record.request_id = "abc"
    error = ValueError("inside")
    record.exc_info = (ValueError, error, error.__traceback__)
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["request_id"]) == ("it broke", "abc")
    assert "ValueError: inside" in line["error"]
