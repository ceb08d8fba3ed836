"""Days of ticks, as the schedules ask for them: what was served stands, missed days and revised days come right."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pytest

from market_assets.automation.jobs import ACCEPT_DELETIONS_TAG, KIND_TAG
from market_assets.calendars import observation_grid, to_us
from market_assets.clock import ManualClock
from market_assets.partitions import RANGE_END_TAG, RANGE_START_TAG
from market_assets.row_texts import null_reasons
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store import CollectionLock
from market_assets.store.tables import MARKET_BARS, ML_FEATURES, ML_INDICATORS
from market_assets_tests.fakes import SMALL_NAMES, cell, closed_versions, true_price
from market_assets_tests.integration.conftest import FIRST_TICK, WEEK_ENDS

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

BEGAN = datetime(2024, 11, 27, 20, 31, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def floor(instant: datetime) -> datetime:
    return instant.replace(minute=instant.minute // 30 * 30, second=0, microsecond=0)


# --- a week of ticks --------------------------------------------------------------------------------------------------


def test_each_tick_is_one_run_for_today_with_one_request_per_ticker_and_interval(workshop: Workshop) -> None:
    _, runs = workshop.after_the_week()
    ticks = [run for run in runs if run["kind"] == "tick"]

    assert len(ticks) == 16
    for tick in ticks:
        assert tick["status"] == "ok"
        assert set(map(tuple, tick["materialized"].values())) == {(tick["at"][:10],)}
        asked = [(symbol, interval) for symbol, interval, _ in tick["requests"]]
        assert len(asked) == len(set(asked))
        assert {interval for _, interval in asked} == ({"15m", "1d"} if tick is not ticks[0] else {"15m", "1h", "1d"})


def test_what_was_served_stands_for_ever_while_the_source_revises_nothing(workshop: Workshop) -> None:
    collector, runs = workshop.after_the_week()
    served = {floor(datetime.fromisoformat(run["at"])): run["served"] for run in runs if run["kind"] == "tick"}
    rows = collector.rows()

    assert len(served) == 16
    for at, values in served.items():
        assert values["origin"] == "live"
        for name, then in values.items():
            stored = cell(rows, at, name)
            assert stored == then or (pd.isna(stored) and pd.isna(then)), (at, name)
    # not one version was replaced by the catch-up runs and the settle run that computed these rows again
    assert closed_versions(collector, "ml_features") == 0
    assert closed_versions(collector, "ml_indicators") == 0


def test_rows_say_whether_they_were_served_caught_up_or_computed_for_a_time_before_collecting_began(
    workshop: Workshop,
) -> None:
    collector, runs = workshop.after_the_week()
    ticked = {floor(datetime.fromisoformat(run["at"])) for run in runs if run["kind"] == "tick"}

    for at, origin in collector.rows()["origin"].items():
        assert isinstance(at, pd.Timestamp)
        expected = "live" if at in ticked else "backfill" if at < BEGAN else "catch_up"
        assert origin == expected, at


def test_the_first_tick_of_a_day_heals_the_last_bars_of_yesterday(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    collector.at(utc("2024-12-03T23:31")).collect()
    yesterday_evening = collector.store.read(MARKET_BARS, start=utc("2024-12-03T23:00"), series=["BTC"])
    assert yesterday_evening["bar_end"].max() == pd.Timestamp(utc("2024-12-03T23:30"))

    tick = collector.at(utc("2024-12-04T00:01")).collect()

    windows = {(one.symbol, one.interval): one.window for one in tick.requests}
    days = (utc("2024-12-03T00:00"), utc("2024-12-05T00:00"))
    assert windows["BTC-USD", "15m"] == days
    # New York had ended: nothing of yesterday is missing, nothing is asked again
    assert windows["QQQ", "15m"] == (utc("2024-12-04T00:00"), days[1])
    bars = collector.store.read(MARKET_BARS, start=utc("2024-12-03T00:00"), series=["BTC"], intervals=["15m"])
    assert len(bars) == 96
    assert tick.materialized["ticker/BTC"] == ["2024-12-04"]


def test_every_day_has_a_row_for_each_half_hour(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()

    days = collector.rows().groupby(lambda at: at.date()).size()

    # 48 collections a day never collapse into one row: the settle run's ten days, 2 December, and the night of the 3rd
    assert days.to_dict() == {
        **{date(2024, 11, 22) + timedelta(days=ahead): 48 for ahead in range(11)},
        date(2024, 12, 3): 1,
    }
    friday = collector.rows(date(2024, 11, 29), date(2024, 11, 30))
    assert friday["ml_qqq_price"].nunique() == 8, "seven half hours of a half day and the close before"
    assert friday["ml_jpyusd_price"].nunique() > 40


def test_at_the_half_day_close_the_price_stops_and_the_change_carries_over_the_weekend(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    rows = collector.rows(utc("2024-11-29T14:30"), utc("2024-12-02T14:31"))
    close = true_price(workshop.simulator, "QQQ", utc("2024-11-29T18:00"))
    wednesday = true_price(workshop.simulator, "QQQ", utc("2024-11-27T21:00"))
    change = 100 * (close / wednesday - 1)

    assert '"QQQ":[' in cell(rows, utc("2024-11-29T18:00"), "ages")
    for at in ("2024-11-29T18:00", "2024-11-29T18:30", "2024-11-29T21:00", "2024-12-02T14:30"):
        assert cell(rows, utc(at), "ml_qqq_price") == close
        assert cell(rows, utc(at), "ml_qqq_change_1d") == pytest.approx(change, rel=1e-6)
    # Saturday and Sunday are no sessions: no new change, no new return in the volatility, an age that grows
    weekend = rows.loc[utc("2024-11-29T18:00") : utc("2024-12-02T14:30")]
    for name in ("ml_qqq_price", "ml_qqq_change_1d", "ml_qqq_volatility", "ml_credit_spreads"):
        assert (weekend[name] == weekend[name].iloc[0]).all(), name
    assert weekend["ml_qqq_volatility"].iloc[0] != cell(rows, utc("2024-11-29T17:30"), "ml_qqq_volatility")
    assert '"QQQ":[1800,0,"closed"]' in cell(rows, utc("2024-12-01T00:00"), "ages")
    # the holiday of Thursday is none either
    thursday = collector.rows(utc("2024-11-27T21:00"), utc("2024-11-29T14:31"))
    assert len(thursday[["ml_qqq_change_1d", "ml_qqq_price"]].drop_duplicates()) == 1


def test_a_monday_of_daylight_saving_opens_an_hour_earlier(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(at=utc("2025-03-07T21:01"))
    friday = true_price(workshop.simulator, "QQQ", utc("2025-03-07T21:00"))
    server = workshop.simulator

    collector.at(utc("2025-03-10T13:31")).collect()
    opening = collector.row(utc("2025-03-10T13:30"))
    assert opening["ml_qqq_price"] == friday
    assert '"open"' in opening["ages"].split('"QQQ":')[1].split("]")[0]

    collector.at(utc("2025-03-10T14:01")).collect()
    row = collector.row(utc("2025-03-10T14:00"))
    price = true_price(server, "QQQ", utc("2025-03-10T14:00"))
    assert price != friday
    assert row["ml_qqq_price"] == price
    assert row["ml_qqq_change_1d"] == pytest.approx(100 * (price / friday - 1), rel=1e-6)
    bars = collector.store.read(MARKET_BARS, start=date(2025, 3, 10), series=["QQQ"], intervals=["15m"])
    assert bars["bar_start"].tolist() == [pd.Timestamp(utc("2025-03-10T13:30")), pd.Timestamp(utc("2025-03-10T13:45"))]


# --- what the schedules ask for ---------------------------------------------------------------------------------------


def asked(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    """Return (kind, days) of each run request."""
    return [
        (
            one.tags[KIND_TAG],
            one.partition_key or f"{one.tags[RANGE_START_TAG]}..{one.tags[RANGE_END_TAG]}",
        )
        for one in requests
    ]


def test_after_an_outage_the_schedule_asks_for_today_and_one_range_of_the_missed_days(workshop: Workshop) -> None:
    _, runs = workshop.after_the_week()
    by_instant: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_instant.setdefault(run["at"][:16], []).append(run)

    assert {at: [(run["kind"], run["materialized"]["ml_features"]) for run in done] for at, done in by_instant.items()
            if len(done) > 1} == {
        "2024-11-28T00:01": [("tick", ["2024-11-28"]), ("catch_up", ["2024-11-27"])],
        "2024-11-29T00:01": [("tick", ["2024-11-29"]), ("catch_up", ["2024-11-28"])],
        "2024-12-02T00:31": [("tick", ["2024-12-02"]), ("catch_up", ["2024-11-29", "2024-11-30", "2024-12-01"])],
        "2024-12-03T00:01": [("tick", ["2024-12-03"]), ("catch_up", ["2024-12-02"])],
    }  # fmt: skip
    # a range is one run, with at most one request per ticker and interval
    for run in runs:
        if run["kind"] != "tick":
            asked_for = [(symbol, interval) for symbol, interval, _ in run["requests"]]
            assert len(asked_for) == len(set(asked_for)) <= 3 * len(SMALL_NAMES)


def test_the_settle_run_reads_the_last_ten_days_again_in_one_run(workshop: Workshop) -> None:
    collector, runs = workshop.after_the_week()
    settle = next(run for run in runs if run["kind"] == "settle")

    days = [(date(2024, 11, 22) + timedelta(days=ahead)).isoformat() for ahead in range(10)]
    assert all(partitions == days for partitions in settle["materialized"].values())
    assert asked(collector.requested("settle", utc("2024-12-05T02:10"))) == [("settle", "2024-11-25..2024-12-04")]
    assert asked(collector.requested("settle", utc("2017-01-04T02:10"))) == [("settle", "2017-01-01..2017-01-03")]
    assert collector.requested("settle", utc("2017-01-01T02:10")) == []


def test_a_missed_range_is_clamped_and_is_not_asked_for_twice(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, _ = workshop.after_the_week(collection_lock_wait_seconds=60)
    now = utc("2024-12-06T09:01")
    both = [("tick", "2024-12-06"), ("catch_up", "2024-12-03..2024-12-05")]
    assert asked(collector.requested("collect_tick", now)) == both
    # a source keeps 15m bars for 60 days: what is older is a backfill that a person starts
    far = collector.requested("collect_tick", utc("2025-06-01T09:01"))
    assert asked(far) == [("tick", "2025-06-01"), ("catch_up", "2025-04-04..2025-05-31")]

    job = collector.definitions.resolve_job_def("collect")
    run = collector.daemon.create_run_for_job(
        job, tags=both_tags(both[1][1]), status=dg.DagsterRunStatus.STARTED, asset_selection=None
    )
    assert asked(collector.requested("collect_tick", now)) == both[:1], "one is under way"
    # of a killed process nothing but the run's status is left: it neither holds the lock nor waits for it any more
    later = ManualClock(datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setattr("market_assets.automation.schedules.SystemClock", lambda: later)
    assert asked(collector.requested("collect_tick", now)) == both
    with CollectionLock(collector.store).acquire(run.run_id):
        assert asked(collector.requested("collect_tick", now)) == both[:1], "a long one renews its lease"


def both_tags(days: str) -> dict[str, str]:
    first, last = days.split("..")
    return {KIND_TAG: "catch_up", RANGE_START_TAG: first, RANGE_END_TAG: last}


def test_one_ticker_by_hand_or_a_failed_range_leaves_the_days_to_be_caught_up(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    at = utc("2024-12-04T00:01")
    missed = ("catch_up", "2024-12-03..2024-12-03")
    collector.at(at)
    assert collector.collect(date(2024, 12, 3), kind="ad_hoc", selection=["ticker/HYG"]).success
    assert collector.collect(date(2024, 12, 3), job="rebuild_features", kind="rebuild").success
    assert asked(collector.requested("collect_tick", at))[1:] == [missed]

    broken = workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND))
    assert not collector.collect(date(2024, 12, 3), date(2024, 12, 3), kind="catch_up").success
    assert asked(collector.requested("collect_tick", at))[1:] == [missed]

    workshop.simulator.faults.remove(broken)
    assert collector.collect(date(2024, 12, 3), date(2024, 12, 3), kind="catch_up").success
    assert asked(collector.requested("collect_tick", at))[1:] == []


# --- backfill, revision, rebuild --------------------------------------------------------------------------------------


def test_a_revision_marks_the_days_that_stand_on_it_and_the_rebuild_clears_them(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    collector.at(WEEK_ENDS)
    before = collector.rows()
    assert collector.store.runs.stale_days() == {}
    assert collector.requested("rebuild_stale_features", WEEK_ENDS) == []
    revised = Fault(kind=FaultKind.REVISED_BARS, symbol="QQQ", session=date(2024, 11, 26), factor=1.01)
    workshop.simulator.faults.add(revised)

    again = collector.collect(date(2024, 11, 26), kind="ad_hoc")

    assert again.success
    # the day itself has been computed anew; all later days whose rows look back on it wait for the rebuild
    later = {date(2024, 11, 27) + timedelta(days=ahead) for ahead in range(7)}
    assert set(collector.store.runs.stale_days()) == later
    assert asked(collector.requested("rebuild_stale_features", WEEK_ENDS)) == [("rebuild", "2024-11-27..2024-12-03")]
    requests = len(workshop.simulator.requests)
    [rebuilt] = collector.run_schedule("rebuild_stale_features", WEEK_ENDS)
    assert rebuilt.success
    assert len(workshop.simulator.requests) == requests, "a rebuild asks the source for nothing"
    assert rebuilt.materialized["ml_features"] == sorted(day.isoformat() for day in later)
    assert "ticker/QQQ" not in rebuilt.materialized
    assert collector.store.runs.stale_days() == {}

    after = collector.rows().loc[before.index]
    tuesday_noon = utc("2024-11-26T17:00")
    assert cell(after, tuesday_noon, "ml_qqq_price") == pytest.approx(cell(before, tuesday_noon, "ml_qqq_price") * 1.01)
    # the close of the 26th is an input of the volatility for weeks, of the change for one session
    changed = after["ml_qqq_volatility"] != before["ml_qqq_volatility"]
    assert changed.loc[utc("2024-11-26T21:00") :].all()
    assert not changed.loc[: utc("2024-11-26T20:30")].any()
    same = [name for name in collector.columns if "qqq" not in name]
    pd.testing.assert_frame_equal(after[same], before[same], check_exact=True)
    # what was served stays readable as of then
    at = utc("2024-11-29T17:30")
    then = collector.row(at, as_of=cell(before, at, "known_from"))
    assert then["ml_qqq_volatility"] == cell(before, at, "ml_qqq_volatility")
    assert (then["origin"], cell(after, at, "origin")) == ("live", "catch_up")


def test_a_late_bar_corrects_the_row_and_what_was_served_without_it_stays_readable(workshop: Workshop) -> None:
    collector = workshop.bootstrapped()
    at = FIRST_TICK.replace(minute=30)
    workshop.simulator.faults.add(Fault(kind=FaultKind.LATE_BARS, symbol="QQQ", delay=timedelta(minutes=31)))
    assert collector.at(FIRST_TICK + timedelta(minutes=30)).collect().status == "ok"
    served = collector.row(at)
    assert served["ml_qqq_price"] == true_price(workshop.simulator, "QQQ", FIRST_TICK)
    workshop.simulator.faults.clear()

    assert collector.at(FIRST_TICK + timedelta(minutes=60)).collect().status == "ok"

    corrected = collector.row(at)
    assert corrected["ml_qqq_price"] == true_price(workshop.simulator, "QQQ", at) != served["ml_qqq_price"]
    assert (served["origin"], corrected["origin"]) == ("live", "catch_up")
    assert collector.row(at, as_of=served["known_from"])["ml_qqq_price"] == served["ml_qqq_price"]
    assert closed_versions(collector, "ml_features") == 1


def test_a_source_that_withdraws_a_closed_day_is_not_believed_unless_a_person_accepts_it(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    tuesday = date(2024, 11, 26)
    noon = utc("2024-11-26T17:00")
    price = collector.row(noon)["ml_qqq_price"]
    workshop.simulator.faults.add(Fault(kind=FaultKind.MISSING_SESSION, symbol="QQQ", session=tuesday))

    # the week up to then, so that the answer has other days and only this one has lost its bars
    refused = collector.collect(date(2024, 11, 25), tuesday, kind="ad_hoc")

    assert refused.status == "ok"
    assert "QQQ 15m 2024-11-26: 26 of 26 bars" in refused.metadata("ticker/QQQ")["write/refused_scopes"]
    assert collector.row(noon)["ml_qqq_price"] == price
    accepted = collector.collect(date(2024, 11, 25), tuesday, kind="ad_hoc", tags={ACCEPT_DELETIONS_TAG: "true"})
    assert "write/refused_scopes" not in accepted.metadata("ticker/QQQ")
    assert collector.store.read(MARKET_BARS, start=tuesday, end=tuesday + timedelta(days=1), series=["QQQ"]).empty
    row = collector.row(noon)
    assert pd.isna(row["ml_qqq_price"])
    assert null_reasons(row["reasons"], collector.universe)["ml_qqq_price"] == "stale"


def test_a_backfill_gives_each_past_row_the_values_of_its_own_time(workshop: Workshop) -> None:
    collector = workshop.bootstrapped()
    today = collector.rows()

    backfill = collector.collect(date(2025, 11, 12), date(2025, 11, 18), kind="backfill")

    assert backfill.success, backfill.failed_steps
    days = [(date(2025, 11, 12) + timedelta(days=ahead)).isoformat() for ahead in range(7)]
    assert all(partitions == days for partitions in backfill.materialized.values())
    assert len(backfill.requests) == len(backfill.asked()) <= 3 * len(SMALL_NAMES)
    shown = backfill.metadata("ml_features")
    assert shown["dagster/row_count"] == 7 * 48
    assert backfill.metadata("tick")["days"] == "2025-11-12 to 2025-11-18"
    assert backfill.metadata("ticker/QQQ")["window/15m"] == "2025-11-12 00:00 to 2025-11-19 00:00 UTC"
    rows = collector.rows(date(2025, 11, 12), date(2025, 11, 19))
    assert set(rows["origin"]) == {"backfill"}
    grid = observation_grid(to_us(utc("2025-11-12T00:00")), to_us(utc("2025-11-19T00:00")), 30)
    assert [to_us(at) for at in rows.index] == grid.tolist()
    for name, symbol, lag in (("ml_qqq_price", "QQQ", 0), ("ml_vix_price", "^VIX", 15)):
        values = [
            true_price(workshop.simulator, symbol, at.to_pydatetime(), lag=timedelta(minutes=lag)) for at in rows.index
        ]
        # stale prices are NULL; whatever is there is the price of that very time
        known = rows[name].notna()
        assert known.sum() > 300
        assert rows.loc[known, name].tolist() == [value for value, one in zip(values, known, strict=True) if one]
    # nor does it touch what is there
    pd.testing.assert_frame_equal(collector.rows(FIRST_TICK.date()), today, check_exact=True)
    assert set(collector.store.read(ML_FEATURES)["origin"]) == {"backfill", "live"}


def test_a_coarser_interval_withdraws_no_row_that_was_served(workshop: Workshop) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    collector.collect()
    served = collector.rows(FIRST_TICK.date())
    indicators = collector.store.read(ML_INDICATORS, start=FIRST_TICK.date())
    hourly = workshop.new(str(collector.settings.sqlalchemy_url), collection_interval_minutes=60)
    assert hourly.at(FIRST_TICK + timedelta(minutes=60)).collect().success
    rows = hourly.rows(FIRST_TICK.date())
    half_past = [at for at in served.index if at.minute == 30]
    assert half_past
    pd.testing.assert_frame_equal(rows.loc[half_past], served.loc[half_past], check_exact=True)
    assert rows.index.max() == FIRST_TICK.replace(hour=16, minute=0)
    now = hourly.store.read(ML_INDICATORS, start=FIRST_TICK.date())
    assert set(indicators["observed_at"]) < set(now["observed_at"])
