"""Reading: windows, versions, and everything as it was known at an instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from market_assets.errors import NaiveTimestampError
from market_assets.store import Replacement, Store
from market_assets.store.tables import (
    CORPORATE_ACTIONS,
    CRYPTO_CORRELATIONS,
    MARKET_BARS,
    ML_FEATURES,
    ML_INDICATORS,
)
from market_assets_tests.store.builders import (
    DAY,
    FETCHED,
    HOUR,
    at,
    closes,
    feature_rows,
    history,
    write_bars,
    write_features,
    write_indicator,
)

MICROSECOND = timedelta(microseconds=1)


def test_an_empty_store_reads_as_empty_frames_with_the_right_types(store: Store) -> None:
    bars, actions = store.read(MARKET_BARS), store.read(CORPORATE_ACTIONS)
    assert bars.empty
    assert bars["bar_start"].dtype == "datetime64[us, UTC]"
    assert bars["close"].dtype == np.float64
    assert bars["ticker"].dtype == object
    assert actions["ex_date"].dtype == object
    with store.snapshot() as snapshot:
        assert snapshot.watermark == datetime(1970, 1, 1, tzinfo=UTC)
        assert snapshot.versions(MARKET_BARS).empty


def test_frames_have_utc_microseconds_doubles_dates_and_plain_strings(store: Store) -> None:
    write_bars(store, [1.0])
    actions = pd.DataFrame(
        {"ticker": ["QQQ"], "kind": ["split"], "ex_date": [DAY], "value": [2.0], "basis": [1.0], "source": ["yahoo"]}
    )
    scope = CORPORATE_ACTIONS.scope("QQQ", DAY)
    store.replace([Replacement(CORPORATE_ACTIONS, actions)], scopes=[scope], fetched_at=FETCHED)
    read = store.read(MARKET_BARS)
    assert {str(read[name].dtype) for name in ("bar_start", "bar_end", "known_from")} == {"datetime64[us, UTC]"}
    assert {type(value) for name in ("ticker", "interval", "source") for value in read[name]} == {str}
    assert type(store.read(CORPORATE_ACTIONS)["ex_date"][0]) is date
    write_features(store, feature_rows(1.0))
    features = store.read(ML_FEATURES)
    assert features["feature_count"].dtype == np.int64
    assert features["ml_qqq_price"].dtype == np.float64


def test_the_window_is_half_open_and_selects_by_series_and_interval(store: Store) -> None:
    write_bars(store, [1.0, 2.0, 3.0])
    write_bars(store, [4.0], ticker="SPY")
    write_bars(store, [5.0], interval="1h")
    assert closes(store, start=at(15, 15), end=at(15, 30), intervals=["15m"]) == [2.0]
    assert closes(store, series=["SPY"]) == [4.0]
    assert closes(store, series=["QQQ", "SPY"], intervals=["1h"]) == [5.0]
    assert closes(store, series=[]) == []
    assert closes(store, start=DAY, end=DAY + timedelta(days=1), series=["SPY"]) == [4.0]
    assert closes(store, start=DAY + timedelta(days=1)) == []


def test_rows_are_sorted_by_key_however_they_were_written(store: Store) -> None:
    write_bars(store, [2.0], ticker="SPY")
    write_bars(store, [1.5], interval="1h")
    write_bars(store, [1.0], ticker="ARKK")
    read = store.read(MARKET_BARS)
    assert list(zip(read["ticker"], read["interval"], strict=True)) == [("ARKK", "15m"), ("QQQ", "1h"), ("SPY", "15m")]


def test_chosen_columns_come_with_the_key_and_the_stamp(store: Store) -> None:
    write_bars(store, [1.0])
    read = store.read(MARKET_BARS, columns=["close"])
    assert list(read.columns) == ["ticker", "interval", "bar_start", "close", "known_from"]
    with pytest.raises(ValueError, match="no columns price"):
        store.read(MARKET_BARS, columns=["price"])


def test_windows_that_make_no_sense_are_refused(store: Store) -> None:
    with pytest.raises(NaiveTimestampError, match="start"):
        store.read(MARKET_BARS, start=datetime(2026, 1, 1))  # noqa: DTZ001 - the subject of the test
    with pytest.raises(NaiveTimestampError, match="as_of"):
        store.read(MARKET_BARS, as_of=datetime(2026, 1, 1))  # noqa: DTZ001 - the subject of the test
    with pytest.raises(TypeError, match="holds dates"):
        store.read(CORPORATE_ACTIONS, start=at(1))
    with pytest.raises(ValueError, match="ml_features has no series"):
        store.read(ML_FEATURES, series=["QQQ"])
    with pytest.raises(TypeError, match="is a str"):
        store.read(MARKET_BARS, series="QQQ")


def test_as_of_shows_what_was_known_then_and_not_a_microsecond_later(store: Store) -> None:
    first = write_bars(store, [1.0, 2.0]).known_from
    second = write_bars(store, [1.5, 2.0, 3.0], fetched_at=FETCHED + HOUR).known_from
    third = write_bars(store, [1.5, 3.0], fetched_at=FETCHED + 2 * HOUR, accept_deletions=True).known_from
    assert first is not None
    assert second is not None
    assert third is not None
    assert first < second < third
    assert closes(store, as_of=first - MICROSECOND) == []
    assert closes(store, as_of=first) == [1.0, 2.0]
    assert closes(store, as_of=second - MICROSECOND) == [1.0, 2.0]
    assert closes(store, as_of=second) == [1.5, 2.0, 3.0]
    assert closes(store, as_of=third - MICROSECOND) == [1.5, 2.0, 3.0]
    assert closes(store, as_of=third) == [1.5, 3.0]
    assert closes(store, as_of=third + 24 * HOUR) == [1.5, 3.0]


def test_reading_as_of_an_old_watermark_gives_the_same_bits_again(store: Store) -> None:
    write_indicator(store, [0.1 + 0.2, 1e-300, -1.0 / 3.0])
    with store.snapshot() as snapshot:
        watermark, before = snapshot.watermark, snapshot.read(ML_INDICATORS)
    write_indicator(store, [0.3, None], FETCHED + HOUR)
    pd.testing.assert_frame_equal(store.read(ML_INDICATORS, as_of=watermark), before, check_exact=True)


def test_the_watermark_is_the_last_commit_or_the_earlier_as_of(store: Store) -> None:
    known_from = write_indicator(store, [1.0]).known_from
    assert known_from is not None
    assert store.watermark() == known_from
    with store.snapshot(as_of=known_from - HOUR) as snapshot:
        assert snapshot.watermark == known_from - HOUR
    with store.snapshot(as_of=known_from + HOUR) as snapshot:
        assert snapshot.watermark == known_from


def test_a_snapshot_does_not_see_a_write_that_commits_while_it_is_open(store: Store) -> None:
    write_bars(store, [1.0])
    write_indicator(store, [1.0])
    with store.snapshot() as snapshot:
        watermark = snapshot.watermark
        write_bars(store, [2.0], fetched_at=FETCHED + HOUR)
        write_indicator(store, [2.0], FETCHED + HOUR)
        assert list(snapshot.read(MARKET_BARS)["close"]) == [1.0]
        assert list(snapshot.read(ML_INDICATORS)["value"]) == [1.0]
        assert len(snapshot.versions(MARKET_BARS)) == 1
        assert snapshot.watermark == watermark
    assert closes(store) == [2.0]


def test_versions_as_of_do_not_tell_what_happened_later(store: Store) -> None:
    first = write_indicator(store, [1.0, 5.0]).known_from
    second = write_indicator(store, [2.0], FETCHED + HOUR).known_from
    with store.snapshot(as_of=first) as snapshot:
        versions = snapshot.versions(ML_INDICATORS)
    assert list(versions["value"]) == [1.0, 5.0]
    assert versions["known_to"].isna().all()
    assert not versions["removed"].any()
    full = history(store, ML_INDICATORS, columns=["value"])
    assert list(full["value"]) == [1.0, 2.0, 5.0]
    assert list(full["known_to"])[0::2] == [second] * 2
    assert list(full["removed"]) == [False, False, True]


def test_further_parts_of_the_key_select_too(store: Store) -> None:
    rows = [("BTC", ticker, sessions, DAY, 0.5, 20) for ticker in ("QQQ", "GLD") for sessions in (20, 90)]
    frame = pd.DataFrame(rows, columns=list(CRYPTO_CORRELATIONS.column_names))
    store.replace(
        [Replacement(CRYPTO_CORRELATIONS, frame)], scopes=[CRYPTO_CORRELATIONS.scope("BTC", DAY)], fetched_at=FETCHED
    )
    with store.snapshot() as snapshot:
        for read in (snapshot.read, snapshot.versions):
            found = read(CRYPTO_CORRELATIONS, keys={"ticker": ["QQQ", "SPY"], "sessions": [20]})
            assert found[["ticker", "sessions"]].to_numpy().tolist() == [["QQQ", 20]]
        with pytest.raises(
            ValueError, match=r"pairs is no part of the key of crypto_correlations; it is crypto, ticker"
        ):
            snapshot.read(CRYPTO_CORRELATIONS, keys={"pairs": [20]})


def test_the_last_row_that_began_in_some_way_is_found_whatever_became_of_it(store: Store) -> None:
    """A row that was served live is not a backfilled one because its day was built again later."""

    def last(as_of: datetime | None = None) -> datetime | None:
        with store.snapshot(as_of) as snapshot:
            return snapshot.last_time_begun_as(ML_FEATURES, "origin", "backfill")

    assert last() is None
    first = write_features(store, feature_rows(1.0, count=2, origin="backfill")).known_from
    assert first is not None
    assert last() == at(0, 30)
    write_features(store, feature_rows(1.0, count=4, origin=["backfill", "backfill", "live", "live"]), FETCHED + HOUR)
    write_features(store, feature_rows(2.0, count=4, origin="backfill"), FETCHED + 2 * HOUR)
    assert last() == at(0, 30)
    write_features(store, feature_rows(2.0, count=1, origin="backfill"), FETCHED + 3 * HOUR)
    assert last() == at(0, 30)
    assert last(first - MICROSECOND) is None
