"""The simulator on the wire, compared with answers recorded from Yahoo."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from market_assets.clock import ManualClock
from market_assets.sources.simulator import Market, SimulatorServer
from market_assets_tests.sources.simulator_helpers import NOW, ask, ask_chart, chart_path, server_at, utc

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


def move_to(server: SimulatorServer, text: str) -> datetime:
    server.offset += utc(text) - server.now()
    return server.now()


def recorded(shared_dir: Path, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((shared_dir / "yahoo" / name).read_text())["chart"]["result"][0]
    return result


def shape(value: object) -> object:
    """Keys and types of JSON; all elements of an array must share one shape. Yahoo writes 1518.0 as 1518 at times."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        shapes = {json.dumps(shape(item), sort_keys=True) for item in value if item is not None}
        return sorted(shapes)
    return "number" if isinstance(value, int | float) else type(value).__name__


def meta_shape(meta: dict[str, Any], *, without: tuple[str, ...] = ()) -> object:
    return shape({key: value for key, value in meta.items() if key not in without})


# --- structure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol", "interval"),
    [
        ("qqq_1d_1bar.json", "QQQ", "1d"),
        ("eurusd_1d_3d.json", "EURUSD=X", "1d"),
        ("lpad_yahoo_chart_tnx_5m_1d.json", "^VIX", "5m"),
        ("aapl_1m_1day_null.json", "SPY", "15m"),
    ],
)
def test_a_chart_has_the_keys_and_types_of_a_recorded_one(
    server: SimulatorServer, shared_dir: Path, name: str, symbol: str, interval: str
) -> None:
    theirs, ours = recorded(shared_dir, name), ask_chart(server, symbol, interval).result()
    assert shape(ours) == shape(theirs)


def test_the_keys_of_meta_come_in_yahoos_order(server: SimulatorServer, shared_dir: Path) -> None:
    for name, symbol, interval in (("qqq_1d_1bar.json", "QQQ", "1d"), ("aapl_1m_1day_null.json", "QQQ", "15m")):
        assert list(ask_chart(server, symbol, interval).result()["meta"]) == list(recorded(shared_dir, name)["meta"])


def test_dividends_and_splits_look_like_recorded_ones(server: SimulatorServer, shared_dir: Path) -> None:
    move_to(server, "2020-06-30T12:00")
    theirs = recorded(shared_dir, "aapl_1d_1y_split_div.json")["events"]
    spy = ask_chart(server, "SPY", "1d", 120).result()["events"]["dividends"]
    uso = ask_chart(server, "USO", "1d", 120).result()["events"]
    assert list(spy) == [str(int(utc("2020-03-18T13:30").timestamp())), str(int(utc("2020-06-18T13:30").timestamp()))]
    for stamp, dividend in spy.items():
        assert dividend["date"] == int(stamp)
    assert {json.dumps(shape(entry)) for entry in spy.values()} == {
        json.dumps(shape(entry)) for entry in theirs["dividends"].values()
    }
    stamp = int(utc("2020-04-29T13:30").timestamp())
    assert uso == {"splits": {str(stamp): {"date": stamp, "numerator": 1, "denominator": 8, "splitRatio": "1:8"}}}
    assert shape(list(uso["splits"].values())) == shape(list(theirs["splits"].values()))


def test_events_are_sent_only_when_asked_for(server: SimulatorServer) -> None:
    assert "events" not in ask_chart(server, "SPY", "1d", 120, events="").result()
    assert "events" not in ask_chart(server, "SPY", "1d", 120, events="splits").result()
    assert list(ask_chart(server, "SPY", "15m", 59, events="div").result().get("events", {})) == []
    assert list(ask_chart(server, "SPY", "1h", 120, events="div").result()["events"]) == ["dividends"]


def test_an_empty_intraday_answer_looks_like_the_recorded_weekend(server: SimulatorServer, shared_dir: Path) -> None:
    move_to(server, "2025-11-22T15:00")
    theirs = recorded(shared_dir, "aapl_1m_weekend_empty.json")
    ours = ask_chart(server, "SPY", "15m", 0.5).result()
    assert shape(ours) == shape(theirs)
    assert ours["indicators"] == theirs["indicators"]


def test_an_empty_daily_answer_looks_like_the_recorded_one(server: SimulatorServer, shared_dir: Path) -> None:
    move_to(server, "2025-11-22T15:00")
    theirs, ours = recorded(shared_dir, "index_vxapl_1d_empty.json"), ask_chart(server, "^VIX", "1d", 0.5).result()
    assert list(ours) == list(theirs)
    assert ours["indicators"] == theirs["indicators"]


