"""Entities as people have them: many, in any order, of odd types, from several threads at once."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from market_assets.client.joins import rows_known_at
from market_assets.errors import FeatureRequestError, NaiveTimestampError

if TYPE_CHECKING:
    from market_assets_tests.feature_log import FeatureLog

QQQ, CORRELATION = "ml_qqq_price", "ml_nasdaq_correlation"
AT = pd.Timestamp("2026-03-03T15:05Z")


def frame_of(times: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"timestamp": times, **columns})


def many(count: int) -> pd.DataFrame:
    """Return entities all over the story and around it, in no order."""
    rng = np.random.default_rng(5)
    first, last = (pd.Timestamp(text).value // 1000 for text in ("2026-02-25T00:00Z", "2026-03-08T00:00Z"))
    times = pd.DatetimeIndex(rng.integers(first, last, count).view("datetime64[us]")).tz_localize("UTC")
    return frame_of(times, symbol=rng.choice(["BTC", "ETH", "btcusdt"], count))


# --- many -------------------------------------------------------------------------------------------------------------


def test_many_entities_in_any_order_get_what_merge_asof_gives_them_in_order(story: FeatureLog) -> None:
    asked = many(300_000)
    rows = story.client.history(vintage="served", basis="at_T")
    made_up = rows["origin"] == "backfill"
    rows["known"] = rows["known_from"].where(~made_up, rows["observed_at"] + pd.Timedelta("2min"))
    # Of several rows that became known together, merge_asof takes the last one: the one with the latest time.
    rows = rows.sort_values(["known", "observed_at"])
    names = list(story.catalogue.features)
    in_order = asked.reset_index().sort_values("timestamp")
    expected = pd.merge_asof(in_order, rows[["known", *names]], left_on="timestamp", right_on="known")
    frame = story.client.training_set(asked)
    np.testing.assert_array_equal(frame[names], expected.set_index("index").sort_index()[names])
    pd.testing.assert_frame_equal(frame[list(asked)], asked)


def test_the_search_does_not_depend_on_order_or_number() -> None:
    rng = np.random.default_rng(1)
    available = np.sort(rng.integers(0, 10**9, 5_000))
    observed = np.arange(5_000)
    far = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max, -1, 0], dtype=np.int64)
    at_us = np.concatenate((far, available, available - 1, rng.integers(-(10**8), 2 * 10**9, 400_000)))
    rng.shuffle(at_us)
    one_by_one = np.concatenate([rows_known_at(observed, available, part) for part in np.array_split(at_us, 50)])
    np.testing.assert_array_equal(rows_known_at(observed, available, at_us), one_by_one)
    order = np.argsort(at_us)
    np.testing.assert_array_equal(rows_known_at(observed, available, at_us[order]), one_by_one[order])


@pytest.mark.parametrize(
    "options",
    [{}, {"features": [QQQ]}, {"features": [CORRELATION, QQQ]}, {"ages": True}, {"max_age": timedelta(hours=1)}],
)
def test_memory_stays_below_twice_the_output(story: FeatureLog, options: dict[str, Any]) -> None:
    asked = many(200_000)
    client = story.client
    client.training_set(asked.iloc[:100], **options)
    tracemalloc.start()
    frame = client.training_set(asked, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.0 * frame.memory_usage(index=False).sum()


def test_an_entity_gets_the_same_alone_and_among_others(own_story: FeatureLog) -> None:
    """Also where the log has a hole at the close of a session that was backfilled."""
    hole = (pd.Timestamp("2026-03-02T20:30Z").value // 1000, pd.Timestamp("2026-03-02T23:00Z").value // 1000)
    with own_story.store.database.engine.begin() as connection:
        deleted = connection.exec_driver_sql("DELETE FROM ml_features WHERE observed_at > ? AND observed_at < ?", hole)
        assert deleted.rowcount == 4
    times = pd.date_range("2026-03-02T20:50Z", "2026-03-05T18:00Z", freq="97min")
    asked = frame_of(times, symbol="BTC")
    names = list(own_story.client.features)
    together = own_story.client.training_set(asked, features=names)
    for row in range(len(asked)):
        alone = own_story.client.training_set(asked.iloc[[row]], features=names)
        pd.testing.assert_frame_equal(alone, together.iloc[[row]], check_exact=True)
    before, after = together[CORRELATION].iloc[[0, 1]]
    assert before != after, "a session closed between the first two"


def test_threads_may_share_a_client(story: FeatureLog) -> None:
    client, everything = story.client, many(2_000).sort_values("timestamp")
    parts = [everything.iloc[start : start + 300] for start in range(0, 1_800, 60)]
    options: list[dict[str, Any]] = [{}, {"vintage": "revised"}, {"ages": True}, {"features": [CORRELATION]}]
    calls = [(part, options[number % len(options)]) for number, part in enumerate(parts)]
    expected = [story.client.training_set(part, **option) for part, option in calls]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda call: client.training_set(call[0], **call[1]), calls))
    for one, two in zip(got, expected, strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


# --- odd --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        pd.Categorical([AT, AT]),
        pd.Series([AT, AT.tz_convert("Asia/Kolkata").to_pydatetime()], dtype=object),
        pd.Series([AT.tz_convert(timezone(timedelta(hours=-11))), AT], dtype=object),
        pd.DatetimeIndex([AT, AT]).tz_convert("Australia/Lord_Howe"),
    ],
)
def test_the_instant_counts_and_not_how_it_is_written(story: FeatureLog, times: Any) -> None:
    asked = frame_of(times, symbol=pd.Categorical(["BTC", "ETH"]))
    frame = story.client.training_set(asked, features=[QQQ, CORRELATION])
    plain = story.client.training_set(frame_of([AT], symbol="BTC"), features=[QQQ, CORRELATION])
    assert frame[QQQ].tolist() == plain[QQQ].tolist() * 2
    assert frame[CORRELATION].iloc[0] == plain[CORRELATION].iloc[0]
    assert np.isnan(frame[CORRELATION].iloc[1])
    pd.testing.assert_frame_equal(frame[["timestamp", "symbol"]], asked)


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_further_than_microseconds_reach_are_after_or_before_everything(story: FeatureLog, unit: str) -> None:
    furthest = np.iinfo(np.int64).max
    far = np.array([furthest, -furthest, 0], dtype=np.int64).view(f"datetime64[{unit}]")
    asked = frame_of(pd.Series(far).dt.tz_localize("UTC"), symbol="BTC")
    frame = story.client.training_set(asked, features=[QQQ, CORRELATION])
    last = story.client.history(vintage="served", basis="at_T")[QQQ].iloc[-1]
    assert frame[QQQ].iloc[0] == last
    assert frame[[QQQ, CORRELATION]].iloc[1:].isna().all(axis=None)
    assert frame[CORRELATION].notna().iloc[0]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([7, 7, 3]),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 1), ("b", 2)], names=["fold", "number"]),
        pd.DatetimeIndex([AT, AT, AT], name="timestamp"),
    ],
)
def test_any_index_comes_back(story: FeatureLog, index: pd.Index) -> None:
    asked = frame_of([AT, AT - pd.Timedelta("1h"), AT], label=[1, 2, 3]).set_index(index)
    frame = story.client.training_set(asked, features=[QQQ])
    assert frame.index.equals(index)
    assert frame["label"].tolist() == [1, 2, 3]
    assert frame[QQQ].iloc[0] == frame[QQQ].iloc[2] != frame[QQQ].iloc[1]


def test_columns_of_any_type_and_name_come_back(story: FeatureLog) -> None:
    asked = frame_of([AT, AT], **{QQQ: [1.0, 2.0]}, odd=[[1], {"a": 2}]).rename(columns={"odd": 5})
    asked["sparse"] = pd.arrays.SparseArray([0.0, 1.0])
    asked["nullable"] = pd.array([None, 3], dtype="Int64")
    frame = story.client.training_set(asked, features=["ml_hyg_price"])
    pd.testing.assert_frame_equal(frame[asked.columns.tolist()], asked)
    assert frame.columns.tolist() == [*asked.columns, "ml_hyg_price"]


def test_a_frame_without_rows_needs_no_types(story: FeatureLog) -> None:
    names = [QQQ, CORRELATION]
    frame = story.client.training_set(pd.DataFrame(columns=["timestamp", "symbol"]), features=names, ages=True)
    assert frame.columns.tolist()[2:4] == names
    assert frame.dtypes[names].tolist() == [np.float64, np.float64]


def test_what_is_changed_in_one_training_set_changes_no_other(story: FeatureLog) -> None:
    client, asked = story.client, frame_of([AT, AT], label=[1.0, 2.0])
    one = client.training_set(asked, features=[QQQ])
    before = one.copy()
    one.loc[:, :] = one.assign(label=0.0, ml_qqq_price=0.0)
    assert asked["label"].tolist() == [1.0, 2.0]
    pd.testing.assert_frame_equal(client.training_set(asked, features=[QQQ]), before)


@pytest.mark.parametrize(
    ("symbol", "known"),
    [
        ("btc", True),
        ("Btc-Usd", True),
        ("BTC_USDT", True),
        (" btc ", True),
        ("XBT", False),
        ("WBTC", False),
        (7, False),
    ],
)
def test_symbols_are_taken_in_any_case_and_never_guessed(story: FeatureLog, symbol: Any, known: bool) -> None:
    frame = story.client.training_set(frame_of([AT], symbol=[symbol]), features=[CORRELATION])
    assert frame[CORRELATION].notna().tolist() == [known]


@pytest.mark.parametrize(
    ("times", "error", "words"),
    [
        (pd.Series([AT, pd.NaT, None], dtype=object), FeatureRequestError, "missing in 2 rows"),
        (pd.Series([AT, datetime(2026, 3, 3)], dtype=object), NaiveTimestampError, "2026-03-03 00:00:00"),  # noqa: DTZ001
        (pd.Series([date(2026, 3, 3)], dtype=object), FeatureRequestError, r"\(date\)"),
        (pd.Series([time(3, tzinfo=UTC)], dtype=object), FeatureRequestError, r"\(time\)"),
        (pd.Series([np.datetime64("2026-03-03")], dtype=object), FeatureRequestError, r"\(datetime64\)"),
        (pd.Series([AT, 1_772_550_900], dtype=object), FeatureRequestError, r"\(int\)"),
        (pd.Categorical([AT.tz_localize(None)]), NaiveTimestampError, "without a time zone|no time zone"),
        (pd.period_range("2026-03-03", periods=1), FeatureRequestError, "Period"),
        (pd.Series([1_772_550_900]), FeatureRequestError, "dtype int64"),
    ],
)
def test_what_is_no_instant_is_refused(story: FeatureLog, times: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        story.client.training_set(frame_of(times), features=[QQQ])


def test_requests_that_make_no_sense_are_refused_with_a_remedy(story: FeatureLog) -> None:
    client, asked = story.client, frame_of([AT])
    levels = pd.DataFrame([[AT]], columns=pd.MultiIndex.from_tuples([("timestamp", "x")]))
    with pytest.raises(FeatureRequestError, match="several levels"):
        client.training_set(levels)
    with pytest.raises(TypeError, match="is a set, whose order is chance"):
        client.training_set(asked, features={QQQ})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is no timedelta"):
        client.training_set(asked, max_age=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"as_of=5 is of type int; pass an aware datetime"):
        client.training_set(asked, as_of=5)  # type: ignore[arg-type]
    with pytest.raises(FeatureRequestError, match="outside of the years 1 to 9999"):
        client.training_set(asked, as_of=datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))
    named = client.training_set(asked, features=(name for name in (QQQ, "ml_hyg_price")))  # type: ignore[arg-type]
    assert named.columns.tolist() == ["timestamp", QQQ, "ml_hyg_price"]
    assert client.training_set(asked, features=[]).columns.tolist() == ["timestamp"]


def test_any_as_of_is_a_point_on_the_axis(story: FeatureLog) -> None:
    asked = frame_of([AT])
    latest = story.client.training_set(asked)
    for future in ("2200-01-01", pd.Timestamp("2500-01-01", tz="UTC"), datetime.max.replace(tzinfo=UTC)):
        frame = story.client.training_set(asked, as_of=future)
        pd.testing.assert_frame_equal(frame, latest)
        assert frame.attrs == latest.attrs
    nothing = story.client.training_set(asked, as_of=datetime.min.replace(tzinfo=UTC))
    assert nothing[list(story.catalogue.features)].isna().all(axis=None)
