"""The sensors over real Dagster runs and real receivers: what a person gets of them."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from market_assets.alerts.health import alert_health
from market_assets.automation.jobs import KIND_TAG, REPLAY_JOB
from market_assets.automation.sensors import build_sensors
from market_assets.collection.days import DayRange
from market_assets.partitions import range_tags
from market_assets.settings import Settings
from market_assets.sources.simulator import Fault, FaultKind
from market_assets_tests.alerts.receivers import mail_server, webhook
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collector
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

RUNS, TICKS = "alert_on_finished_runs", "alert_on_missed_ticks"
TICK = timedelta(minutes=30)


def bootstrapped(workshop: Workshop, **settings: Any) -> Collector:
    """Return a collector of six tickers; fewer features than they have are too few."""
    return workshop.bootstrapped(ml_feature_count_target=6, **settings)


def look(collector: Collector) -> tuple[str, str]:
    """Evaluate both sensors, as the daemon does every minute."""
    return collector.run_sensor(RUNS), collector.run_sensor(TICKS)


def tick(collector: Collector, at: datetime, **options: Any) -> None:
    """Collect at `at` and let the sensors look."""
    collector.at(at).collect(**options)
    look(collector)


def test_a_ticker_that_is_gone_reaches_the_webhook_and_the_mailbox_once_and_so_does_its_return(
    workshop: Workshop,
) -> None:
    with webhook() as hook, mail_server() as (port, mails):
        collector = bootstrapped(
            workshop,
            alert_urls=f"json://127.0.0.1:{hook.port}/ mailto://127.0.0.1:{port}?from=a@example.com&to=b@example.com",
            dagster_ui_url="http://dagster.test",
            heartbeat_url=f"http://127.0.0.1:{hook.port}/alive",
        )
        server = workshop.simulator
        gone = server.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="LQD"))
        for number in range(1, 5):
            tick(collector, FIRST_TICK + number * TICK)
        assert hook.titles == ["Market collector: ERROR bars_were_fetched broke: LQD"]
        second = collector.store.runs.collections_since(FIRST_TICK + 2 * TICK)[-1]
        body = hook.posts[0]["message"]
        assert "not fetched since 2025-11-19 15:31 UTC; observed 2, threshold 0" in body
        assert f"run: http://dagster.test/runs/{second.run_id}" in body
        assert "what to do: docs/runbook.md#bars_were_fetched" in body
        assert [str(mail["subject"]) for mail in mails] == hook.titles
        # every tick was good: one ticker less is no missed tick
        assert hook.gets == ["/alive"] * 4
        server.faults.remove(gone)
        tick(collector, FIRST_TICK + 5 * TICK)
        assert hook.titles[1:] == ["Market collector: OK bars_were_fetched recovered: LQD"]
        assert [str(mail["subject"]) for mail in mails] == hook.titles
        assert collector.store.alerts.waiting() == []


def test_a_storm_is_one_alert_of_the_failed_run_and_its_cause(workshop: Workshop) -> None:
    with webhook() as hook:
        url = f"json://127.0.0.1:{hook.port}/"
        collector = bootstrapped(workshop, alert_urls=url, heartbeat_url=f"http://127.0.0.1:{hook.port}/alive")
        storm = workshop.simulator.faults.add(Fault(kind=FaultKind.RATE_LIMITED))
        for number in range(1, 5):
            tick(collector, FIRST_TICK + number * TICK)
        assert hook.titles == ["Market collector: ERROR run_failed broke: tick"]
        assert "none of 6 tickers could be fetched from simulator" in hook.posts[0]["message"]
        assert hook.gets == []
        workshop.simulator.faults.remove(storm)
        tick(collector, FIRST_TICK + 5 * TICK)
        assert hook.titles[1:] == ["Market collector: OK run_failed recovered: tick"]
        assert hook.gets == ["/alive"]


def test_a_failed_post_is_made_up_for_and_the_run_is_not_read_twice(workshop: Workshop) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        hook.status = 503
        workshop.simulator.faults.add(Fault(kind=FaultKind.RATE_LIMITED))
        collector.at(FIRST_TICK + TICK).collect()
        assert collector.run_sensor(RUNS) == "1 finished runs taken in; 0 posted, 1 waiting, failed: json"
        health = alert_health(collector.store, collector.settings, collector.clock.now())
        assert "alerts cannot be posted to json since" in health.problems[0]
        hook.status = 200
        collector.at(FIRST_TICK + TICK + timedelta(minutes=2))
        assert collector.run_sensor(RUNS) == "0 finished runs taken in; 1 posted, 0 waiting"
        assert hook.titles == ["Market collector: ERROR run_failed broke: tick"]
        # a sensor whose cursor is lost reads the runs again, and nobody hears of it
        collector._cursors.clear()
        assert collector.run_sensor(RUNS) == "1 finished runs taken in; 0 posted, 0 waiting"
        assert collector.store.alerts.states()["run_failed", "tick"].failures == 1


def test_a_run_that_cannot_be_read_does_not_hide_the_others_and_is_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="LQD"))
        broken = collector.at(FIRST_TICK + TICK).collect().result.run_id
        read = dg.DagsterInstance.get_records_for_run

        def unreadable(self: dg.DagsterInstance, run_id: str, *arguments: Any, **named: Any) -> Any:
            if run_id == broken:
                raise ValueError("an event that this release cannot read")
            return read(self, run_id, *arguments, **named)

        monkeypatch.setattr(dg.DagsterInstance, "get_records_for_run", unreadable)
        assert [collector.run_sensor(RUNS).partition(";")[0] for _ in range(3)] == [
            "0 finished runs taken in",
            "0 finished runs taken in",
            "1 finished runs taken in",
        ]
        assert hook.titles == ["Market collector: ERROR run_failed broke: tick"]
        assert "what it found cannot be read: ValueError: an event that this" in hook.posts[0]["message"]
        for number in (2, 3):
            tick(collector, FIRST_TICK + number * TICK)
        assert hook.titles[1:] == [
            "Market collector: OK run_failed recovered: tick",
            "Market collector: ERROR bars_were_fetched broke: LQD",
        ]


def test_a_flood_of_finished_runs_does_not_hide_the_one_behind_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market_assets.automation.sensors._RECORDS", 5)
    collector = bootstrapped(workshop, alert_urls="json://127.0.0.1:1/")
    job = collector.definitions.resolve_job_def("collect")
    for number in range(12):
        day = f"2025-10-{number + 1:02}"
        collector.instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.CANCELED, tags={KIND_TAG: "backfill", "dagster/partition": day}
        )
    taken = [collector.run_sensor(RUNS).partition(" ")[0] for _ in range(5)]
    assert sum(map(int, taken)) == 12
    assert taken[-1] == "0"


def test_missed_ticks_are_told_by_a_sensor_when_the_schedule_is_off(workshop: Workshop) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        collector.at(FIRST_TICK + timedelta(minutes=69))
        look(collector)
        assert hook.titles == []
        for minute in (70, 71, 200):
            look(collector.at(FIRST_TICK + timedelta(minutes=minute)))
        assert hook.titles == ["Market collector: ERROR missed_ticks broke: collect"]
        tick(collector, FIRST_TICK + timedelta(minutes=210))
        assert hook.titles[1:] == ["Market collector: OK missed_ticks recovered: collect"]


def test_a_backfill_of_thirty_bad_days_in_one_run_and_day_by_day_sees_no_check_alert(workshop: Workshop) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="LQD"))
        first, last = date(2025, 10, 18), date(2025, 11, 16)
        ranged = collector.collect(first, last, kind="backfill")
        assert not ranged.checks["LQD"].passed
        for day in (first, last):
            collector.collect(day, kind="ad_hoc")  # as the UI launches a partition
        assert collector.run_sensor(RUNS) == "3 finished runs taken in; 0 posted, 0 waiting"
        assert hook.titles == []
        assert collector.store.alerts.states() == {}
        # one line, with the next message
        for number in (1, 2):
            tick(collector, FIRST_TICK + number * TICK)
        assert len(hook.posts) == 1
        assert hook.posts[0]["message"].count("backfill") + hook.posts[0]["message"].count("ad_hoc") == 1


def test_a_canceled_run_and_runs_of_other_code_locations_are_nobodys_business(workshop: Workshop) -> None:
    collector = bootstrapped(workshop, alert_urls="json://127.0.0.1:1/")

    @dg.job
    def elsewhere() -> None:
        pass

    elsewhere.execute_in_process(instance=collector.instance)
    collector.instance.create_run_for_job(
        collector.definitions.resolve_job_def("collect"),
        status=dg.DagsterRunStatus.CANCELED,
        tags={KIND_TAG: "tick", "dagster/partition": FIRST_TICK.date().isoformat()},
    )
    assert collector.run_sensor(RUNS) == "1 finished runs taken in; 0 posted, 0 waiting"
    assert collector.store.alerts.states() == {}


def test_a_tick_whose_process_was_killed_is_told_with_the_daemons_word(workshop: Workshop) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        run = collector.instance.create_run_for_job(
            collector.definitions.resolve_job_def("collect"),
            status=dg.DagsterRunStatus.STARTED,
            tags={KIND_TAG: "tick", "dagster/partition": FIRST_TICK.date().isoformat()},
        )
        collector.instance.report_run_failed(run, "Detected run worker status FAILED: 'out of memory'")
        look(collector)
        assert hook.titles == ["Market collector: ERROR run_failed broke: tick"]
        assert "failed: Detected run worker status FAILED: 'out of memory'" in hook.posts[0]["message"]


def test_the_nightly_proof_is_judged_for_yesterday_and_a_row_that_differs_is_told_at_once(workshop: Workshop) -> None:
    with webhook() as hook:
        collector = bootstrapped(workshop, alert_urls=f"json://127.0.0.1:{hook.port}/")
        night = FIRST_TICK.replace(hour=3, minute=25) + timedelta(days=1)
        tick(collector, night - timedelta(minutes=24))

        def replay(**tags: str) -> None:
            collector.definitions.resolve_job_def(REPLAY_JOB).execute_in_process(
                instance=collector.instance, tags=tags, raise_on_error=False
            )

        collector.at(night)
        replay()
        look(collector)
        assert hook.titles == []
        _flip_a_bit(collector)
        # somebody who replays a range sees what comes of it
        replay(**range_tags(DayRange(date(2025, 11, 10), FIRST_TICK.date())))
        look(collector)
        assert hook.titles == []
        replay()
        look(collector)
        assert hook.titles == ["Market collector: ERROR served_equals_replayed broke: ml_features"]
        assert "threshold 1" in hook.posts[0]["message"]


def _flip_a_bit(collector: Collector) -> None:
    with collector.store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ml_features SET ml_hyg_price = ml_hyg_price * 1.0000001")


def test_a_whole_day_of_scheduled_runs_through_dagster_says_nothing_but_what_is_wrong(workshop: Workshop) -> None:
    """One real day: settle, rebuild, ticks; one ticker is gone from 14:00 to 18:00, one fetch fails once."""
    with webhook() as hook:
        collector = bootstrapped(workshop, collection_interval_minutes=120, alert_urls=f"json://127.0.0.1:{hook.port}/")
        server = workshop.simulator
        midnight = FIRST_TICK.replace(hour=0) + timedelta(days=1)
        gone = 0
        for hour in range(0, 24, 2):
            if hour == 14:
                gone = server.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="HYG"))
            if hour == 18:
                server.faults.remove(gone)
            if hour == 20:
                # yfinance asks once more by itself
                server.faults.add(Fault(kind=FaultKind.SERVER_ERROR, symbol="BTC-USD", times=2))
            collector.run_schedule("collect_tick", midnight + timedelta(hours=hour))
            look(collector)
            if hour == 2:
                for schedule, minute in (("settle", 10), ("rebuild_stale_features", 40)):
                    collector.run_schedule(schedule, midnight + timedelta(hours=hour, minutes=minute - 1))
                    look(collector)
        assert hook.titles == [
            "Market collector: ERROR bars_were_fetched broke: HYG",
            "Market collector: OK bars_were_fetched recovered: HYG",
        ]
        assert "from 2025-11-20 14:01 UTC, for 4 h 0 min" in hook.posts[1]["message"]


def test_both_sensors_run_by_default_every_minute_and_are_not_tied_to_a_job(workshop: Workshop) -> None:
    collector = workshop.new()
    found = {one.name: one for one in build_sensors(Settings.load(), collector.clock)}
    assert set(found) == {RUNS, TICKS}
    for one in found.values():
        assert one.default_status is dg.DefaultSensorStatus.RUNNING
        assert one.minimum_interval_seconds == 60
    assert {one.name for one in collector.definitions.sensors or ()} == set(found)


def test_the_cursor_keeps_only_what_lies_within_the_overlap(workshop: Workshop) -> None:
    collector = bootstrapped(workshop)
    for number in (1, 2):
        tick(collector, FIRST_TICK + number * TICK)
    kept = json.loads(collector._cursors[RUNS])
    assert 1 <= len(kept["seen"]) <= 2
    assert all(updated >= kept["after"] - 60 for updated in kept["seen"].values())
