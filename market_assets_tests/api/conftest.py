"""A server over the made-up rows, asked in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from market_assets.api.app import create_app
from market_assets.api.launch import LaunchError, RunState
from market_assets.clock import ManualClock
from market_assets.settings import Settings
from market_assets_tests.stocked import NOW, stock

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.api.services import Services

TOKEN = "correct horse battery staple"  # noqa: S105 - of these tests alone


class FakeLauncher:
    """Starts nothing, and tells what it is told to tell."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.states: dict[str, RunState] = {}
        self.broken = ""

    async def running(self, day: str) -> str | None:
        assert len(day) == len("2026-03-02")
        return next((one for one in self.launched if self.states[one] in {RunState.QUEUED, RunState.RUNNING}), None)

    async def launch(self, day: str) -> str:
        assert day == NOW.date().isoformat()
        if self.broken:
            raise LaunchError(self.broken)
        run_id = str(uuid.uuid4())
        self.launched.append(run_id)
        self.states[run_id] = RunState.QUEUED
        return run_id

    async def state(self, run_id: str) -> RunState | None:
        return self.states.get(run_id)

    async def close(self) -> None:
        self.launched.clear()


def services_of(client: TestClient) -> Services:
    """Return what the routes of a client's server share."""
    services: Services = client.app.app.state.services  # type: ignore[attr-defined]
    return services


Serve = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def stocked_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stocked") / "market.db"
    stock(path)
    return path


@pytest.fixture
def database(stocked_rows: Path, tmp_path: Path) -> Path:
    """A copy of the made-up rows."""
    path = tmp_path / "market.db"
    path.write_bytes(stocked_rows.read_bytes())
    return path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def accesses() -> list[dict[str, object]]:
    """Collect the lines of the access log."""
    return []


@pytest.fixture
def serve(
    database: Path, clock: ManualClock, launcher: FakeLauncher, accesses: list[dict[str, object]]
) -> Iterator[Serve]:
    """Start a server with settings; over the made-up rows unless a database is named."""
    clients: list[TestClient] = []

    def start(**settings: Any) -> TestClient:
        loaded = Settings.load(**{"database_url": f"sqlite:///{database}", **settings})
        client = TestClient(create_app(loaded, clock=clock, launcher=launcher, access_log=accesses.append))
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()
