"""From finished runs to what arrives: messages, retries, digests, missed ticks, signs of life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import Evaluation, FinishedRun
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


def test_what_is_never_told_by_itself_makes_no_line_about_past_days_either(desk: MakeDesk) -> None:
    one = desk()
    quiet = Evaluation("correlation_within_threshold", "crypto_correlations", passed=False, observed="2")
    one.run(quiet, kind="settle", days=DayRange.of(NOW).before)
    assert one.store.alerts.last_messages(9) == []


def test_a_password_in_the_text_of_an_error_reaches_neither_messages_nor_states(desk: MakeDesk) -> None:
    secrets = {
        "alert_urls": "json://user:hunter2@one.example.com/tok3n",
        "database_url": "postgresql+psycopg2://me:s3cret%40word@db/market",
        "mysql_password": "an0ther",
    }
    one = desk(**secrets)
    said = "dsn postgresql://me:s3cret%40word@db/market s3cret@word an0ther hunter2 of the market collector"
    one.run(not_fetched(description=said), succeeded=False, failure=said)
    one.run(not_fetched(description=said))
    one.run(not_fetched(description=said), kind="backfill", days=DayRange.of(NOW).before, succeeded=False, failure=said)
    shown = "".join(f"{message.title} {message.body}" for _, message in one.poster.taken)
    shown += repr(one.store.alerts.states())
    assert "dsn postgresql://me:***@db/market *** *** *** of the market collector" in shown
    for secret in ("hunter2", "s3cret", "an0ther"):
        assert secret not in shown


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
    # what only that target had not taken waits for nobody
    assert store.alerts.waiting() == []
    [message] = store.alerts.last_messages(9)
    assert (message.delivered, message.done_at, other.poster.tried) == (("json",), clock.now(), 0)


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
