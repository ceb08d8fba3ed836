"""A session that the source loses and finds again, through the schedules."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store import DayState
from market_assets.store.tables import MARKET_BARS
from market_assets_tests.fakes import small_universe, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collected, Collector
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

#: Wednesday, 19 November 2025
LOST = FIRST_TICK.date()
UNIVERSE = small_universe(("QQQ", "SPY", "BTC"))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-11-{text}+00:00")


def kinds(runs: list[Collected]) -> list[str]:
    return [run.record.kind if run.record else "" for run in runs]


def asks_for(run: Collected, day: date, symbol: str) -> bool:
    """Whether a request of `run` reaches back to `day`."""
    windows = [one.window for one in run.requests if one.symbol == symbol and one.interval == "15m" and one.window]
    return any(start.date() <= day < end.date() for start, end in windows)


def state(collector: Collector, interval: str, ticker: str = "QQQ", day: date = LOST) -> tuple[DayState, str | None]:
    entries = collector.store.runs.states(day, day + timedelta(days=1), tickers=[ticker])
    [entry] = [one for one in entries if one.interval == interval]
    return entry.state, entry.detail


def test_a_lost_session_is_asked_for_again_after_an_hour_a_day_and_a_week_and_rebuilds_what_stood_on_it(
    workshop: Workshop,
) -> None:
    collector = workshop.bootstrapped(UNIVERSE, at=datetime.fromisoformat("2025-11-18T23:31+00:00"))
    server = workshop.simulator
    server.faults.add(Fault(kind=FaultKind.MISSING_SESSION, symbol="QQQ", session=LOST))

    evening, _catch_up = collector.run_schedule("collect_tick", utc("19T22:01"))
    assert evening.success
    assert state(collector, "15m") == (DayState.HOLE_AT_SOURCE, "26 of 26 bars missing at the source")
    assert state(collector, "15m", "SPY") == (DayState.LATE, "26 late")
    # The tick after midnight also catches up the day that has ended.
    midnight = collector.run_schedule("collect_tick", utc("20T00:01"))
    assert kinds(midnight) == ["tick", "catch_up"]
    assert not asks_for(midnight[0], LOST, "QQQ")

    [half_past] = collector.run_schedule("collect_tick", utc("20T00:31"))
    assert not asks_for(half_past, LOST, "QQQ")
    tick, refill = collector.run_schedule("collect_tick", utc("20T01:01"))
    assert kinds([tick, refill]) == ["tick", "refill"]
    assert not asks_for(tick, LOST, "QQQ")
    assert {one.symbol for one in refill.requests} == {"QQQ"}
    assert asks_for(refill, LOST, "QQQ")
    # An answer without the bars is an answer: nothing has failed, and nothing was stored.
    assert refill.success, refill.failed_steps
    assert refill.status == "ok"
    assert "□" in refill.metadata("ticker/QQQ")["coverage"]
    assert kinds(collector.run_schedule("collect_tick", utc("20T01:31"))) == ["tick"]

    [settle] = collector.run_schedule("settle", utc("20T02:10"))
    assert asks_for(settle, LOST, "QQQ")
    assert state(collector, "15m") == (DayState.HOLE_AT_SOURCE, "26 of 26 bars missing at the source")
    [quiet] = collector.run_schedule("collect_tick", utc("20T16:01"))
    assert not asks_for(quiet, LOST, "QQQ")
    before = collector.row(utc("20T16:00"))
    assert pd.isna(before["ml_qqq_change_1d"])

    # It comes back in the second night, before the settle run.
    server.faults.clear()
    late = collector.run_schedule("collect_tick", utc("21T00:01"))
    assert "refill" in kinds(late)
    found = late[kinds(late).index("refill")]
    # 26 quarter hours and the day
    assert "27 new" in found.metadata("ticker/QQQ")["write/market_bars"]
    assert state(collector, "15m") == (DayState.LATE, "26 late")
    assert LOST in collector.store.runs.stale_days()

    rebuilt = collector.run_schedule("rebuild_stale_features", utc("21T02:40"))
    assert all(run.success for run in rebuilt)
    assert collector.store.runs.stale_days() == {}
    filled = collector.row(utc("19T18:00"))
    assert filled["ml_qqq_price"] == true_price(server, "QQQ", utc("19T18:00"))
    # Rows of later days that stood on the lost session have it now, and what was served stays readable.
    after = collector.row(utc("20T16:00"))
    assert pd.notna(after["ml_qqq_change_1d"])
    assert pd.isna(collector.row(utc("20T16:00"), as_of=before["known_from"])["ml_qqq_change_1d"])


def test_a_day_that_the_calendar_closes_has_no_hole_and_is_never_asked_for_again(workshop: Workshop) -> None:
    # Thanksgiving
    collector = workshop.bootstrapped(UNIVERSE, at=datetime.fromisoformat("2025-11-26T23:31+00:00"))
    for at in ("27T15:01", "28T00:01", "28T01:01", "28T01:31"):
        for run in collector.run_schedule("collect_tick", utc(at)):
            assert run.success
            assert "refill" not in kinds([run])
    assert state(collector, "15m", day=date(2025, 11, 27))[0] is DayState.CLOSED
    assert collector.store.read(MARKET_BARS, start=date(2025, 11, 27), end=date(2025, 11, 28), series=["QQQ"]).empty
