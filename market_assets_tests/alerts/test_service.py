"""From finished runs to what arrives: messages, retries, digests, missed ticks, signs of life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.alerts.evaluations import NOTHING_FETCHED, Evaluation, FinishedRun
from market_assets.alerts.health import alert_health
from market_assets.alerts.messages import BODY_LIMIT, TITLE_LIMIT
from market_assets.alerts.policy import known_checks
from market_assets.alerts.service import Alerts
from market_assets.collection.days import DayRange
from market_assets_tests.alerts.conftest import NOW, Desk, fetched, not_fetched
from market_assets_tests.alerts.receivers import Kept

if TYPE_CHECKING:
    from market_assets.clock import ManualClock
    from market_assets.store import Store

MakeDesk = Callable[..., Desk]


def test_a_message_has_the_number_the_threshold_since_when_the_run_and_the_runbook(desk: MakeDesk) -> None:
    one = desk(dagster_ui_url="https://dagster.example.com/", runbook_url="https://docs.example.com/runbook")
    one.run(not_fetched())
    one.run(not_fetched())
    assert one.titles == ["ERROR bars_were_fetched broke: TLT"]
    assert one.body == (
        "ERROR bars_were_fetched broke: TLT\n"
        "not fetched since 2026-03-02 14:01 UTC; observed 2, threshold 0\n"
        "empty: TLT has no bars\n"
        "run: https://dagster.example.com/runs/run-2\n"
        "what to do: https://docs.example.com/runbook#bars_were_fetched"
    )
    one.run(fetched())
    assert one.titles[1:] == ["OK bars_were_fetched recovered: TLT"]
    assert one.body == (
        "OK bars_were_fetched recovered: TLT\n"
        "it was: not fetched from 2026-03-02 14:01 UTC, for 1 h 0 min\n"
        "now observed 0, threshold 0"
    )
    assert one.poster.titles("json") == one.poster.titles("xml")


def test_all_that_breaks_in_one_run_is_one_message_worst_first_and_bounded(desk: MakeDesk) -> None:
    one = desk()
    tickers = [not_fetched(f"T{number:02}", cause="rate_limited") for number in range(19)]
    others = [
        Evaluation(f"check_{number}", "ml_features", passed=False, description="x" * 300, observed="9" * 300)
        for number in range(12)
    ]
    for _ in range(2):
        one.run(*others, *tickers)
    assert one.titles == [
        "ERROR bars_were_fetched broke: T00, T01, T02, T03, T04, T05 and 13 more; and 12 other alerts"
    ]
    assert "19 assets: T00, T01" in one.body
    assert "more: market-assets alerts list" in one.body
    assert len(one.body) <= BODY_LIMIT
    assert len(one.poster.taken[0][1].title) <= TITLE_LIMIT


def test_a_backfill_of_thirty_bad_days_is_one_line_in_the_next_message_and_no_alert(desk: MakeDesk) -> None:
    one = desk()
    days = DayRange(date(2026, 1, 1), date(2026, 1, 30))
    for day in days:
        one.run(
            not_fetched("TLT"),
            not_fetched("QQQ"),
            kind="backfill",
            days=DayRange(day, day),
            advance=timedelta(seconds=1),
        )
    assert one.titles == []
    assert one.store.alerts.states() == {}
    # it stands in the runs' own summaries
    logged = one.store.runs.last_collections(30)
    assert all(run.summary["failed_checks"] == {"bars_were_fetched": ["ticker/QQQ", "ticker/TLT"]} for run in logged)
    one.run(fetched())
    one.run(not_fetched())
    one.run(not_fetched())
    assert one.titles == ["ERROR bars_were_fetched broke: TLT"]
    [line] = [line for line in one.body.splitlines() if "backfill" in line]
    assert line.startswith(
        "Also, 30 runs over past days, the last: the backfill run of 2026-01-30 found 2 failed checks"
    )
    one.run(fetched())
    assert "backfill" not in one.body


def test_taking_in_a_run_twice_changes_nothing(desk: MakeDesk) -> None:
    one = desk()
    past = DayRange.of(NOW - timedelta(days=3))
    for _ in range(2):
        one._runs = 0
        one.run(not_fetched(), advance=timedelta(0))
        one.run(not_fetched(), kind="settle", days=past, advance=timedelta(0))
    assert one.store.alerts.states()["bars_were_fetched", "ticker/TLT"].failures == 1
    assert [message.kind for message in one.store.alerts.last_messages(9)] == ["note"]


def test_a_check_that_is_no_longer_there_is_told_once_and_forgotten(desk: MakeDesk) -> None:
    one = desk()
    one.run(not_fetched(), whole=True)
    one.run(not_fetched(), whole=True, advance=timedelta(days=8))
    one.collected("ok", "between")
    one.run(fetched("QQQ"), whole=True)
    assert one.titles[-1] == "INFO bars_were_fetched is no longer checked: TLT"
    assert one.store.alerts.states() == {}


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_a_target_that_fails_is_tried_again_and_gets_everything_and_the_others_get_nothing_twice(
    desk: MakeDesk, clock: ManualClock
) -> None:
    one = desk()
    one.poster.fails = lambda target: "error=500" if target == "xml" else ""
    one.run(not_fetched())
    one.run(not_fetched(), advance=timedelta(0))
    assert one.poster.titles("xml") == []
    [waiting] = one.store.alerts.waiting()
    assert (waiting.delivered, waiting.attempts, waiting.last_error) == (("json",), 1, "xml: error=500")
    for _ in range(3):
        one.look()
    assert one.poster.tried == 2, "it rests before it is tried again"
    clock.advance(timedelta(minutes=1))
    one.look()
    assert one.poster.tried == 3
    one.poster.fails = lambda _target: ""
    clock.advance(timedelta(minutes=2))
    one.look()
    assert (
        one.poster.titles("xml")
        == one.poster.titles("json")
        == ["Market collector: ERROR bars_were_fetched broke: TLT"]
    )
    assert one.store.alerts.waiting() == []


def test_after_a_long_outage_what_piled_up_is_one_digest(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk(alert_cooldown_minutes=0, alert_urls="json://one.example.com/")
    one.poster.fails = lambda _target: "no route"
    for number in range(12):
        for _ in range(2):
            one.run(not_fetched(f"T{number}"))
        one.run(fetched(f"T{number}"))
    assert len(one.store.alerts.waiting()) == 24
    one.poster.fails = lambda _target: ""
    clock.advance(timedelta(hours=1))
    one.look()
    [title] = one.titles
    assert title == "25 messages that could not be posted before"
    assert "2026-03-02 14:31 UTC ERROR bars_were_fetched broke: T0" in one.body
    assert "OK bars_were_fetched recovered: T11" in one.body
    # the newest says how things stand
    assert "ERROR missed_ticks broke: collect" in one.body
    assert len(one.body) <= BODY_LIMIT
    assert one.store.alerts.waiting() == []


def test_a_target_that_stays_broken_is_told_through_the_other_one_and_shows_in_health(
    desk: MakeDesk, clock: ManualClock
) -> None:
    one = desk()
    one.poster.fails = lambda target: "error=403" if target == "xml" else ""
    one.run(not_fetched())
    one.run(not_fetched(), advance=timedelta(0))
    broken = alert_health(one.store, one.settings, clock.now())
    assert broken.problems == ("alerts cannot be posted to xml since 2026-03-02 14:31 UTC (error=403)",)
    assert not broken.to_json()["healthy"]
    assert broken.waiting == 1
    for _ in range(10):
        clock.advance(timedelta(minutes=1))
        one.look()
    assert one.titles[1:] == ["ERROR alert_path_broken broke: xml"]
    assert "alerts cannot be posted there since" in one.body
    one.poster.fails = lambda _target: ""
    clock.advance(timedelta(minutes=9))
    one.look()
    one.look()
    assert one.titles[2:] == ["OK alert_path_broken recovered: xml"]
    assert alert_health(one.store, one.settings, clock.now()).problems == ()
    assert one.store.alerts.waiting() == []


def test_the_only_target_is_not_told_that_it_is_broken(desk: MakeDesk, clock: ManualClock) -> None:
    one = desk(alert_urls="json://one.example.com/")
    one.poster.fails = lambda _target: "error=403"
    one.run(not_fetched())
    one.run(not_fetched(), advance=timedelta(0))
    for _ in range(8):
        clock.advance(timedelta(minutes=3))
        one.look()
    assert len(one.store.alerts.waiting()) == 1
    assert alert_health(one.store, one.settings, clock.now()).broken[0].failures >= 3


def test_a_target_that_was_taken_out_of_the_settings_is_nobodys_trouble(
    desk: MakeDesk, store: Store, clock: ManualClock
) -> None:
    one = desk()
    one.poster.fails = lambda target: "error=403" if target == "xml" else ""
    one.run(not_fetched())
    one.run(not_fetched(), advance=timedelta(0))
    other = desk(alert_urls="json://one.example.com/")
    other.look()
    assert alert_health(store, other.settings, clock.now()).problems == ()
    assert store.alerts.waiting()[0].delivered == ("json",)


def test_two_processes_that_look_at_once_post_once(desk: MakeDesk, store: Store, clock: ManualClock) -> None:
    one, other = desk(), desk()
    one.run(not_fetched())
    one.collected("ok", "again")
    today = DayRange.of(clock.now())
    one.alerts.run_finished(FinishedRun("again", "tick", clock.now(), today, (not_fetched(),)))
    # the other process looks while the first one is in the middle of a post
    one.poster.fails = lambda _target: other.look() or ""  # type: ignore[func-returns-value]
    one.look()
    assert one.titles == ["ERROR bars_were_fetched broke: TLT"]
    assert other.poster.taken == []
    assert store.alerts.waiting() == []


def test_without_targets_states_are_kept_and_health_says_that_nobody_is_told(
    desk: MakeDesk, clock: ManualClock
) -> None:
    nobody = desk(alert_urls=None)
    for _ in range(3):
        nobody.run(not_fetched())
    health = alert_health(nobody.store, nobody.settings, clock.now())
    assert [state.asset for state in health.open] == ["ticker/TLT"]
    assert (health.targets, health.waiting, nobody.poster.tried) == ((), 0, 0)
    somebody = desk()
    somebody.look()
    assert somebody.titles == ["ERROR bars_were_fetched broke: TLT"]


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
    one.collected("ok", "by-cron")
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


def test_every_check_is_told_with_a_link_to_its_own_section(desk: MakeDesk) -> None:
    one = desk()
    checks = [check for check in known_checks() if check not in {"correlation_within_threshold", "missed_ticks"}]
    for check in checks:
        other = Desk(one.store, one.clock)
        other.poster = Kept()
        other.alerts = Alerts(other.store, other.settings, other.clock, other.poster)
        for _ in range(3):
            asset = "settle" if check == "run_failed" else f"thing/{check}"
            other._runs = one._runs = one._runs + 1
            other.run(Evaluation(check, asset, passed=False))
        if check != "alert_path_broken":
            assert f"docs/runbook.md#{check}" in "".join(message.body for _, message in other.poster.taken), check
