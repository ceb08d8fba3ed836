"""Each fault of the simulator, and driving it from another process."""

from __future__ import annotations

import json
import threading
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.errors import NaiveTimestampError
from market_assets.sources.simulator import BadStyle, Fault, FaultBook, FaultKind, SimulatorServer
from market_assets.sources.simulator.admin import fault_from_json, fault_to_json
from market_assets_tests.sources.simulator_helpers import NOW, ask, ask_chart, server_at, utc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Chart = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorServer]:
    with server_at() as server:
        yield server


@pytest.fixture
def server(running: SimulatorServer) -> SimulatorServer:
    """The module's server at NOW, without faults."""
    running.offset = timedelta(0)
    running.faults.clear()
    running.stop_playing()
    return running


def quote(chart: Chart) -> dict[str, list[float]]:
    found: dict[str, list[float]] = chart["indicators"]["quote"][0]
    return found


def stamp(text: str) -> int:
    return int(utc(text).timestamp())


# --- transport --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "recording"),
    [
        (FaultKind.RATE_LIMITED, 429, "err_429_body.txt"),
        (FaultKind.INVALID_CRUMB, 401, "err_401_invalid_crumb.json"),
        (FaultKind.NOT_FOUND, 404, "err_404_mdly.json"),
    ],
)
def test_a_refusal_has_the_recorded_body(
    server: SimulatorServer, shared_dir: Path, kind: FaultKind, status: int, recording: str
) -> None:
    server.faults.add(Fault(kind=kind))
    answer = ask_chart(server, "QQQ", "15m")
    assert (answer.status, answer.body.strip()) == (status, (shared_dir / "yahoo" / recording).read_bytes().strip())


def test_a_server_error_has_no_chart_and_a_bad_gateway_is_a_page(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.SERVER_ERROR, times=1))
    server.faults.add(Fault(kind=FaultKind.BAD_GATEWAY, times=1))
    first, second, third = (ask_chart(server, "QQQ", "15m") for _ in range(3))
    assert first.status == 500
    assert "chart" not in first.json()
    assert second.status == 502
    assert b"Will be right back" in second.body
    assert "html" in second.headers["content-type"]
    assert third.status == 200


def test_a_truncated_body_is_no_json(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.TRUNCATED))
    answer = ask_chart(server, "QQQ", "15m")
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_an_answer_may_be_about_another_symbol(server: SimulatorServer) -> None:
    plain = ask_chart(server, "QQQ", "15m").result()
    server.faults.add(Fault(kind=FaultKind.WRONG_SYMBOL, other_symbol="SPY"))
    wrong = ask_chart(server, "QQQ", "15m").result()
    assert wrong["meta"]["symbol"] == "SPY"
    assert quote(wrong) == quote(plain)


def test_the_crumb_may_be_refused_while_charts_go_on(server: SimulatorServer) -> None:
    cookie = {"Cookie": ask(server, "/").headers["set-cookie"].split(";")[0]}
    server.faults.add(Fault(kind=FaultKind.REFUSE_CRUMB, times=1))
    server.faults.add(Fault(kind=FaultKind.REFUSE_CRUMB, times=1, status=401))
    answers = [ask(server, "/v1/test/getcrumb", headers=cookie) for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 401, 200]
    assert answers[0].body == b"Too Many Requests\r\n"
    assert ask_chart(server, "QQQ", "15m").status == 200


def test_a_slow_answer_comes_late_and_complete(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.SLOW, delay=timedelta(seconds=0.15), times=1))
    began = time.monotonic()
    assert ask_chart(server, "QQQ", "15m").status == 200
    assert time.monotonic() - began >= 0.15


def test_a_hanging_request_is_never_answered_and_does_not_hold_up_the_stop() -> None:
    server = server_at()
    server.faults.add(Fault(kind=FaultKind.HANG, symbol="QQQ"))
    with server:
        with pytest.raises(TimeoutError):
            ask_chart_quickly(server)
        waiting = threading.Thread(target=ask_chart, args=(server, "QQQ", "15m"))
        waiting.start()
        while len(server.requests) < 2:
            time.sleep(0.005)
        assert ask_chart(server, "SPY", "15m").status == 200
        assert server.requests[1].status is None
        began = time.monotonic()
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    assert time.monotonic() - began < 2


def ask_chart_quickly(server: SimulatorServer) -> None:
    ask(server, "/v8/finance/chart/QQQ?interval=1d&range=1d", timeout=0.1)


# --- data -------------------------------------------------------------------------------------------------------------


def test_a_well_formed_answer_may_be_empty(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.EMPTY))
    chart = ask_chart(server, "QQQ", "15m").result()
    assert "timestamp" not in chart
    assert chart["indicators"] == {"quote": [{}]}


