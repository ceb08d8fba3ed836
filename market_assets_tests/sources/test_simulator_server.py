"""The simulator as a server: cookies and crumbs, answers played back, recorded requests, starting and stopping."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from curl_cffi import CurlOpt, requests

from market_assets.clock import ManualClock
from market_assets.sources.simulator import SimulatorServer
from market_assets_tests.sources.simulator_helpers import NOW, Answer, ask, ask_chart, chart_path, server_at, utc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorServer]:
    with server_at() as server:
        yield server


@pytest.fixture
def server(running: SimulatorServer) -> SimulatorServer:
    """The module's server at NOW, without played answers or recorded requests."""
    running.offset = timedelta(0)
    running.stop_playing()
    running.requests.clear()
    return running


# --- cookies and crumbs -----------------------------------------------------------------------------------------------


def a3_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].split(";")[0]


def test_the_first_host_answers_404_with_a_cookie_for_all_of_yahoo_that_expires_within_a_year(
    server: SimulatorServer,
) -> None:
    answer = ask(server, "/", headers={"Host": "fc.yahoo.com"})
    assert answer.status == 404
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("A3=d=")
    assert "Domain=.yahoo.com" in cookie
    assert re.search(r"Expires=\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d GMT", cookie)
    # a Secure cookie would be refused over plain HTTP
    assert "secure" not in cookie.lower()


def test_a_crumb_belongs_to_its_cookie(server: SimulatorServer, shared_dir: Path) -> None:
    cookies = [a3_of(ask(server, "/")) for _ in range(2)]
    crumbs = [ask(server, "/v1/test/getcrumb", headers={"Cookie": cookie}).body.decode() for cookie in cookies]
    assert crumbs[0] != crumbs[1]
    assert all(re.fullmatch(r"[\w-]{11}", crumb) for crumb in crumbs)
    path = chart_path("QQQ", "1d", None, range="5d", crumb=crumbs[0])
    assert ask(server, path, headers={"Cookie": cookies[0]}).status == 200
    for headers in ({"Cookie": cookies[1]}, {}):
        refused = ask(server, path, headers=headers)
        assert (refused.status, refused.body) == (
            401,
            (shared_dir / "yahoo/err_401_invalid_crumb.json").read_bytes().strip(),
        )


def test_a_crumb_stays_valid_when_another_simulator_takes_over(server: SimulatorServer) -> None:
    cookie = a3_of(ask(server, "/"))
    crumb = ask(server, "/v1/test/getcrumb", headers={"Cookie": cookie}).body.decode()
    with server_at() as other:
        path = chart_path("QQQ", "1d", None, range="5d", crumb=crumb)
        assert ask(other, path, headers={"Cookie": cookie}).status == 200


def test_there_is_no_crumb_without_a_cookie(server: SimulatorServer) -> None:
    answer = ask(server, "/v1/test/getcrumb")
    assert answer.status == 401
    assert answer.json()["finance"]["error"]["description"] == "Invalid Cookie"


def test_consent_gives_a_form_and_then_the_cookie(server: SimulatorServer) -> None:
    form = ask(server, "/consent").body.decode()
    session_id = re.search(r'name="sessionId" value="([^"]+)"', form)
    assert session_id is not None
    assert 'name="csrfToken"' in form
    for method, path in (("POST", "/v2/collectConsent"), ("GET", "/copyConsent")):
        answer = ask(server, f"{path}?sessionId={session_id[1]}", method=method)
        assert answer.status == 200
        assert a3_of(answer).startswith("A3=")


def test_a_browser_like_session_keeps_the_cookie_across_yahoos_host_names(server: SimulatorServer) -> None:
    port = server.url.rpartition(":")[2]
    hosts = ("fc.yahoo.com", "query1.finance.yahoo.com", "query2.finance.yahoo.com")
    with requests.Session(
        impersonate="chrome", curl_options={CurlOpt.RESOLVE: [f"{host}:{port}:127.0.0.1" for host in hosts]}
    ) as session:
        session.get(f"http://fc.yahoo.com:{port}/")
        crumb = session.get(f"http://query1.finance.yahoo.com:{port}/v1/test/getcrumb").text
        chart = session.get(
            f"http://query2.finance.yahoo.com:{port}/v8/finance/chart/QQQ",
            params={"range": "5d", "interval": "1d", "crumb": crumb},
        )
    assert chart.status_code == 200
    assert [record.host.partition(":")[0] for record in server.requests] == list(hosts)


# --- playing, recording, running --------------------------------------------------------------------------------------


def test_every_recorded_body_is_played_back_byte_for_byte(server: SimulatorServer, shared_dir: Path) -> None:
    for file in sorted((shared_dir / "yahoo").iterdir()):
        status = int(file.name[4:7]) if file.name.startswith("err_") else 200
        server.play("QQQ", file.read_bytes(), status=status)
        answer = ask_chart(server, "QQQ", "15m")
        assert (answer.status, answer.body) == (status, file.read_bytes())


def test_a_played_answer_may_be_for_one_interval_only(server: SimulatorServer) -> None:
    server.play("QQQ", b"quarter", interval="15m")
    assert ask_chart(server, "QQQ", "15m").body == b"quarter"
    assert ask_chart(server, "QQQ", "1h").result()["meta"]["symbol"] == "QQQ"
    assert ask_chart(server, "SPY", "15m").result()["meta"]["symbol"] == "SPY"
    server.stop_playing()
    assert ask_chart(server, "QQQ", "15m").result()["meta"]["symbol"] == "QQQ"


def test_requests_are_recorded_with_window_and_status(server: SimulatorServer) -> None:
    window = (utc("2025-11-18T14:30:01"), utc("2025-11-18T15:00:01"))
    ask(server, chart_path("EURUSD=X", "15m", window))
    ask(server, "/v8/finance/chart/NOPE?range=1d&interval=1d")
    ask(server, "/__simulator__/state")
    first, second = server.requests
    assert (first.symbol, first.interval, first.window, first.status) == ("EURUSD=X", "15m", window, 200)
    assert (first.at, first.path) == (NOW, "/v8/finance/chart/EURUSD=X")
    assert (second.symbol, second.window, second.status) == ("NOPE", None, 404)


def test_the_peak_of_requests_in_flight_is_counted() -> None:
    with server_at(latency=timedelta(seconds=0.2)) as server:
        threads = [threading.Thread(target=ask_chart, args=(server, "QQQ", "1d")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.in_flight_peak == 4
        assert server.in_flight == 0


def test_a_server_starts_again_after_its_stop_and_refuses_a_second_start() -> None:
    server = server_at()
    with pytest.raises(RuntimeError, match="call start"):
        _ = server.url
    for _ in range(2):
        with server:
            assert ask(server, "/v8/finance/chart/SPY?range=1d&interval=1d").status == 200
            with pytest.raises(RuntimeError, match="call stop"):
                server.start()
        server.stop()


def test_a_taken_port_is_an_error(server: SimulatorServer) -> None:
    taken = SimulatorServer(ManualClock(NOW), port=int(server.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        taken.start()


def test_the_simulator_runs_in_the_foreground_until_interrupted() -> None:
    program = (
        "from market_assets.clock import SystemClock\n"
        "from market_assets.sources.simulator import serve_forever\n"
        "serve_forever(SystemClock(), port=0, on_ready=lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = urlsplit(process.stdout.readline().decode().strip())
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        connection.request("POST", "/__simulator__/clock", body=json.dumps({"now": "2025-11-19T15:07:00+00:00"}))
        assert json.loads(connection.getresponse().read())["now"].startswith("2025-11-19T15:07:00")
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert process.returncode == 0
