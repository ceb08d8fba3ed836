"""`market-assets alerts`, `market-assets watch --once`, and what `status` says of alerts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.clock import ManualClock, SystemClock
from market_assets.store import AlertMessage, AlertState, Decision, Store
from market_assets_tests.alerts.receivers import webhook
from market_assets_tests.cli.conftest import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run

HOUR = timedelta(hours=1)


def state(check: str = "bars_were_fetched", asset: str = "ticker/TLT", **changes: object) -> AlertState:
    values = {"failing": True, "severity": "error", "failures": 3, "since": NOW - HOUR, "evaluated_at": NOW}
    values |= {"observed": "2", "threshold": "0", "detail": "timeout: no [red]answer[/]"}
    return AlertState(check, asset, **{**values, **changes})  # type: ignore[arg-type]


def write(path: Path, **parts: object) -> None:
    store = Store.connect(f"sqlite:///{path}")
    store.alerts.decide(lambda _states, _waiting: Decision(**parts))  # type: ignore[arg-type]
    store.close()


# --- alerts test ------------------------------------------------------------------------------------------------------


def test_a_test_message_reaches_every_target_and_each_is_named(run: Run) -> None:
    with webhook() as hook:
        done = run("alerts", "test", ALERT_URLS=f"json://127.0.0.1:{hook.port}/a, json://127.0.0.1:{hook.port}/b")
    assert (done.status, done.out) == (0, "ok   json took the message\nok   json#2 took the message\n")
    assert hook.titles == ["Market collector: test"] * 2
    assert "docs/runbook.md" in hook.posts[0]["message"]


def test_a_target_that_does_not_take_it_is_named_with_the_reason_and_no_secret(run: Run) -> None:
    with webhook() as hook:
        hook.status = 403
        urls = f"json://user-name:hunter2@127.0.0.1:{hook.port}/tok3n slack://tok3n json://127.0.0.1:1/"
        done = run("alerts", "test", ALERT_URLS=urls, LOG_LEVEL="DEBUG")
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0].startswith("FAIL json: Failed to send JSON POST notification")
    assert "error=403" in lines[0]
    assert lines[1] == "FAIL slack: Apprise can make nothing of its entry in ALERT_URLS"
    assert lines[2].startswith("FAIL json#2: A Connection error occurred")
    for secret in ("hunter2", "tok3n", "user-name"):
        assert secret not in done.out + done.err


def test_without_targets_it_says_that_nobody_is_told(run: Run, tmp_path: Path) -> None:
    done = run("alerts", "test")
    assert (done.status, done.out) == (1, "")
    assert "Nobody is told. Set ALERT_URLS; docs/configuration.md says how." in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_test_that_arrives_shows_that_a_broken_path_works_again(run: Run, stocked: Path) -> None:
    write(stocked, states=[state("alert_path_broken", "json", detail="error=403", failures=9)], looked_at=NOW)
    with webhook() as hook:
        url = f"json://127.0.0.1:{hook.port}/"
        before = run("status", ALERT_URLS=url)
        assert before.status == 1
        assert "alerts cannot be posted to json since 2026-03-02 14:10 UTC (error=403)" in before.out
        run("alerts", "test", ALERT_URLS=url)
        assert run("status", ALERT_URLS=url).status == 0


# --- alerts list, alerts log, status ----------------------------------------------------------------------------------


def test_what_is_open_is_listed_by_check_and_printed_as_it_is(run: Run, stocked: Path) -> None:
    assert run("alerts", "list").out == "Alerts go to: nobody (ALERT_URLS is not set)\nNothing is open.\n"
    informs = state("correlation_within_threshold", "crypto_correlations", severity="warn")
    write(stocked, states=[informs])
    quiet = run("alerts", "list")
    assert (quiet.status, "Open: correlation_within_threshold crypto_correlations" in quiet.out) == (0, True)
    write(stocked, forgotten=[informs.key])
    warn = state("bars_are_fresh", "ticker/VIX", severity="warn", detail="late", told="warn", told_at=NOW)
    states = [state(), state(asset="ticker/QQQ"), warn, state(asset="ticker/GLD", failures=1)]
    write(stocked, states=states, looked_at=NOW)
    done = run("alerts", "list", ALERT_URLS="json://localhost/")
    assert done.status == 1
    assert done.out.splitlines() == [
        "Alerts go to: json",
        "Open: bars_were_fetched QQQ, TLT: not fetched since 2026-03-02 14:10; timeout: no [red]answer[/]",
        "Open: bars_are_fresh VIX: late or stale since 2026-03-02 14:10; late",
    ]
    found = json.loads(run("alerts", "list", "--json").out)
    assert [(one["check"], one["asset"], one["told_at"]) for one in found["open"]] == [
        ("bars_were_fetched", "ticker/QQQ", None),
        ("bars_were_fetched", "ticker/TLT", None),
        ("bars_are_fresh", "ticker/VIX", "2026-03-02T15:10:00Z"),
    ]
    shown = run("status")
    assert shown.status == 0, "an open alert is no broken collector"
    assert "Alerts go to: json\nOpen: bars_were_fetched QQQ, TLT" in shown.out
    assert json.loads(run("status", "--json").out)["alerts"]["open"] == found["open"]


def test_the_log_tells_whom_each_message_reached(run: Run, stocked: Path) -> None:
    assert run("alerts", "log").out == "Nobody was told anything yet.\n"
    made = [
        AlertMessage("alert", "error", "first", "its text", NOW - 3 * HOUR, done_at=NOW, delivered=("slack", "json")),
        AlertMessage("note", "info", "a settle run found 2 failed checks", "", NOW - 2 * HOUR),
        AlertMessage(
            "alert", "warn", "[second]", "b", NOW - HOUR, delivered=("slack",), attempts=4, last_error="json: 5"
        ),
    ]
    write(stocked, messages=made)
    done = run("alerts", "log")
    assert done.out.splitlines() == [
        "2026-03-02 14:10 [second] (reached slack; waits, 4 attempts: json: 5)",
        "2026-03-02 13:10 a settle run found 2 failed checks (goes out with the next message)",
        "2026-03-02 12:10 first (slack, json at 15:10)",
    ]
    assert "    its text" in run("alerts", "log", "--full").out
    assert run("alerts", "log", "-n", "1").out.count("\n") == 1
    assert [one["title"] for one in json.loads(run("alerts", "log", "--json").out)] == [
        "[second]",
        "a settle run found 2 failed checks",
        "first",
    ]
    assert "1 message waiting to be posted since 2026-03-02 14:10." in run("status").out


def test_missed_ticks_and_an_alert_service_that_nobody_runs_are_not_healthy(
    run: Run, stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(stocked, looked_at=NOW)
    later = ManualClock(NOW + 3 * HOUR)
    monkeypatch.setattr(SystemClock, "now", lambda _self: later.now())
    done = run("status", ALERT_URLS="json://localhost/")
    assert done.status == 1
    assert "7 ticks were missed: none has succeeded since 2026-03-02 14:10 UTC" in done.out
    assert "nothing has looked for alerts since 2026-03-02 15:10 UTC: neither Dagster's sensors nor" in done.out
    found = json.loads(run("status", "--json").out)["alerts"]
    assert (found["ticks_missed"], found["last_good_tick"]) == (7, "2026-03-02T14:10:00Z")


# --- watch ------------------------------------------------------------------------------------------------------------


def test_watching_once_posts_what_was_missed_and_only_once(
    run: Run, stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ManualClock(NOW + 3 * HOUR)
    with webhook() as hook:
        url = f"json://127.0.0.1:{hook.port}/"
        assert run("watch", "--once", ALERT_URLS=url).out == "Nothing new is to be told.\n"
        monkeypatch.setattr(SystemClock, "now", lambda _self: later.now())
        done = run("watch", "--once", ALERT_URLS=url)
        assert (done.status, done.out) == (
            0,
            "To be told now: Market collector: ERROR missed_ticks broke: collect\nok   posted to json\n",
        )
        assert run("watch", "--once", ALERT_URLS=url).out == "Nothing new is to be told.\n"
    assert hook.titles == ["Market collector: ERROR missed_ticks broke: collect"]
    assert stocked.exists()


def test_watching_once_fails_where_the_post_fails_or_there_is_no_database(
    run: Run, monkeypatch: pytest.MonkeyPatch, stocked: Path
) -> None:
    later = ManualClock(NOW + 3 * HOUR)
    monkeypatch.setattr(SystemClock, "now", lambda _self: later.now())
    done = run("watch", "--once", ALERT_URLS="json://127.0.0.1:1/")
    assert done.status == 1
    assert "FAIL json: A Connection error occurred" in done.out
    assert "Waiting: 1 message; market-assets alerts log shows them." in done.out
    stocked.unlink()
    nowhere = run("watch", "--once", ALERT_URLS="json://127.0.0.1:1/")
    assert nowhere.status == 1
    assert "there is no database" in nowhere.err
    assert not stocked.exists()


@pytest.mark.usefixtures("stocked")
def test_a_watch_without_targets_says_that_nobody_is_told(run: Run) -> None:
    done = run("watch", "--once")
    assert done.status == 0
    assert "Nobody is told." in done.err