def test_bars_of_a_window_may_be_null(server: SimulatorServer) -> None:
    start, end = utc("2025-11-18T15:00"), utc("2025-11-18T15:30")
    server.faults.add(Fault(kind=FaultKind.NULL_BARS, start=start, end=end))
    chart = ask_chart(server, "QQQ", "15m").result()
    for name in ("open", "high", "low", "close", "volume"):
        nulls = [at for at, value in zip(chart["timestamp"], quote(chart)[name], strict=True) if value is None]
        assert nulls == [stamp("2025-11-18T15:00"), stamp("2025-11-18T15:15")]


def test_the_live_row_is_never_null(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.NULL_BARS))
    chart = ask_chart(server, "QQQ", "15m").result()
    assert [value is None for value in quote(chart)["close"]] == [True] * (len(chart["timestamp"]) - 1) + [False]


@pytest.mark.parametrize(("interval", "rows"), [("15m", 26), ("1h", 7), ("1d", 1)])
def test_a_whole_session_may_be_missing_and_come_back(server: SimulatorServer, interval: str, rows: int) -> None:
    whole = ask_chart(server, "QQQ", interval).result()
    number = server.faults.add(Fault(kind=FaultKind.MISSING_SESSION, session=date(2025, 11, 18)))
    holed = ask_chart(server, "QQQ", interval).result()
    missing = set(whole["timestamp"]) - set(holed["timestamp"])
    assert len(missing) == rows
    assert min(missing) == stamp("2025-11-18T14:30")
    server.faults.remove(number)
    assert ask_chart(server, "QQQ", interval).result() == whole


def test_a_hole_may_be_given_by_its_window(server: SimulatorServer) -> None:
    start, end = utc("2025-11-18T15:00"), utc("2025-11-18T15:30")
    server.faults.add(Fault(kind=FaultKind.MISSING_SESSION, start=start, end=end))
    found = ask_chart(server, "QQQ", "15m").result()["timestamp"]
    assert stamp("2025-11-18T14:45") in found
    assert stamp("2025-11-18T15:00") not in found
    assert stamp("2025-11-18T15:30") in found


def test_late_bars_are_absent_until_their_delay_has_passed(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.LATE_BARS, delay=timedelta(minutes=20)))
    chart = ask_chart(server, "QQQ", "15m").result()
    assert chart["timestamp"][-2:] == [stamp("2025-11-19T14:45"), stamp("2025-11-19T14:46:57")]
    assert chart["meta"]["regularMarketTime"] == stamp("2025-11-19T14:46:57")


def test_bars_may_be_revised(server: SimulatorServer) -> None:
    plain = ask_chart(server, "QQQ", "15m").result()
    start, end = utc("2025-11-18T15:00"), utc("2025-11-18T15:15")
    server.faults.add(Fault(kind=FaultKind.REVISED_BARS, start=start, end=end, factor=1.001, volume_factor=2))
    revised = ask_chart(server, "QQQ", "15m").result()
    changed = [
        k
        for k, pair in enumerate(zip(quote(plain)["close"], quote(revised)["close"], strict=True))
        if pair[0] != pair[1]
    ]
    assert [plain["timestamp"][k] for k in changed] == [stamp("2025-11-18T15:00")]
    (k,) = changed
    assert quote(revised)["low"][k] == pytest.approx(quote(plain)["low"][k] * 1.001)
    assert quote(revised)["volume"][k] == quote(plain)["volume"][k] * 2
    assert quote(revised)["volume"][k + 1] == quote(plain)["volume"][k + 1]


@pytest.mark.parametrize("style", list(BadStyle))
def test_bars_may_be_impossible(server: SimulatorServer, style: BadStyle) -> None:
    plain = quote(ask_chart(server, "QQQ", "15m").result())
    start, end = utc("2025-11-18T15:00"), utc("2025-11-18T15:45")
    server.faults.add(Fault(kind=FaultKind.BAD_BARS, style=style, start=start, end=end))
    chart = ask_chart(server, "QQQ", "15m").result()
    bad, first = quote(chart), chart["timestamp"].index(stamp("2025-11-18T15:00"))
    for k in range(first, first + 3):
        if style is BadStyle.HUNDREDFOLD:
            assert bad["close"][k] == plain["close"][k] * 100
        elif style is BadStyle.NEGATIVE:
            assert bad["close"][k] == -plain["close"][k]
        elif style is BadStyle.HIGH_BELOW_LOW:
            assert bad["high"][k] < bad["low"][k]
        else:
            assert {bad[name][k] for name in ("open", "high", "low", "close")} == {plain["close"][first]}
    for name in ("open", "high", "low", "close"):
        assert bad[name][:first] == plain[name][:first]
        assert bad[name][first + 3 :] == plain[name][first + 3 :]


