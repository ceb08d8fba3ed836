"""How many requests go out, which ones, and to whom."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import SourceUnavailableError
from market_assets.sources.base import FetchRequest, Interval
from market_assets.sources.pool import FetchPool
from market_assets.sources.simulator import Fault, SimulatorServer
from market_assets.universe import UNIVERSE

from .conftest import byte_server

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.sources.yahoo import YahooSource

    from .conftest import MakeSource

TODAY = datetime(2026, 3, 4, tzinfo=UTC)
TOMORROW = TODAY + timedelta(days=1)
TICK = [
    FetchRequest(ticker, interval, TODAY, TOMORROW) for ticker in UNIVERSE for interval in (Interval.M15, Interval.D1)
]


def paths(simulator: SimulatorServer) -> Counter[tuple[str, str]]:
    return Counter((request.host.partition(":")[0], request.path) for request in simulator.requests)


def test_a_tick_of_nineteen_tickers_is_thirty_eight_charts_one_cookie_and_one_crumb(
    source: YahooSource, simulator: SimulatorServer, clock: ManualClock
) -> None:
    with FetchPool(source, clock=clock, workers=8) as pool:
        for future in pool.submit(TICK).values():
            future.result()
    assert source.legs() == {"cookie": 1, "crumb": 1, "chart": 38}
    seen = paths(simulator)
    assert seen.pop(("fc.yahoo.com", "/")) == 1
    assert seen.pop(("query1.finance.yahoo.com", "/v1/test/getcrumb")) == 1
    assert seen == {("query2.finance.yahoo.com", f"/v8/finance/chart/{t.yahoo_symbol}"): 2 for t in UNIVERSE}
    # 15m is asked as 15m, not as something to be resampled
    charts = [request for request in simulator.requests if request.symbol is not None]
    assert Counter(request.interval for request in charts) == {"15m": 19, "1d": 19}
    assert {request.status for request in charts} == {200}

    simulator.requests.clear()
    source.fetch(TICK[0])
    assert paths(simulator) == {("query2.finance.yahoo.com", "/v8/finance/chart/QQQ"): 1}


def test_requests_overlap_on_the_wire(source: YahooSource, simulator: SimulatorServer, clock: ManualClock) -> None:
    source.fetch(TICK[0])
    simulator.latency = timedelta(milliseconds=100)
    simulator.in_flight_peak = 0
    began = time.monotonic()
    with FetchPool(source, clock=clock, workers=8) as pool:
        for future in pool.submit(TICK).values():
            future.result()
    assert time.monotonic() - began < 3.0  # 3.8 s one after another, 0.5 s at best
    assert simulator.in_flight_peak >= 8


def test_the_answer_needs_no_crumb_and_a_refused_one_is_not_asked_for_again(
    source: YahooSource, simulator: SimulatorServer
) -> None:
    # yfinance 1.7 would take "Too Many Requests" for the crumb.
    simulator.faults.add(Fault(kind="refuse_crumb", status=429))
    for request in TICK[:4]:
        source.fetch(request)
    assert source.legs() == {"cookie": 1, "crumb": 1, "chart": 4}


def test_an_invalid_crumb_is_renewed_within_the_fetch(source: YahooSource, simulator: SimulatorServer) -> None:
    source.fetch(TICK[0])
    simulator.faults.add(Fault(kind="invalid_crumb", times=1))
    simulator.requests.clear()
    source.fetch(TICK[0])
    assert [request.path for request in simulator.requests] == [
        "/v8/finance/chart/QQQ",
        "/consent",
        "/v2/collectConsent",
        "/copyConsent",
        "/v1/test/getcrumb",
        "/v8/finance/chart/QQQ",
    ]
    simulator.requests.clear()
    source.fetch(TICK[0])
    assert len(simulator.requests) == 1


def test_two_sources_in_one_process_do_not_mix(
    source: YahooSource, simulator: SimulatorServer, clock: ManualClock, make_source: MakeSource
) -> None:
    with SimulatorServer(clock, seed=8) as other_simulator:
        other = make_source(base_url=other_simulator.url)
        mine, theirs = source.fetch(TICK[0]).bars, other.fetch(TICK[0]).bars
        again = source.fetch(TICK[0]).bars
        assert mine.equals(again)
        assert not mine["close"].equals(theirs["close"])
        assert (source.legs()["chart"], other.legs()["chart"]) == (2, 1)
        assert len(other_simulator.requests) == 3
        # Each simulator knows only its own cookies and crumbs: a mixed-up one would have been refused with 401.
        assert {r.status for r in [*simulator.requests, *other_simulator.requests] if r.symbol} == {200}


def test_a_redirect_does_not_lead_out_to_the_real_yahoo(make_source: MakeSource) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: https://finance.yahoo.com/\r\nContent-Length: 0\r\n\r\n"
    with (
        byte_server(answer) as url,
        pytest.raises(SourceUnavailableError, match=r"to finance\.yahoo\.com:443 .*Could not"),
    ):
        make_source(base_url=url).fetch(TICK[0])


def test_nothing_is_written_to_disk_and_yfinances_own_client_stays_untouched(
    simulator: SimulatorServer, tmp_path: Path
) -> None:
    program = textwrap.dedent(f"""
        import sys
        from datetime import timedelta
        from market_assets.clock import ManualClock
        from market_assets.sources.yahoo import YahooSource
        from market_assets_tests.sources.conftest import NOW
        assert "yfinance" not in sys.modules
        source = YahooSource(clock=ManualClock(NOW), base_url="{simulator.url}", timeout=timedelta(seconds=5))
        assert "yfinance" not in sys.modules
        assert source.probe(timeout=timedelta(seconds=20)).ok
        from yfinance.data import SingletonMeta
        assert SingletonMeta._instances == {{}}
    """)
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_parts_of_yfinance_that_are_replaced_exist() -> None:
    assert {"get", "_load_cookie_curlCffi", "_save_cookie_curlCffi"} <= set(vars(import_module("yfinance.data").YfData))
