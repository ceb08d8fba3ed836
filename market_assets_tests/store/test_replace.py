"""Replacing scopes: what is new, changed, withdrawn and equal, and what a write refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from market_assets.clock import ManualClock
from market_assets.errors import NaiveTimestampError, SourceMismatchError
from market_assets.store import Counts, Replacement, Scope, Store
from market_assets.store.tables import (
    CORPORATE_ACTIONS,
    CRYPTO_CORRELATIONS,
    CRYPTO_ML_FEATURES,
    MARKET_BARS,
    ML_FEATURES,
    ML_INDICATORS,
    QUARANTINED_BARS,
)
from market_assets_tests.store.builders import (
    DAY,
    FETCHED,
    HOUR,
    at,
    bars,
    closes,
    feature_rows,
    history,
    indicator_rows,
    write_bars,
    write_features,
    write_indicator,
)

OpenStore = Callable[..., Store]


def test_new_rows_are_inserted_and_read_back_with_their_stamp(store: Store) -> None:
    report = write_bars(store, [1.0, 2.0, 3.0])
    assert report.tables == {"market_bars": Counts(inserted=3)}
    assert report.changed_days == {DAY}
    read = store.read(MARKET_BARS)
    assert report.known_from is not None
    pd.testing.assert_frame_equal(read.drop(columns="known_from"), bars([1.0, 2.0, 3.0]))
    assert set(read["known_from"]) == {report.known_from}


def test_equal_rows_stay_untouched_and_consume_no_stamp(store: Store) -> None:
    first = write_bars(store, [1.0, 2.0])
    second = write_bars(store, [1.0, 2.0], fetched_at=FETCHED + HOUR)
    assert second.known_from is None
    assert second.tables == {"market_bars": Counts(unchanged=2)}
    assert second.changed_days == set()
    assert set(store.read(MARKET_BARS)["known_from"]) == {first.known_from}
    with store.snapshot() as snapshot:
        assert snapshot.watermark == first.known_from


def test_a_changed_row_moves_to_history_and_the_others_keep_their_version(store: Store) -> None:
    first = write_bars(store, [1.0, 2.0, 3.0])
    second = write_bars(store, [1.0, 2.5, 3.0], fetched_at=FETCHED + HOUR)
    assert second.tables == {"market_bars": Counts(changed=1, unchanged=2)}
    versions = history(store, MARKET_BARS)
    assert list(versions["close"]) == [1.0, 2.0, 2.5, 3.0]
    closed = versions[versions["known_to"].notna()]
    assert list(closed["known_from"]) == [first.known_from]
    assert list(closed["known_to"]) == [second.known_from]
    assert list(closed["removed"]) == [False]


def test_a_withdrawn_row_moves_to_history_as_removed(store: Store) -> None:
    write_indicator(store, [1.0, 2.0])
    report = write_indicator(store, [1.0], FETCHED + HOUR)
    assert report.tables == {"ml_indicators": Counts(removed=1, unchanged=1)}
    assert report.changed_days == {DAY}
    assert list(store.read(ML_INDICATORS)["value"]) == [1.0]
    assert list(history(store, ML_INDICATORS)["removed"]) == [False, True]


def test_a_row_that_reappears_is_a_new_version_after_a_gap(store: Store) -> None:
    written = [
        write_indicator(store, values, FETCHED + number * HOUR).known_from
        for number, values in enumerate(([1.0, 2.0], [1.0], [1.0, 2.0]))
    ]
    versions = history(store, ML_INDICATORS, start=at(0, 30))
    assert list(versions["known_from"]) == [written[0], written[2]]
    assert versions["known_to"].iloc[0] == written[1]
    assert pd.isna(versions["known_to"].iloc[1])
    assert len(store.read(ML_INDICATORS, as_of=written[1])) == 1
    assert len(store.read(ML_INDICATORS, as_of=written[2])) == 2


def test_a_late_older_fetch_never_overwrites_a_newer_one(store: Store) -> None:
    write_bars(store, [1.0, 2.0])
    report = write_bars(store, [9.0, 9.0], fetched_at=FETCHED - HOUR)
    assert report.skipped == [Scope("QQQ", "15m", DAY)]
    assert report.known_from is None
    assert report.tables == {"market_bars": Counts()}
    assert closes(store) == [1.0, 2.0]


def test_an_older_fetch_still_writes_the_scopes_in_which_nothing_newer_is_stored(store: Store) -> None:
    write_bars(store, [1.0])
    next_day = DAY + timedelta(days=1)
    frame = pd.concat([bars([9.0]), bars([5.0], start=at(15, day=next_day))], ignore_index=True)
    scopes = [Scope("QQQ", "15m", DAY), Scope("QQQ", "15m", next_day)]
    report = store.replace([Replacement(MARKET_BARS, frame)], scopes=scopes, fetched_at=FETCHED - HOUR)
    assert report.skipped == [scopes[0]]
    assert report.changed_days == {next_day}
    assert closes(store) == [1.0, 5.0]


def test_a_fetch_of_the_same_instant_may_write_again(store: Store) -> None:
    write_bars(store, [1.0])
    assert write_bars(store, [2.0]).skipped == []
    assert closes(store) == [2.0]


def test_several_tables_are_written_under_the_same_scopes_with_one_stamp(store: Store) -> None:
    daily = bars([1.0], interval="1d", start=at(14, 30), step=timedelta(hours=6, minutes=30))
    actions = pd.DataFrame(
        {"ticker": ["QQQ"], "kind": ["dividend"], "ex_date": [DAY], "value": [0.5], "basis": [1.0], "source": ["yahoo"]}
    )
    bad = bars([-1.0], interval="1d", start=at(20)).assign(
        bar_end=pd.Series([None], dtype=object), reason="not positive"
    )
    report = store.replace(
        [Replacement(MARKET_BARS, daily), Replacement(CORPORATE_ACTIONS, actions), Replacement(QUARANTINED_BARS, bad)],
        scopes=[MARKET_BARS.scope("QQQ", DAY, "1d")],
        fetched_at=FETCHED,
    )
    with store.snapshot() as snapshot:
        for table in (MARKET_BARS, CORPORATE_ACTIONS, QUARANTINED_BARS):
            assert list(snapshot.read(table)["known_from"]) == [report.known_from]
        assert list(snapshot.read(CORPORATE_ACTIONS)["ex_date"]) == [DAY]
        assert list(snapshot.read(QUARANTINED_BARS)["reason"]) == ["not positive"]
        assert snapshot.read(QUARANTINED_BARS)["bar_end"].isna().all()


def test_an_empty_frame_withdraws_everything_in_its_scopes_and_nothing_else(store: Store) -> None:
    write_indicator(store, [1.0], name="x")
    write_indicator(store, [2.0], name="y")
    write_indicator(store, [3.0], name="x", day=DAY + timedelta(days=1))
    write_indicator(store, [], FETCHED + HOUR, name="x")
    assert list(store.read(ML_INDICATORS)["value"]) == [3.0, 2.0]


def test_rows_outside_of_the_scopes_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"1 rows for market_bars lie outside the scopes.*ticker=QQQ"):
        write_bars(store, [1.0], scopes=[Scope("QQQ", "15m", DAY + timedelta(days=1))])
    with pytest.raises(ValueError, match="outside the scopes"):
        write_bars(store, [1.0], scopes=[Scope("QQQ", "1h", DAY)])
    with pytest.raises(ValueError, match="outside the scopes"):
        write_bars(store, [1.0], scopes=[])
    assert store.read(MARKET_BARS).empty


def test_a_scope_that_no_table_of_the_write_knows_is_refused(store: Store) -> None:
    frame = indicator_rows([])
    with pytest.raises(ValueError, match="belongs to none of the tables ml_indicators"):
        store.replace([Replacement(ML_INDICATORS, frame)], scopes=[Scope("x", "1h", DAY)], fetched_at=FETCHED)


def test_a_table_named_twice_is_refused(store: Store) -> None:
    twice = [Replacement(MARKET_BARS, bars([1.0]))] * 2
    with pytest.raises(ValueError, match="names a table twice"):
        store.replace(twice, scopes=[Scope("QQQ", "15m", DAY)], fetched_at=FETCHED)


def test_a_write_without_scopes_and_rows_does_nothing(store: Store) -> None:
    report = store.replace([Replacement(MARKET_BARS, bars([]))], scopes=[], fetched_at=FETCHED)
    assert (report.known_from, report.skipped, report.refused) == (None, [], [])


def test_a_fetch_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(NaiveTimestampError, match="fetched_at"):
        write_bars(store, [1.0], fetched_at=datetime(2026, 3, 3, 12, 0))  # noqa: DTZ001 - the subject of the test


def test_rows_of_another_source_are_refused_and_the_first_write_decides(store: Store) -> None:
    assert store.source() is None
    write_bars(store, [1.0], source="simulator")
    assert store.source() == "simulator"
    with pytest.raises(SourceMismatchError, match="'simulator' and these are of 'yahoo'"):
        write_bars(store, [2.0], source="yahoo", fetched_at=FETCHED + HOUR)
    assert closes(store) == [1.0]


def test_rows_of_two_sources_in_one_write_are_refused(store: Store) -> None:
    mixed = pd.concat([bars([1.0]), bars([2.0], start=at(16), source="simulator")])
    with pytest.raises(SourceMismatchError, match="simulator, yahoo"):
        store.replace([Replacement(MARKET_BARS, mixed)], scopes=[Scope("QQQ", "15m", DAY)], fetched_at=FETCHED)


def test_nan_and_infinities_become_null_and_null_equals_null(store: Store) -> None:
    write_indicator(store, [float("nan"), float("inf"), float("-inf"), -0.0])
    values = store.read(ML_INDICATORS)["value"]
    assert list(values.isna()) == [True, True, True, False]
    report = write_indicator(store, [None, None, None, 0.0], FETCHED + HOUR)
    assert report.tables == {"ml_indicators": Counts(unchanged=4)}
    assert write_indicator(store, [1.0, None, None, 0.0], FETCHED + 2 * HOUR).tables["ml_indicators"].changed == 1


def test_a_carried_column_alone_makes_no_new_version(store: Store) -> None:
    write_features(store, feature_rows(1.0))
    again = write_features(store, feature_rows(1.0, origin="catch_up"), FETCHED + HOUR)
    assert again.known_from is None
    assert set(store.read(ML_FEATURES)["origin"]) == {"live"}
    changed = write_features(store, feature_rows(2.0, origin="catch_up"), FETCHED + 2 * HOUR)
    assert changed.tables == {"ml_features": Counts(changed=2)}
    assert set(store.read(ML_FEATURES)["origin"]) == {"catch_up"}


def test_a_reason_alone_makes_a_new_version(store: Store) -> None:
    write_indicator(store, [None], reason="no_bars")
    assert write_indicator(store, [None], FETCHED + HOUR, reason="stale").tables["ml_indicators"].changed == 1
    assert write_indicator(store, [None], FETCHED + 2 * HOUR).tables["ml_indicators"].changed == 1


def test_stamps_of_a_given_clock_are_its_instants_and_still_strictly_increase(url: str, open_store: OpenStore) -> None:
    clock = ManualClock(datetime(2020, 5, 1, tzinfo=UTC))
    simulated = open_store(url, clock=clock)
    first = write_indicator(simulated, [1.0]).known_from
    assert first == datetime(2020, 5, 1, tzinfo=UTC)
    assert write_indicator(simulated, [2.0]).known_from == first + timedelta(microseconds=1)
    clock.advance(HOUR)
    assert write_indicator(simulated, [3.0]).known_from == first + HOUR


def test_stamps_without_a_clock_are_those_of_the_database(store: Store) -> None:
    before = store.now()
    known_from = write_indicator(store, [1.0]).known_from
    assert known_from is not None
    assert before <= known_from <= store.now()


def test_scopes_of_the_two_crypto_tables_do_not_order_each_other(store: Store) -> None:
    correlations = pd.DataFrame(
        {"crypto": ["BTC"], "ticker": ["QQQ"], "sessions": [20], "session": [DAY], "correlation": [0.5], "pairs": [20]}
    )
    store.replace(
        [Replacement(CRYPTO_CORRELATIONS, correlations)],
        scopes=[CRYPTO_CORRELATIONS.scope("BTC", DAY)],
        fetched_at=FETCHED + HOUR,
    )
    layout = store.schema.layout(CRYPTO_ML_FEATURES)
    row = pd.DataFrame({name: [0.25] for name in layout.column_names}).assign(
        symbol="BTC", timestamp=pd.Timestamp(at(1))
    )
    report = store.replace(
        [Replacement(CRYPTO_ML_FEATURES, row)], scopes=[CRYPTO_ML_FEATURES.scope("BTC", DAY)], fetched_at=FETCHED
    )
    assert report.skipped == []
    assert list(store.read(CRYPTO_CORRELATIONS)["session"]) == [DAY]
    assert list(store.read(CRYPTO_ML_FEATURES, series=["BTC"])["price"]) == [0.25]


def test_upper_and_lower_case_are_different_keys(store: Store) -> None:
    write_indicator(store, [1.0], name="abc")
    write_indicator(store, [2.0], name="ABC")
    assert list(store.read(ML_INDICATORS, series=["abc"])["value"]) == [1.0]
    assert len(store.read(ML_INDICATORS)) == 2


def test_a_write_of_thousands_of_rows_is_exact_when_repeated_revised_and_withdrawn(store: Store) -> None:
    """Above 500 rows PostgreSQL takes another path; MariaDB's statements are cut at a megabyte."""
    random = np.random.default_rng(7)
    values = list(100.0 + random.standard_normal(3000).cumsum())
    start, step = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(125)]
    scopes = [Scope("BTC", "1h", day) for day in days]
    frame: dict[str, Any] = {"ticker": "BTC", "interval": "1h", "start": start, "step": step}
    fetched = datetime(2026, 6, 1, tzinfo=UTC)
    assert write_bars(store, values, scopes=scopes, fetched_at=fetched, **frame).tables["market_bars"].inserted == 3000
    assert closes(store) == values
    again = write_bars(store, values, scopes=scopes, fetched_at=fetched + HOUR, **frame)
    assert again.tables["market_bars"] == Counts(unchanged=3000)
    halved = [value / 2 for value in values]
    report = write_bars(store, halved, scopes=scopes, fetched_at=fetched + 2 * HOUR, **frame)
    assert report.tables["market_bars"] == Counts(changed=3000)
    later = fetched + 3 * HOUR
    withdrawn = write_bars(store, halved[:24], scopes=scopes, fetched_at=later, accept_deletions=True, **frame)
    assert withdrawn.tables["market_bars"] == Counts(removed=2976, unchanged=24)
    assert closes(store, as_of=again.known_from or store.watermark()) == halved[:24]
    assert closes(store, as_of=report.known_from) == halved
    assert len(history(store, MARKET_BARS)) == 6000


def test_covered_days_include_days_without_a_row(store: Store) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    scopes = [Scope("QQQ", "15m", day) for day in days]
    write_bars(store, [1.0], scopes=scopes)
    after = DAY + timedelta(days=30)
    assert store.covered_days("QQQ", "15m", DAY, after) == set(days)
    assert store.covered_days("QQQ", "15m", days[1], after) == {days[1]}
    assert store.covered_days("QQQ", "1h", DAY, after) == set()
    assert store.all_covered_days(DAY, after) == {("QQQ", "15m"): set(days)}
    assert store.fetch_times(["QQQ"], DAY, after) == {"QQQ": {"15m": dict.fromkeys(days, FETCHED)}}