def test_meta_names_the_exchange_as_the_recordings_do(server: SimulatorServer, shared_dir: Path) -> None:
    same = ("currency", "symbol", "exchangeName", "instrumentType", "exchangeTimezoneName", "priceHint", "gmtoffset")
    for name, symbol in (
        ("qqq_1d_1y_div.json", "QQQ"),
        ("eurusd_1d_1y.json", "EURUSD=X"),
        ("btcusd_1d_1y_nulls.json", "BTC-USD"),
    ):
        theirs, ours = recorded(shared_dir, name)["meta"], ask_chart(server, symbol, "1d").result()["meta"]
        assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    zones = {symbol: ask_chart(server, symbol, "1d").result()["meta"]["exchangeTimezoneName"]
             for symbol in ("^VIX", "DX-Y.NYB", "JPY=X")}  # fmt: skip
    assert zones == {"^VIX": "America/Chicago", "DX-Y.NYB": "America/New_York", "JPY=X": "Europe/London"}


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("qqq_1d_1bar.json", "QQQ"), ("eurusd_1d_3d.json", "EURUSD=X"), ("gold_future_1d.json", "DX-Y.NYB")],
)
def test_trading_periods_lie_as_recorded(server: SimulatorServer, shared_dir: Path, name: str, symbol: str) -> None:
    theirs = recorded(shared_dir, name)["meta"]["currentTradingPeriod"]
    # the day on which these were recorded, before New York's open
    move_to(server, "2025-02-20T12:00")
    assert ask_chart(server, symbol, "1d").result()["meta"]["currentTradingPeriod"] == theirs


def test_after_the_evening_the_current_period_is_the_next_session(server: SimulatorServer) -> None:
    move_to(server, "2024-10-12T12:00")
    meta = ask_chart(server, "SPY", "1d").result()["meta"]
    # recorded on that weekend: the Monday
    assert meta["currentTradingPeriod"]["regular"] == {
        "timezone": "EDT", "start": 1728912600, "end": 1728936000, "gmtoffset": -14400,
    }  # fmt: skip
    assert meta["regularMarketTime"] == 1728676800


def test_intraday_answers_list_the_regular_hours_of_each_session(server: SimulatorServer) -> None:
    move_to(server, "2024-12-02T15:00")
    periods = ask_chart(server, "SPY", "15m", 6).result()["meta"]["tradingPeriods"]
    hours = [(period["end"] - period["start"]) / 3600 for (period,) in periods]
    assert hours == [6.5, 6.5, 3.5, 6.5]
    fx = ask_chart(server, "EURUSD=X", "15m", 3.5).result()
    days = [(period["start"], period["end"]) for (period,) in fx["meta"]["tradingPeriods"]]
    for stamp in fx["timestamp"]:
        assert any(start <= stamp < end for start, end in days)
    assert {end - start for start, end in days} == {86340}


def test_prices_are_single_precision_and_volumes_whole(server: SimulatorServer) -> None:
    quote = ask_chart(server, "QQQ", "15m").result()["indicators"]["quote"][0]
    for name in ("open", "high", "low", "close"):
        assert [float(np.float32(value)) for value in quote[name]] == quote[name]
    assert all(isinstance(volume, int) for volume in quote["volume"])


# --- the same bytes ---------------------------------------------------------------------------------------------------


def test_a_closed_window_has_the_same_rows_from_every_server_and_at_every_time(server: SimulatorServer) -> None:
    path = chart_path("QQQ", "15m", (utc("2025-11-03"), utc("2025-11-08")))
    first = ask(server, path)
    with SimulatorServer(ManualClock(NOW)) as other:
        assert ask(other, path).body == first.body
    move_to(server, "2025-11-25T01:00")
    later = ask(server, path).result()
    assert (later["timestamp"], later["indicators"]) == (first.result()["timestamp"], first.result()["indicators"])


def test_sixty_minutes_is_one_hour_and_symbols_ignore_case(server: SimulatorServer) -> None:
    one, other = (ask_chart(server, symbol, interval).result() for symbol, interval in (("qqq", "60m"), ("QQQ", "1h")))
    assert one["indicators"] == other["indicators"]
    assert (one["meta"]["symbol"], one["meta"]["dataGranularity"]) == ("QQQ", "60m")


# --- windows and limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "days"), [("5m", 60), ("15m", 60), ("30m", 60), ("1h", 730), ("60m", 730)])
def test_the_limit_of_an_interval_rolls_by_the_second(
    server: SimulatorServer, shared_dir: Path, interval: str, days: int
) -> None:
    first = NOW - timedelta(days=days)
    served = ask(server, chart_path("QQQ", interval, (first, first + timedelta(days=3)))).result()
    assert served["timestamp"][0] >= first.timestamp()
    start, end = first - timedelta(seconds=1), NOW
    refused = ask(server, chart_path("QQQ", interval, (start, end)))
    theirs = (shared_dir / "yahoo" / "err_422_5m_beyond_60d_t.json").read_text().strip()
    expected = re.sub(r"startTime=\d+", f"startTime={int(start.timestamp())}", theirs)
    expected = re.sub(r"endTime=\d+", f"endTime={int(end.timestamp())}", expected)
    expected = expected.replace("5m data", f"{interval} data").replace("last 60 days", f"last {days} days")
    assert (refused.status, refused.body.decode()) == (422, expected)