# --- which requests a fault meets -------------------------------------------------------------------------------------


def test_a_fault_meets_only_its_symbol_interval_and_number_of_requests(server: SimulatorServer) -> None:
    server.faults.add(Fault(kind=FaultKind.RATE_LIMITED, symbol="QQQ", interval="15m", times=2))
    statuses = [ask_chart(server, *which).status for which in (
        ("SPY", "15m"), ("QQQ", "1d"), ("QQQ", "15m"), ("QQQ", "15m"), ("QQQ", "15m"),
    )]  # fmt: skip
    assert statuses == [200, 200, 429, 429, 200]
    assert server.faults.active() == {}


def test_a_fault_behind_an_answering_one_is_not_used_up() -> None:
    book = FaultBook()
    book.add(Fault(kind=FaultKind.SERVER_ERROR, times=1))
    book.add(Fault(kind=FaultKind.EMPTY, times=1))
    assert [fault.kind for fault in book.meet_chart("QQQ", "15m")] == [FaultKind.SERVER_ERROR]
    assert [fault.kind for fault in book.meet_chart("QQQ", "15m")] == [FaultKind.EMPTY]
    assert book.meet_chart("QQQ", "15m") == []


def test_a_fault_may_be_spelled_with_words_and_refuses_unknown_ones() -> None:
    assert Fault(kind="bad_bars", style="stuck").kind is FaultKind.BAD_BARS
    with pytest.raises(ValueError, match="nonsense"):
        Fault(kind="nonsense")
    with pytest.raises(NaiveTimestampError):
        Fault(kind="empty", start=utc("2025-11-18").replace(tzinfo=None))


# --- from another process ---------------------------------------------------------------------------------------------


def test_faults_survive_the_way_through_json() -> None:
    fault = Fault(
        kind="missing_session", symbol="QQQ", times=2, start=utc("2025-11-18"), session=date(2025, 11, 18),
        delay=timedelta(seconds=2.5),
    )  # fmt: skip
    assert fault_from_json(json.loads(json.dumps(fault_to_json(fault)))) == fault


def test_another_process_may_set_faults_and_end_them(server: SimulatorServer) -> None:
    state = ask(server, "/__simulator__/faults", method="POST", body={"kind": "not_found", "symbol": "QQQ"}).json()
    (number,) = state["faults"]
    assert ask_chart(server, "QQQ", "1d").status == 404
    assert ask(server, f"/__simulator__/faults?number={number}", method="DELETE").json()["faults"] == {}
    assert ask_chart(server, "QQQ", "1d").status == 200
    ask(server, "/__simulator__/faults", method="POST", body={"kind": "empty"})
    assert ask(server, "/__simulator__/faults", method="DELETE").json()["faults"] == {}


def test_another_process_may_move_the_clock(server: SimulatorServer) -> None:
    moved = ask(server, "/__simulator__/clock", method="POST", body={"now": "2025-11-20T15:00:00+00:00"}).json()
    assert (moved["now"], server.now()) == ("2025-11-20T15:00:00+00:00", utc("2025-11-20T15:00"))
    ask(server, "/__simulator__/clock", method="POST", body={"advance_seconds": 60})
    assert server.now() == utc("2025-11-20T15:01")
    ask(server, "/__simulator__/clock", method="POST", body={"offset_seconds": -86400})
    assert server.now() == NOW - timedelta(days=1)
    assert ask(server, "/__simulator__/state").json()["offset_seconds"] == -86400


def test_another_process_may_add_a_split(server: SimulatorServer) -> None:
    server.market.add_symbol("DIA")
    body = {"symbol": "DIA", "ex_date": "2025-11-19", "ratio": 2}
    assert "DIA" in ask(server, "/__simulator__/splits", method="POST", body=body).json()["symbols"]
    assert "splits" in ask_chart(server, "DIA", "1d").result()["events"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"kind": "nonsense"}),
        ("faults", {"kind": "empty", "colour": "red"}),
        ("faults", {"kind": "empty", "start": "2025-11-18T00:00:00"}),
        ("clock", {}),
        ("clock", {"now": "2025-11-18T00:00:00"}),
        ("splits", {"symbol": "NOPE", "ex_date": "2025-11-19", "ratio": 2}),
    ],
)
def test_a_bad_wish_is_refused_with_a_reason(server: SimulatorServer, path: str, body: dict[str, object]) -> None:
    answer = ask(server, f"/__simulator__/{path}", method="POST", body=body)
    assert answer.status == 400
    assert answer.json()["error"]
