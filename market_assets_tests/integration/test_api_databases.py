"""The HTTP API reads every database, and can write none."""

from __future__ import annotations

import io
from datetime import timedelta

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from market_assets.api.app import create_app
from market_assets.clock import ManualClock
from market_assets.errors import StoreError
from market_assets.settings import Settings
from market_assets_tests.api.conftest import services_of
from market_assets_tests.databases import database_url  # noqa: F401 - a fixture
from market_assets_tests.stocked import NOW, stock

pytestmark = pytest.mark.integration


def test_every_address_answers_and_nothing_can_be_written(database_url: str) -> None:  # noqa: F811
    stock(database_url)
    settings = Settings.load(database_url="sqlite:///nowhere.db", database_read_url=database_url)
    with TestClient(create_app(settings, clock=ManualClock(NOW))) as client:
        assert client.get("/ml-features?symbol=BTC&set=core").json()["core_count"] == 42
        before = (NOW - timedelta(minutes=9)).isoformat().replace("+00:00", "Z")
        assert client.get(f"/ml-features?as_of={before}").status_code == 404
        for extreme in ("at=9999-12-31", "as_of=9999-12-31T23:59:59.999999Z"):
            assert client.get(f"/ml-features?{extreme}").status_code == 200
        for extreme in ("at=0001-01-01", "as_of=0001-01-01"):
            assert client.get(f"/ml-features?{extreme}").status_code == 404
        assert client.get("/ml-features/history?limit=7").json()["count"] == 7
        content = client.get("/ml-features/history?start=2017-01-01&format=arrow").content
        assert pa.ipc.open_stream(io.BytesIO(content)).read_all().num_rows == 60
        for path in ("/status", "/assets", "/metrics", "/", "/collect/last"):
            assert client.get(path).status_code == 200
        # ticks are not good here, but everything else is
        assert [part["ok"] for part in client.get("/ready").json()["parts"]][:2] == [True, True]
        with pytest.raises(StoreError, match=r"(?i)read.?only"):
            services_of(client).store().runs.start_collection("x", "tick", NOW, "yahoo")
