"""The simulator against yfinance's own `Ticker.history`, unmodified: it must not be able to tell it from Yahoo."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import pytest
import yfinance
from curl_cffi import CurlOpt, requests

from market_assets.clock import ManualClock
from market_assets.sources.simulator import SimulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
WEDNESDAY = datetime(2026, 11, 18, 18, 7, 11, tzinfo=UTC)


class Redirected(requests.Session[requests.Response]):
    """Changes scheme and port of a request, and nothing else."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        pinned = [f"*:{self._server.port}:{self._server.hostname}"]
        super().__init__(impersonate="chrome", curl_options={CurlOpt.RESOLVE: pinned})

    def request(self, method: Any, url: str, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        parts = urlsplit(url)
        moved = parts._replace(scheme="http", netloc=f"{parts.hostname}:{self._server.port}")
        return super().request(method, urlunsplit(moved), **kwargs)


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(ManualClock(WEDNESDAY)) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path) -> None:
    yfinance.set_tz_cache_location(str(tmp_path))


def history(server: SimulatorServer, symbol: str, **window: Any) -> pd.DataFrame:
    frame = yfinance.Ticker(symbol, session=Redirected(server.url)).history(auto_adjust=False, actions=True, **window)
    return pd.DataFrame(frame)


def test_it_reads_daily_bars_with_dividends(server: SimulatorServer) -> None:
    bars = history(server, "SPY", start="2026-01-02", end="2026-11-18", interval="1d")
    assert len(bars) == 221
    assert (bars["Dividends"] > 0).sum() >= 3
    assert (bars["High"] >= bars["Low"]).all()
    assert str(bars.index.dtype).endswith("America/New_York]")


def test_it_reads_15m_bars_and_resamples_them_when_asked_for_30m(server: SimulatorServer) -> None:
    quarter = history(server, "QQQ", start="2026-11-16", end="2026-11-18", interval="15m")
    half = history(server, "QQQ", start="2026-11-16", end="2026-11-18", interval="30m")
    assert len(quarter) == 2 * 26
    assert len(half) == 2 * 13
    assert half["Close"].tolist() == quarter["Close"].tolist()[1::2]


def test_it_finds_a_reverse_split_and_a_continuous_history(server: SimulatorServer) -> None:
    bars = history(server, "USO", start="2020-04-20", end="2020-05-08", interval="1d")
    assert bars["Stock Splits"].max() == 0.125
    assert bars["Close"].pct_change().abs().max() < 0.25


@pytest.mark.parametrize("symbol", ["^VIX", "DX-Y.NYB", "EURUSD=X", "JPY=X", "BTC-USD"])
def test_it_reads_every_kind_of_symbol(server: SimulatorServer, symbol: str) -> None:
    assert len(history(server, symbol, start="2026-11-02", end="2026-11-18", interval="1h")) > 80


def test_it_reports_an_unknown_symbol_as_it_does_for_yahoo(server: SimulatorServer) -> None:
    with pytest.raises(Exception, match=r"(?i)delisted|no data found|not found"):
        history(server, "NOSUCH", start="2026-11-02", end="2026-11-18", interval="1d", raise_errors=True)


@pytest.mark.parametrize(
    ("name", "symbol", "rows"),
    [("qqq_1d_1y_div", "QQQ", 250), ("eurusd_1d_1y", "EURUSD=X", 250), ("btcusd_1d_1y_nulls", "BTC-USD", 300)],
)
def test_it_reads_recorded_bodies_played_through_the_simulator(
    server: SimulatorServer, shared_dir: Path, name: str, symbol: str, rows: int
) -> None:
    server.play(symbol, (shared_dir / "yahoo" / f"{name}.json").read_bytes())
    try:
        bars = history(server, symbol, start="2020-01-01", end="2026-11-18", interval="1d")
    finally:
        server.stop_playing()
    assert len(bars) >= rows