def test_daily_bars_reach_back_to_the_first_day(server: SimulatorServer) -> None:
    found = ask(server, chart_path("SPY", "1d", (utc("1930-01-01"), utc("2016-02-01")))).result()
    assert found["timestamp"][0] == found["meta"]["firstTradeDate"] == int(utc("2016-01-04T14:30").timestamp())


def test_a_window_is_cut_by_the_second(server: SimulatorServer) -> None:
    window = (utc("2025-11-18T14:30:01"), utc("2025-11-18T15:00:01"))
    found = ask(server, chart_path("QQQ", "15m", window)).result()["timestamp"]
    assert found == [int(utc(text).timestamp()) for text in ("2025-11-18T14:45", "2025-11-18T15:00")]
    shorter = ask(server, chart_path("QQQ", "15m", (window[0], utc("2025-11-18T15:00")))).result()["timestamp"]
    assert shorter == found[:1]


@pytest.mark.parametrize(
    ("named", "rows"), [("1d", 1), ("5d", 5), ("1mo", 22), ("6mo", 126), ("1y", 250), ("max", 2487)]
)
def test_a_range_may_be_named(server: SimulatorServer, named: str, rows: int) -> None:
    found = ask_chart(server, "QQQ", "1d", None, range=named).result()
    assert abs(len(found["timestamp"]) - rows) <= (0 if rows < 10 else 3)
    assert found["meta"]["range"] == named


def test_the_time_zone_look_up_of_the_client_is_answered(server: SimulatorServer) -> None:
    # what yfinance sends first: /v8/finance/chart/QQQ?range=1d&interval=1d
    found = ask(server, "/v8/finance/chart/%5EVIX?range=1d&interval=1d").result()
    assert found["meta"]["exchangeTimezoneName"] == "America/Chicago"
    assert len(found["timestamp"]) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v8/finance/chart/SPY?interval=7m", 422, "Unprocessable Entity"),
        ("/v8/finance/chart/SPY?interval=1d&range=9d", 422, "Unprocessable Entity"),
        ("/v8/finance/chart/SPY?interval=1d&period1=x&period2=5", 400, "Bad Request"),
        ("/v8/finance/chart/SPY?interval=1d&period1=1700000000&period2=1600000000", 400, "Bad Request"),
        ("/v8/finance/chart/SPY?interval=1d&period1=100&period2=1000", 400, "Bad Request"),
        ("/v8/finance/chart/SPY?interval=1d&period1=1900000000&period2=1900086400", 400, "Bad Request"),
        ("/v8/finance/chart/NOPE?interval=1d", 404, "Not Found"),
    ],
)
def test_a_bad_request_gets_yahoos_error_object(server: SimulatorServer, path: str, status: int, code: str) -> None:
    answer = ask(server, path)
    assert answer.status == status
    error = answer.json()["chart"]
    assert error["result"] is None
    assert error["error"]["code"] == code
    assert error["error"]["description"]


def test_a_clock_outside_of_the_simulated_years_is_a_bad_request_not_a_crash(server: SimulatorServer) -> None:
    for text in ("2015-03-01", "2041-06-01"):
        move_to(server, text)
        assert ask(server, "/v8/finance/chart/SPY?interval=1d&range=1d").status == 400


def test_an_unknown_symbol_gets_the_recorded_404(server: SimulatorServer, shared_dir: Path) -> None:
    answer = ask_chart(server, "MDLY", "1d")
    assert (answer.status, answer.body) == (404, (shared_dir / "yahoo/err_404_mdly.json").read_bytes().strip())
    assert ask(server, "/v10/finance/quoteSummary/MDLY").status == 404
    assert ask(server, "/v7/finance/quote?symbols=MDLY").json() == {"quoteResponse": {"result": [], "error": None}}
    assert ask(server, "/anything/else").status == 404


def test_an_added_symbol_is_served_and_an_added_split_rebases_the_answers() -> None:
    server = server_at()
    server.market = Market(7)
    server.market.add_symbol("DIA")
    with server:
        before = ask_chart(server, "DIA", "1d").result()
        server.market.add_split("DIA", date(2025, 11, 19), 3.0)
        after = ask_chart(server, "DIA", "1d").result()
    assert after["events"]["splits"][str(int(utc("2025-11-19T14:30").timestamp()))]["splitRatio"] == "3:1"
    closes, rebased = (found["indicators"]["quote"][0]["close"][0] for found in (before, after))
    assert rebased == pytest.approx(closes / 3, rel=1e-6)
