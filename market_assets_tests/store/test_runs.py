"""The log of collections, the ledger of states, stale days, coverage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from market_assets.correlations import CORRELATION_LOOKBACK_DAYS
from market_assets.crypto_join import CORRELATION_JOIN_DAYS
from market_assets.features import FEATURE_LOOKBACK_DAYS
from market_assets.store import DayState, LedgerEntry, Store
from market_assets.store.stale import STALE_LOOKBACK_DAYS
from market_assets_tests.store.builders import (
    DAY,
    FETCHED,
    HOUR,
    QUARTER,
    at,
    feature_rows,
    write_bars,
    write_features,
    write_indicator,
)

NEXT = DAY + timedelta(days=1)


def test_a_collection_is_logged_from_its_start_to_its_end(store: Store) -> None:
    assert store.runs.collection_began() is None
    store.runs.start_collection("run-1", "schedule", FETCHED, "yahoo")
    running = store.runs.collection("run-1")
    assert running is not None
    assert (running.status, running.finished_at, running.summary) == ("running", None, {})
    store.runs.finish_collection("run-1", "ok", FETCHED + HOUR, {"rows": 7, "failed": ["VIX"]})
    finished = store.runs.collection("run-1")
    assert finished is not None
    assert (finished.kind, finished.source, finished.started_at) == ("schedule", "yahoo", FETCHED)
    assert (finished.status, finished.finished_at) == ("ok", FETCHED + HOUR)
    assert finished.summary == {"rows": 7, "failed": ["VIX"]}


def test_the_last_collections_come_newest_first(store: Store) -> None:
    for number in range(3):
        store.runs.start_collection(f"run-{number}", "schedule", FETCHED + number * HOUR, "yahoo")
    assert [record.run_id for record in store.runs.last_collections(2)] == ["run-2", "run-1"]
    assert [record.run_id for record in store.runs.collections_since(FETCHED + HOUR)] == ["run-2", "run-1"]
    assert store.runs.collection_began() == FETCHED
    assert store.runs.collection("run-9") is None


def test_a_collection_that_starts_again_begins_its_record_anew(store: Store) -> None:
    store.runs.start_collection("run-1", "schedule", FETCHED, "yahoo")
    store.runs.finish_collection("run-1", "failed", FETCHED, {"error": "x"})
    store.runs.start_collection("run-1", "schedule", FETCHED + HOUR, "yahoo")
    [record] = store.runs.last_collections(5)
    assert (record.status, record.finished_at, record.summary) == ("running", None, {})


def test_finishing_a_collection_that_never_started_is_an_error(store: Store) -> None:
    with pytest.raises(KeyError, match="run-1"):
        store.runs.finish_collection("run-1", "ok", FETCHED, {})


def test_each_expected_day_has_exactly_one_state_and_the_last_one_recorded_counts(store: Store) -> None:
    first = [
        LedgerEntry("QQQ", "1d", DAY, DayState.FETCH_FAILED, "timeout"),
        LedgerEntry("QQQ", "1d", NEXT, DayState.CLOSED),
        LedgerEntry("VIX", "1d", DAY, DayState.LATE, "x" * 400),
    ]
    store.runs.record_states(first, "run-1", FETCHED)
    store.runs.record_states([LedgerEntry("QQQ", "1d", DAY, DayState.OK)] * 2, "run-2", FETCHED + HOUR)
    store.runs.record_states([], "run-3", FETCHED)
    states = store.runs.states(DAY, NEXT + timedelta(days=1))
    assert [(entry.ticker, entry.day, entry.state) for entry in states] == [
        ("QQQ", DAY, DayState.OK),
        ("QQQ", NEXT, DayState.CLOSED),
        ("VIX", DAY, DayState.LATE),
    ]
    assert len(states[2].detail or "") == 255
    assert store.runs.states(DAY, NEXT, tickers=["QQQ"]) == [LedgerEntry("QQQ", "1d", DAY, DayState.OK)]
    assert [entry.ticker for entry in store.runs.states(DAY, NEXT, states=[DayState.LATE])] == ["VIX"]


def test_coverage_tells_what_is_stored_of_each_ticker(store: Store) -> None:
    assert store.runs.ticker_coverage() == []
    write_bars(store, [1.0, 2.0])
    write_bars(store, [3.0], ticker="SPY", interval="1h", step=HOUR, fetched_at=FETCHED + HOUR)
    qqq, spy = store.runs.ticker_coverage()
    assert (qqq.ticker, qqq.interval, qqq.bars) == ("QQQ", "15m", 2)
    assert (qqq.first_bar_start, qqq.last_bar_end) == (at(15), at(15) + 2 * QUARTER)
    assert (qqq.last_fetched_at, spy.last_fetched_at) == (FETCHED, FETCHED + HOUR)


def test_stale_days_are_cleared_only_up_to_the_snapshot_they_were_rebuilt_from(store: Store) -> None:
    store.runs.mark_stale_days([NEXT, DAY, DAY], "revised", FETCHED)
    store.runs.mark_stale_days([NEXT], "revised again", FETCHED + HOUR)
    assert list(store.runs.stale_days().items()) == [(DAY, FETCHED), (NEXT, FETCHED + HOUR)]
    store.runs.clear_stale_days([DAY, NEXT], before=FETCHED)
    assert list(store.runs.stale_days()) == [NEXT]
    store.runs.clear_stale_days([DAY], before=FETCHED + HOUR)
    assert list(store.runs.stale_days()) == [NEXT]
    store.runs.clear_stale_days([], before=FETCHED + HOUR)
    store.runs.clear_stale_days([NEXT], before=FETCHED + HOUR)
    assert store.runs.stale_days() == {}


def test_changed_bars_make_the_built_days_after_them_stale_and_no_others(store: Store) -> None:
    assert write_bars(store, [1.0]).stale_days == set()
    write_features(store, feature_rows(1.0))
    changed = write_bars(store, [2.0], start=at(15, day=DAY - timedelta(days=STALE_LOOKBACK_DAYS)))
    assert changed.stale_days == {DAY}
    assert store.runs.stale_days() == {DAY: changed.known_from}
    too_old = write_bars(store, [2.0], start=at(15, day=DAY - timedelta(days=STALE_LOOKBACK_DAYS + 1)))
    later = write_bars(store, [2.0], start=at(15, day=NEXT), fetched_at=FETCHED + 48 * HOUR)
    assert too_old.stale_days == later.stale_days == set()
    assert store.runs.stale_days() == {DAY: changed.known_from}


def test_writes_that_change_no_bars_make_nothing_stale(store: Store) -> None:
    write_bars(store, [1.0])
    write_features(store, feature_rows(1.0))
    assert write_indicator(store, [1.0]).stale_days == set()
    assert write_bars(store, [1.0], fetched_at=FETCHED + HOUR).stale_days == set()
    assert write_bars(store, [9.0], fetched_at=FETCHED - HOUR).stale_days == set()
    assert store.runs.stale_days() == {}


def test_a_day_stays_stale_as_long_as_a_feature_can_depend_on_it() -> None:
    assert max(FEATURE_LOOKBACK_DAYS, CORRELATION_LOOKBACK_DAYS + CORRELATION_JOIN_DAYS) <= STALE_LOOKBACK_DAYS
