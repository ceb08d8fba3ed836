"""Ticks that do not come, checks that nobody reads, and signs of life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.alerts.evaluations import NOTHING_FETCHED, Evaluation
from market_assets.alerts.health import alert_health
from market_assets.collection.days import DayRange
from market_assets_tests.alerts.conftest import NOW, Desk, fetched, not_fetched

if TYPE_CHECKING:
    from market_assets.clock import ManualClock
    from market_assets.store import Store

MakeDesk = Callable[..., Desk]


# --- missed ticks -----------------------------------------------------------------------------------------------------


def test_two_intervals_without_a_good_tick_are_told_once_and_so_is_the_next_good_tick(
    desk: MakeDesk, clock: ManualClock
) -> None:
    one = desk()
    one.run(fetched(), advance=timedelta(0))
    told_at = []
    for minute in (*range(1, 80), *range(80, 600, 20), 599):
        clock.set(NOW + timedelta(minutes=minute))
        before = len(one.titles)
        one.look()
        if len(one.titles) > before:
            told_at.append(minute)
    # due at 14:31 and 15:01, with ten minutes to succeed
    assert told_at == [70]
    assert one.titles == ["ERROR missed_ticks broke: collect"]
    assert one.body.splitlines()[1:3] == [
        "no tick has succeeded since 2026-03-02 14:01 UTC; observed 2 ticks missed, threshold 2",
        "no tick has succeeded since the tick of 2026-03-02 14:01 UTC: no collection begins: is the scheduler running?",
    ]
    health = alert_health(one.store, one.settings, clock.now())
    assert health.problems[0] == "19 ticks were missed: none has succeeded since 2026-03-02 14:01 UTC"
    one.run(fetched())
    assert one.titles[1:] == ["OK missed_ticks recovered: collect"]
    assert "for 9 h 59 min" in one.body


def test_before_the_first_collection_no_tick_is_missed(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk()
    for _ in range(5):
        clock.advance(timedelta(hours=5))
        one.look()
    assert one.titles == []
    assert alert_health(one.store, one.settings, clock.now()).ticks is None


def test_a_collector_whose_first_collections_all_fail_is_told(desk: MakeDesk) -> None:
    one = desk()
    for _ in range(4):
        one.run(succeeded=False, failure="no network")
    assert one.titles == ["ERROR run_failed broke: tick"]
    one.clock.advance(timedelta(hours=3))
    one.look()
    assert one.titles[1:] == ["ERROR missed_ticks broke: collect"]
    assert "ever; the first collection began 2026-03-02 14:01 UTC" in one.body


def test_runs_that_fail_are_told_as_that_and_not_as_missed_ticks_until_they_stop(
    desk: MakeDesk, clock: ManualClock
) -> None:
    one = desk()
    one.run(fetched())
    for _ in range(6):
        one.run(succeeded=False, failure="none of 19 tickers could be fetched", failure_cause=NOTHING_FETCHED)
        one.look()
    assert one.titles == ["ERROR run_failed broke: tick"]
    assert "the tick run of 2026-03-02 failed: none of 19 tickers could be fetched" in one.body
    # and now nothing even starts
    clock.advance(timedelta(hours=1))
    one.look()
    assert one.titles[1:] == ["ERROR missed_ticks broke: collect"]
    one.run(fetched())
    assert one.titles[2:] == ["OK missed_ticks recovered: collect; and 1 other alert"]


@pytest.mark.parametrize("minutes", [15, 60, 360, 1440])
def test_the_interval_decides_when_a_tick_is_missed(desk: MakeDesk, clock: ManualClock, minutes: int) -> None:
    one = desk(collection_interval_minutes=minutes, settle_minutes=2)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    clock.set(start + timedelta(minutes=2))
    one.run(fetched(), advance=timedelta(0))
    clock.set(start + timedelta(minutes=2 * minutes + 2 + 10) - timedelta(seconds=1))
    one.look()
    assert one.titles == []
    clock.advance(timedelta(seconds=1))
    one.look()
    assert one.titles == ["ERROR missed_ticks broke: collect"]


def test_catch_up_settle_and_a_single_ticker_by_hand_are_no_ticks(
    desk: MakeDesk, store: Store, clock: ManualClock
) -> None:
    one = desk()
    one.run(fetched(), advance=timedelta(hours=2))
    one.collected("ok", "settle", kind="settle", days=DayRange.of(NOW).before)
    store.runs.start_collection("by-hand", "ad_hoc", clock.now(), "yahoo")
    today = clock.now().date().isoformat()
    summary = {"first_day": today, "last_day": today, "complete": False}
    store.runs.finish_collection("by-hand", "ok", clock.now(), summary)
    one.look()
    assert one.titles == ["ERROR missed_ticks broke: collect"]
    # whoever collects today's whole, it counts
    one.collected("partial", "cron", kind="ad_hoc")
    one.look()
    assert one.titles[1:] == ["OK missed_ticks recovered: collect"]


# --- what ticks found is read -----------------------------------------------------------------------------------------


def test_ticks_whose_checks_nobody_reads_are_told_once_and_that_they_are_read_again(
    desk: MakeDesk, clock: ManualClock
) -> None:
    one = desk()
    one.run(fetched())
    # the schedule goes on, and so does the other sensor; the one that reads the runs is off
    for number in range(4):
        one.collected("ok", f"unread-{number}")
        for _ in range(3):
            one.look()
            clock.advance(timedelta(minutes=10))
    assert one.titles == ["ERROR runs_not_read broke: alert_on_finished_runs"]
    assert one.body.splitlines()[1:3] == [
        "failed checks cannot be told since 2026-03-02 14:31 UTC; observed 19 min unread, threshold 10 min",
        (
            "what the checks of the tick of 2026-03-02 14:31 UTC found has not been read since it ended at 14:31: "
            "does the sensor alert_on_finished_runs run?"
        ),
    ]
    health = alert_health(one.store, one.settings, clock.now())
    assert health.attended
    assert [problem.partition(" of the tick")[0] for problem in health.problems] == ["what the checks"]
    one.run(fetched())
    one.look()
    assert one.titles[1:] == ["OK runs_not_read recovered: alert_on_finished_runs"]
    assert alert_health(one.store, one.settings, clock.now()).problems == ()


def test_that_ticks_stop_is_no_sign_that_they_are_read_again(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk()
    one.run(fetched())
    one.collected("ok", "unread")
    for _ in range(12):
        clock.advance(timedelta(minutes=10))
        one.look()
    assert one.titles == ["ERROR runs_not_read broke: alert_on_finished_runs", "ERROR missed_ticks broke: collect"]


def test_what_a_person_or_cron_collects_needs_no_reader(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk()
    for number in range(6):
        one.collected("ok", f"cron-{number}", kind="ad_hoc")
        clock.advance(timedelta(minutes=30))
        one.look()
    assert one.titles == []


# --- signs of life ----------------------------------------------------------------------------------------------------


def test_the_daily_message_is_off_by_default_and_comes_once_a_day_where_it_is_asked_for(desk: MakeDesk) -> None:
    quiet, one = desk(), desk(alert_heartbeat_hour=16)
    for _ in range(96):
        quiet.alerts.review()
        one.run(fetched())
        for _ in range(2):
            one.look()
    assert one.titles == ["all is well at 2026-03-02 16:01 UTC", "all is well at 2026-03-03 16:01 UTC"]
    assert one.body == "48 of 48 ticks of the last 24 hours succeeded.\nThe latest row has 57 features."


def test_the_daily_message_says_what_is_open_and_what_past_days_had(desk: MakeDesk) -> None:
    one = desk(alert_heartbeat_hour=16)
    quiet = Evaluation("correlation_within_threshold", "crypto_correlations", passed=False, observed="2")
    one.run(not_fetched(), kind="settle", days=DayRange.of(NOW).before, advance=timedelta(0))
    for _ in range(5):
        one.run(not_fetched(cause="symbol_not_found"), quiet)
    assert [title.partition(" at ")[0] for title in one.titles] == ["ERROR bars_were_fetched broke: TLT", "open"]
    assert one.body.splitlines()[2:] == [
        "Open: bars_were_fetched, not fetched since 2026-03-02 14:01 UTC: TLT",
        (
            "Open: correlation_within_threshold, documented correlations do not hold since 2026-03-02 14:01 UTC: "
            "crypto_correlations"
        ),
    ]
    assert "settle run of 2026-03-01" in one.poster.taken[0][1].body


def test_health_says_when_nothing_looks_any_more(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk()
    assert alert_health(one.store, one.settings, clock.now()).problems == ()
    one.collected("ok", "by-cron", kind="ad_hoc")
    clock.advance(timedelta(minutes=11))
    assert alert_health(one.store, one.settings, clock.now()).problems == (
        "nothing has looked for alerts yet: neither Dagster's sensors nor market-assets watch",
    )
    clock.set(NOW)
    one.run(fetched(), advance=timedelta(minutes=11))
    health = alert_health(one.store, one.settings, clock.now())
    assert not health.attended
    assert health.problems == (
        "nothing has looked for alerts since 2026-03-02 14:01 UTC: neither Dagster's sensors nor market-assets watch",
    )
    one.look()
    assert alert_health(one.store, one.settings, clock.now()).attended
