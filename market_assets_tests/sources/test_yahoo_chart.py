"""Taking a chart answer apart."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pytest

from market_assets.sources.yahoo_chart import ChartFormatError, parse_chart

OPEN = 1772634600  # 2026-03-04 09:30 New York
DAY = 86400


def body(*, rows: int = 1, events: dict[str, Any] | None = None, **meta: object) -> dict[str, Any]:
    values = [float(n) for n in range(rows)]
    columns = {name: list(values) for name in ("open", "high", "low", "close", "volume")}
    described = {"symbol": "ARKK", "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d", **meta}
    result = {
        "meta": described,
        "timestamp": [OPEN + n * DAY for n in range(rows)],
        "indicators": {"quote": [columns]},
        **({} if events is None else {"events": events}),
    }
    return {"chart": {"result": [result], "error": None}}


def parse(answer: dict[str, Any]) -> Any:
    return parse_chart(json.dumps(answer).encode())


def event(amount: float, days: int = 0, seconds: int = 0) -> dict[str, Any]:
    return {"amount": amount, "date": OPEN + days * DAY + seconds}


def test_null_is_nan_and_the_last_trade_is_known() -> None:
    answer = body(rows=2, regularMarketTime=OPEN + 5)
    answer["chart"]["result"][0]["indicators"]["quote"][0]["close"][1] = None
    rows = parse(answer).rows
    assert np.isnan(rows.close).tolist() == [False, True]
    assert rows.last_trade_us == (OPEN + 5) * 1_000_000
    assert str(rows.zone) == "America/New_York"


@pytest.mark.parametrize(("stated", "read"), [("1h", "1h"), ("60m", "1h"), ("1d", "1d"), (None, None)])
def test_an_hour_has_two_names(stated: str | None, read: str | None) -> None:
    assert parse(body(dataGranularity=stated)).granularity == read


def test_several_distributions_of_one_day_are_one() -> None:
    events = {"dividends": {"a": event(0.2), "b": event(0.3, seconds=7)}, "splits": {}}
    assert parse(body(events=events)).dividends == {date(2026, 3, 4): 0.5}


def test_a_distribution_of_nothing_is_none() -> None:
    assert parse(body(events={"dividends": {"a": event(0.0)}})).dividends == {}


def test_capital_gains_are_paid_out_too_but_not_twice() -> None:
    events = {
        "dividends": {"a": event(0.1), "b": event(7.857, 1)},
        # the second one is already part of the dividend, as Yahoo has it since 2025
        "capitalGains": {"a": event(2.0), "b": event(6.42, 1), "c": event(1.5, 2)},
    }
    assert parse(body(events=events)).dividends == {
        date(2026, 3, 4): 2.1,
        date(2026, 3, 5): 7.857,
        date(2026, 3, 6): 1.5,
    }


def test_a_split_is_new_shares_per_old() -> None:
    split = {"date": OPEN, "numerator": 1, "denominator": 8, "splitRatio": "1:8"}
    assert parse(body(events={"splits": {"a": split}})).splits == {date(2026, 3, 4): 0.125}


def test_an_event_belongs_to_the_date_in_the_exchanges_time() -> None:
    late = {"dividends": {"a": event(0.1, seconds=14 * 3600)}}  # 23:30 New York is tomorrow in UTC
    assert list(parse(body(events=late)).dividends) == [date(2026, 3, 4)]


def test_actions_are_cut_to_the_days_asked_for() -> None:
    events = {"dividends": {str(n): event(0.1, n) for n in range(4)}}
    frame = parse(body(events=events)).actions(date(2026, 3, 5), date(2026, 3, 6))
    assert frame["ex_date"].tolist() == [date(2026, 3, 5), date(2026, 3, 6)]
    none = parse(body()).actions(date(2026, 3, 5), date(2026, 3, 6))
    assert none.empty
    assert none.dtypes.astype(str).to_dict() == {"kind": "object", "ex_date": "object", "value": "float64"}


def broken(**changes: Any) -> dict[str, Any]:
    answer = body()
    answer["chart"]["result"][0].update(changes)
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        broken(meta={}),
        broken(meta={"symbol": "ARKK", "exchangeTimezoneName": "Mars/Olympus"}),
        broken(timestamp=[OPEN, OPEN + 1]),
        broken(timestamp=["soon"]),
        broken(timestamp=None),
        broken(indicators={}),
        broken(indicators={"quote": [{}]}),
        broken(events={"dividends": {"a": {"amount": 1.0}}}),
        broken(events={"dividends": {"a": event(-1.0)}}),
        broken(events={"dividends": {"a": event(float("nan"))}}),
        broken(events={"splits": {"a": {"date": OPEN, "numerator": 1, "denominator": 0}}}),
        broken(events={"splits": {"a": {"date": OPEN, "numerator": 0, "denominator": 8}}}),
        broken(events=[1]),
        {"chart": {"result": None, "error": {"code": "Internal", "description": "no"}}},
        {},
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ChartFormatError):
        parse(answer)


@pytest.mark.parametrize("text", [b"", b"<html>", b'{"chart"', b"\xff\xfe", b"[]", b"null"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(ChartFormatError):
        parse_chart(text)
