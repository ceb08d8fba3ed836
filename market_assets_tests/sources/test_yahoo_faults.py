"""Everything that goes wrong has its own error, with the cause chained and the request named."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    RateLimitedError,
    SettingsError,
    SourceAuthError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    SymbolNotFoundError,
    WindowRefusedError,
    WrongSymbolError,
)
from market_assets.sources.base import FetchRequest, Interval
from market_assets.sources.pool import FetchPool
from market_assets.sources.simulator import Fault
from market_assets.universe import UNIVERSE

from .conftest import byte_server

if TYPE_CHECKING:
    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer
    from market_assets.sources.yahoo import YahooSource

    from .conftest import MakeSource

TODAY = datetime(2026, 3, 4, tzinfo=UTC)
REQUEST = FetchRequest(UNIVERSE["QQQ"], Interval.M15, TODAY, TODAY + timedelta(days=1))
NAMED = "QQQ 15m 2026-03-04T00:00:00Z..2026-03-05T00:00:00Z"


def chart_requests(simulator: SimulatorServer) -> int:
    return sum(request.path.startswith("/v8/finance/chart/") for request in simulator.requests)


@pytest.mark.parametrize(
    ("fault", "error", "expected"),
    [
        ("rate_limited", RateLimitedError, ("HTTP 429: Too Many Requests", 1)),
        # yfinance asks a second time with its other cookie strategy
        ("invalid_crumb", SourceAuthError, ("HTTP 401: Unauthorized: Invalid Crumb", 2)),
        ("not_found", SymbolNotFoundError, ("HTTP 404: Not Found: No data found", 1)),
        ("server_error", SourceUnavailableError, ("HTTP 500", 1)),
        ("bad_gateway", SourceUnavailableError, ("HTTP 502: a web page", 1)),
        ("truncated", MalformedAnswerError, ("is no JSON", 1)),
        ("wrong_symbol", WrongSymbolError, ("about 'AAPL'", 1)),
        ("empty", EmptyAnswerError, ("no bar though the venue finished 3", 1)),
        ("null_bars", EmptyAnswerError, ("null_bar", 1)),
    ],
)
def test_each_fault_has_its_error_after_as_few_requests_as_possible(
    source: YahooSource,
    simulator: SimulatorServer,
    fault: str,
    error: type[SourceError],
    expected: tuple[str, int],
) -> None:
    message, charts = expected
    simulator.faults.add(Fault(kind=fault))
    with pytest.raises(error) as caught:
        source.fetch(REQUEST)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{NAMED}: ")
    assert message in str(caught.value)
    if error not in {WrongSymbolError, EmptyAnswerError}:
        assert caught.value.__cause__ is not None
    assert chart_requests(simulator) == charts


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"chart":{"result":null,"error":{"code":"Bad Request","description":"no"}}}', WindowRefusedError),
        (403, b"Forbidden", SourceAuthError),
        (404, b"<html>captive portal</html>", SourceUnavailableError),
        (408, b"", SourceTimeoutError),
        (418, b"teapot", SourceError),
        (503, b"<html></html>", SourceUnavailableError),
        (200, b"<html>consent</html>", MalformedAnswerError),
        (200, b"null", MalformedAnswerError),
        (200, b'{"chart":{"result":[],"error":null}}', MalformedAnswerError),
        (200, b'{"chart":{"result":null,"error":{"code":"x","description":"y"}}}', MalformedAnswerError),
    ],
)
def test_each_status_and_body_has_its_error(
    source: YahooSource, simulator: SimulatorServer, status: int, body: bytes, error: type[SourceError]
) -> None:
    simulator.play("QQQ", body, status=status)
    with pytest.raises(error) as caught:
        source.fetch(REQUEST)
    assert type(caught.value) is error
    assert str(caught.value).startswith(NAMED)


def test_an_answer_with_bars_of_another_length_is_refused(source: YahooSource, simulator: SimulatorServer) -> None:
    # On the quarter hours of the 15m grid, hourly bars would pass for 15m bars.
    source.fetch(REQUEST)
    with socket.create_connection(("127.0.0.1", int(simulator.url.rpartition(":")[2])), timeout=5) as raw:
        raw.sendall(b"GET /v8/finance/chart/QQQ?interval=1h&period1=1772600000&period2=1772700000 HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    simulator.play("QQQ", answer.partition(b"\r\n\r\n")[2])
    with pytest.raises(MalformedAnswerError, match="has bars of 1h"):
        source.fetch(REQUEST)


def test_a_server_that_hangs_is_a_timeout(make_source: MakeSource, simulator: SimulatorServer) -> None:
    simulator.faults.add(Fault(kind="hang"))
    began = time.monotonic()
    with pytest.raises(SourceTimeoutError) as caught:
        make_source(timeout=timedelta(milliseconds=150)).fetch(REQUEST)
    assert time.monotonic() - began < 2
    assert "See https" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_refused_connection_is_unavailable(make_source: MakeSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    with pytest.raises(SourceUnavailableError, match="Could not connect"):
        make_source(base_url=f"http://127.0.0.1:{port}").fetch(REQUEST)


def test_an_answer_that_breaks_off_is_malformed(make_source: MakeSource) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"chart"'
    with byte_server(answer) as url, pytest.raises(MalformedAnswerError, match="bytes missing"):
        make_source(base_url=url).fetch(REQUEST)


def test_yahoos_own_status_for_too_many_requests_is_a_rate_limit(make_source: MakeSource) -> None:
    answer = b"HTTP/1.1 999 Busy\r\nContent-Length: 9\r\n\r\nerror 999"
    with byte_server(answer) as url, pytest.raises(RateLimitedError, match="HTTP 999: error 999"):
        make_source(base_url=url).fetch(REQUEST)


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "http://", "http://host/prefix", "http://host?x=1"])
def test_a_base_url_that_is_no_root_names_the_setting(make_source: MakeSource, url: str) -> None:
    with pytest.raises(SettingsError, match="YAHOO_BASE_URL"):
        make_source(base_url=url).fetch(REQUEST)


def test_an_unknown_host_is_unavailable(make_source: MakeSource) -> None:
    with pytest.raises(SourceUnavailableError, match=r"'nowhere\.invalid'.*unknown"):
        make_source(base_url="http://nowhere.invalid").fetch(REQUEST)


# --- with the pool ----------------------------------------------------------------------------------------------------


def test_a_retry_really_reaches_the_wire_even_for_a_closed_window(
    source: YahooSource, simulator: SimulatorServer, clock: ManualClock
) -> None:
    # yfinance memoises answers about closed windows in the process, errors too.
    closed = FetchRequest(UNIVERSE["QQQ"], Interval.M15, TODAY - timedelta(days=2), TODAY - timedelta(days=1))
    simulator.faults.add(Fault(kind="bad_gateway", times=1))
    simulator.faults.add(Fault(kind="truncated", times=1))
    with FetchPool(source, clock=clock, retry_wait=timedelta(milliseconds=1)) as pool:
        assert len(pool.submit([closed])[closed].result().bars) == 26
        assert pool.stats().attempts == 3
        assert chart_requests(simulator) == 3
        pool.fetch_again(closed)
        assert chart_requests(simulator) == 4


def test_after_a_rate_limit_nothing_more_is_asked(
    source: YahooSource, simulator: SimulatorServer, clock: ManualClock
) -> None:
    simulator.latency = timedelta(milliseconds=10)
    simulator.faults.add(Fault(kind="rate_limited", symbol="QQQ"))
    requests = [FetchRequest(ticker, Interval.M15, REQUEST.start, REQUEST.end) for ticker in UNIVERSE]
    with FetchPool(source, clock=clock, workers=2, rate_limit_backoff=timedelta(hours=1)) as pool:
        errors = [future.exception() for future in pool.submit(requests).values()]
        stopped = chart_requests(simulator)
        time.sleep(0.05)
        assert chart_requests(simulator) == stopped <= 4
    assert isinstance(errors[0], RateLimitedError)
    assert {getattr(error, "code", "ok") for error in errors} <= {"rate_limited", "batch_stopped", "ok"}
    assert source.legs()["chart"] == stopped


# --- probe ------------------------------------------------------------------------------------------------------------


def test_a_probe_says_that_the_source_answers(source: YahooSource) -> None:
    found = source.probe()
    assert (found.ok, found.code) == (True, None)
    assert "simulator answered with 7 daily bars of QQQ" in found.detail
    assert source.probe(UNIVERSE["BTC"]).ok


def test_a_probe_says_what_is_wrong(source: YahooSource, simulator: SimulatorServer) -> None:
    simulator.faults.add(Fault(kind="rate_limited"))
    found = source.probe()
    assert (found.ok, found.code) == (False, "rate_limited")
    assert "HTTP 429" in found.detail


def test_a_probe_returns_in_time_though_nothing_answers(source: YahooSource, simulator: SimulatorServer) -> None:
    simulator.faults.add(Fault(kind="hang"))
    found = source.probe(timeout=timedelta(milliseconds=100))
    assert (found.ok, found.code) == (False, "timeout")
    assert found.seconds < 1


def test_a_probe_with_a_wrong_setting_says_so(make_source: MakeSource) -> None:
    with pytest.raises(SettingsError, match="YAHOO_BASE_URL"):
        make_source(base_url="http://host/prefix").probe()
