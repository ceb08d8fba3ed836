"""Training sets from a log in which rows were late, revised, made up for and backfilled."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import market_assets
from market_assets import FeatureStore
from market_assets.errors import FeatureRequestError, NaiveTimestampError, NoDatabaseError
from market_assets.store.tables import CRYPTO_CORRELATIONS
from market_assets_tests.feature_log import STORY, FeatureLog, made_up_bars, universe_of

if TYPE_CHECKING:
    from pathlib import Path

QQQ, HYG = "ml_qqq_price", "ml_hyg_price"


def at(text: str) -> pd.Timestamp:
    """Return an instant of March 2026, e.g. `03T15:00`."""
    return pd.Timestamp(f"2026-03-{text}", tz="UTC")


def entities(*times: str | pd.Timestamp, **columns: Any) -> pd.DataFrame:
    stamps = [at(time) if isinstance(time, str) else time for time in times]
    return pd.DataFrame({"timestamp": pd.DatetimeIndex(stamps, tz="UTC").as_unit("us"), **columns})


def values(frame: pd.DataFrame, name: str = QQQ) -> list[float]:
    return [float(value) for value in frame[name]]


def stored(log: FeatureLog, time: str, name: str = QQQ, *, vintage: Any = "served") -> float:
    """Return a value of the feature row at one observation time."""
    row = log.client.history(at(time), at(time) + pd.Timedelta("1us"), basis="at_T", vintage=vintage)
    assert len(row) == 1
    return float(row[name].iloc[0])


# --- what is known when -----------------------------------------------------------------------------------------------


def test_a_row_is_used_from_the_moment_it_was_stored(story: FeatureLog) -> None:
    known_from = at("03T15:31:20")
    frame = story.client.training_set(entities(known_from - pd.Timedelta("1us"), known_from))
    assert values(frame) == [stored(story, "03T15:00"), stored(story, "03T15:30")]


def test_a_late_bar_changes_the_revised_vintage_and_not_the_served_one(story: FeatureLog) -> None:
    """QQQ's bar of 14:45 came half an hour late: the row of 15:00 was served without it."""
    asked = entities("03T15:05")
    served, revised = (story.client.training_set(asked, vintage=vintage) for vintage in ("served", "revised"))
    assert values(served) == [stored(story, "03T15:00")]
    assert values(revised) == [stored(story, "03T15:00", vintage="revised")]
    assert values(served) != values(revised)
    assert served.attrs["vintage"] == "served"
    assert revised.attrs["vintage"] == "revised"


def test_a_revised_bar_changes_the_revised_vintage_and_not_the_served_one(story: FeatureLog) -> None:
    asked = entities("03T15:40", "05T15:00")
    served, revised = (story.client.training_set(asked, vintage=vintage) for vintage in ("served", "revised"))
    assert values(revised, HYG)[0] == 81.25
    assert values(served, HYG)[0] == stored(story, "03T15:30", HYG) != 81.25


def test_the_first_version_stays_the_one_that_counts_after_a_revision(story: FeatureLog) -> None:
    """A model that asks on 5 March for 3 March gets what it would have been served on 3 March."""
    row = story.client.training_set(entities("03T15:31:00"))
    assert values(row) == [stored(story, "03T15:00")]


def test_rows_made_up_for_after_an_outage_count_from_when_they_were_stored(story: FeatureLog) -> None:
    during, after = story.client.training_set(entities("03T18:00", "03T18:31:20"))[QQQ]
    assert during == stored(story, "03T16:00")
    assert after == stored(story, "03T18:30")
    revised = story.client.training_set(entities("03T18:02"), vintage="revised")
    assert values(revised) == [stored(story, "03T18:00")]


def test_a_backfilled_row_counts_after_settle_and_the_stated_latency(story: FeatureLog) -> None:
    known = at("02T15:02")
    frame = story.client.training_set(entities(known - pd.Timedelta("1us"), known))
    assert values(frame) == [stored(story, "02T14:30"), stored(story, "02T15:00")]
    slow = FeatureStore(
        store=story.store, universe=STORY, indicators=story.indicators, tick_latency=timedelta(minutes=5)
    )
    assert values(slow.training_set(entities(known))) == [stored(story, "02T14:30")]
    assert slow.training_set(entities(known)).attrs["market_assets"]["tick_latency_seconds"] == 300.0


def test_a_training_set_equals_what_could_be_asked_for_at_each_time(story: FeatureLog) -> None:
    """The strongest statement about leaks: what is told about t now is what was told at t."""
    times = pd.date_range(at("03T14:31:20"), at("05T16:00"), freq="131min")
    features = [*story.client.features]
    now = story.client.training_set(entities(*times, symbol="BTC"), features=features)
    for row, time in enumerate(times):
        then = story.client.training_set(entities(time, symbol="BTC"), features=features, as_of=time)
        pd.testing.assert_frame_equal(then, now.iloc[[row]].reset_index(drop=True), check_exact=True)


def test_nothing_stored_after_as_of_is_used(story: FeatureLog) -> None:
    asked = entities("03T15:05", "05T15:40")
    frame = story.client.training_set(asked, as_of=at("03T15:10"), vintage="revised")
    assert values(frame) == [stored(story, "03T15:00")] * 2
    assert frame.attrs["as_of"] == "2026-03-03T15:10:00+00:00"


def test_the_watermark_of_an_answer_gives_the_same_answer_for_ever(tmp_path: Path) -> None:
    log = FeatureLog.open(
        tmp_path / "m.db", universe_of("QQQ"), made_up_bars(["QQQ"], "2026-02-20", "2026-03-03", "2026-03-04")
    )
    client, asked = log.client, entities("03T15:10", "03T15:40", "03T16:10")
    log.tick(datetime(2026, 3, 3, 15, 1, tzinfo=UTC))
    before = client.training_set(asked)
    log.tick(datetime(2026, 3, 3, 15, 31, tzinfo=UTC))
    after = client.training_set(asked)
    assert values(before) != values(after)
    pd.testing.assert_frame_equal(client.training_set(asked, as_of=before.attrs["as_of"]), before)
    log.store.close()


def test_before_the_first_row_everything_is_missing(story: FeatureLog) -> None:
    frame = story.client.training_set(
        entities(pd.Timestamp("1812-06-24", tz="UTC"), "03T15:05", symbol="BTC"), features=story.client.features
    )
    assert frame.iloc[0][list(story.client.features)].isna().all()
    assert frame.iloc[1][list(story.client.features)].notna().any()


def test_rows_older_than_max_age_count_as_none(story: FeatureLog) -> None:
    asked = entities("04T13:00:00", "04T13:00:01")
    frame = story.client.training_set(asked, max_age=timedelta(hours=12))
    assert np.isnan(frame[QQQ]).tolist() == [False, True]


# --- what comes back --------------------------------------------------------------------------------------------------


def test_entities_keep_their_order_columns_and_index(story: FeatureLog) -> None:
    asked = entities("05T15:05", "02T15:05", "03T15:05", symbol=["ETH", "BTC", "BTC"], label=[1, 0, 1])
    asked.index = pd.Index([30, 10, 20], name="sample")
    before = asked.copy()
    frame = story.client.training_set(asked)
    assert frame.index.equals(asked.index)
    assert frame.columns.tolist()[:3] == ["timestamp", "symbol", "label"]
    assert frame.columns.tolist()[3:] == list(story.catalogue.features)
    pd.testing.assert_frame_equal(frame[["timestamp", "symbol", "label"]], before)
    pd.testing.assert_frame_equal(asked, before)
    alone = story.client.training_set(asked.iloc[[1]])
    assert values(alone) == values(frame)[1:2]


def test_features_come_in_the_order_asked_for(story: FeatureLog) -> None:
    names = ["ml_vix_fear_index", "ml_risk_on_ratio", "ml_nasdaq_correlation", QQQ]
    frame = story.client.training_set(entities("03T15:05", symbol="BTC"), features=names)
    assert frame.columns.tolist() == ["timestamp", "symbol", *names]
    assert values(frame, "ml_vix_fear_index") == [stored(story, "03T15:00", "ml_vix_price")]


def test_correlations_are_those_of_the_symbol_and_of_the_last_session_known(story: FeatureLog) -> None:
    name = "ml_nasdaq_correlation"
    asked = entities(*["04T00:01:20", "04T00:01:21"] * 3, symbol=["BTC", "BTC", "btc-usd", "BTC/USDT", "DOGE", None])
    frame = story.client.training_set(asked, features=[name])
    with story.store.snapshot() as snapshot:
        found = snapshot.versions(CRYPTO_CORRELATIONS, start=date(2026, 3, 2), end=date(2026, 3, 4))
    monday, tuesday, _revised = found.query("ticker == 'QQQ' and sessions == 20")["correlation"]
    assert values(frame, name)[:4] == [monday, tuesday, monday, tuesday]
    assert np.isnan(values(frame, name)[4:]).all()


def test_each_crypto_reference_has_its_own_correlations(tmp_path: Path) -> None:
    names = ("QQQ", "BTC", "ETH")
    log = FeatureLog.open(
        tmp_path / "m.db", universe_of(*names), made_up_bars(names, "2026-01-20", "2026-03-01", "2026-03-04")
    )
    log.tick(datetime(2026, 3, 4, 0, 1, tzinfo=UTC), date(2026, 1, 20), date(2026, 3, 4))
    stored = log.store.read(CRYPTO_CORRELATIONS, start=date(2026, 3, 3), end=date(2026, 3, 4)).query("sessions == 20")
    asked = entities("04T00:01:01", "04T00:02", "04T00:02", "04T00:02", symbol=["ETH", "ETH", "BTC", "ETH-USD"])
    got = values(log.client.training_set(asked, features=["ml_nasdaq_correlation"]), "ml_nasdaq_correlation")
    by_crypto = dict(zip(stored["crypto"], stored["correlation"], strict=True))
    assert got[1:] == [by_crypto["ETH"], by_crypto["BTC"], by_crypto["ETH"]]
    assert by_crypto["ETH"] != by_crypto["BTC"]
    one = log.client
    for part in (asked.iloc[[2]], asked.iloc[[0]], asked, asked.iloc[[3, 2]]):
        again = one.training_set(part, features=["ml_nasdaq_correlation"])
        assert values(again, "ml_nasdaq_correlation")[-1] == got[part.index[-1]]
    log.store.close()


def test_an_entity_long_after_the_last_row_still_gets_it(story: FeatureLog) -> None:
    asked = entities(pd.Timestamp("2027-01-01", tz="UTC"), symbol="BTC")
    names = [QQQ, "ml_nasdaq_correlation"]
    frame = story.client.training_set(asked, features=names, ages=True)
    assert values(frame) == [stored(story, "05T15:30")]
    assert frame["ml_nasdaq_correlation"].notna().all()
    assert frame["ml_qqq_price_age_minutes"].iloc[0] > 300 * 1440


def test_the_age_of_each_value_is_told_on_request(story: FeatureLog) -> None:
    frame = story.client.training_set(
        entities("03T15:10", "04T00:20", symbol="BTC"),
        features=[QQQ, "ml_vix_volatility", "ml_risk_on_ratio", "ml_nasdaq_correlation"],
        ages=True,
    )
    # At 15:00 QQQ's bar of 14:45 was missing: the price is that of 14:45. VIX is 15 minutes late by rule.
    assert values(frame, "ml_qqq_price_age_minutes") == [25.0, 200.0]
    assert values(frame, "ml_vix_volatility_age_minutes") == [25.0, 185.0]
    assert values(frame, "ml_risk_on_ratio_age_minutes") == [25.0, 200.0]
    assert values(frame, "ml_nasdaq_correlation_age_minutes") == [(24 - 21 + 15) * 60 + 10.0, 200.0]
    assert "ml_qqq_price_age_minutes" not in story.client.training_set(entities("03T15:10"))


def test_no_entities_make_an_empty_training_set(story: FeatureLog) -> None:
    asked = entities(symbol=[])
    frame = story.client.training_set(asked, features=story.client.features, ages=True)
    assert len(frame) == 0
    assert frame.columns.tolist()[:2] == ["timestamp", "symbol"]


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([pd.Timestamp("2026-03-03T15:05")]),
        pd.Series([datetime(2026, 3, 3, 15, 5)], dtype=object),  # noqa: DTZ001 - naive on purpose
        pd.Series([pd.Timestamp("2026-03-03T15:05")]).astype("timestamp[us][pyarrow]"),
    ],
)
def test_naive_timestamps_are_refused(story: FeatureLog, column: pd.Series) -> None:
    with pytest.raises(NaiveTimestampError, match=r"no time zone|without a time zone"):
        story.client.training_set(pd.DataFrame({"timestamp": column}))


def test_naive_bounds_and_as_of_are_refused(story: FeatureLog) -> None:
    for arguments in ({"start": "2026-03-03T15:05"}, {"as_of": datetime(2026, 3, 3)}):  # noqa: DTZ001
        with pytest.raises(NaiveTimestampError):
            story.client.history(**arguments)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_of_any_zone_and_resolution_mean_the_same_instant(story: FeatureLog, zone: str, unit: Any) -> None:
    known = at("02T15:02").tz_convert(zone)
    asked = pd.DataFrame({"timestamp": pd.DatetimeIndex([known]).as_unit(unit)})
    assert values(story.client.training_set(asked)) == [stored(story, "02T15:00")]
    arrow = asked["timestamp"].astype(pd.ArrowDtype(pa.timestamp(unit, tz=zone)))
    assert values(story.client.training_set(pd.DataFrame({"timestamp": arrow}))) == [stored(story, "02T15:00")]
    objects = asked["timestamp"].astype(object)
    assert values(story.client.training_set(pd.DataFrame({"timestamp": objects}))) == [stored(story, "02T15:00")]


def test_a_nanosecond_before_a_row_was_known_is_before(story: FeatureLog) -> None:
    known = at("02T15:02").as_unit("ns") - pd.Timedelta("1ns")
    asked = pd.DataFrame({"timestamp": pd.DatetimeIndex([known])})
    assert values(story.client.training_set(asked)) == [stored(story, "02T14:30")]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"time": [1]}), "no column 'timestamp'"),
        (pd.DataFrame({"timestamp": [1.5]}), "dtype float64"),
        (pd.DataFrame({"timestamp": ["2026-03-03T15:05Z"]}), "holds '2026-03-03T15:05Z'"),
        (pd.DataFrame({"timestamp": pd.DatetimeIndex([pd.NaT], tz="UTC")}), "missing in 1 rows"),
        (entities("03T15:05", ml_qqq_price=1.0), "has the column 'ml_qqq_price'"),
        (pd.concat([entities("03T15:05", y=1), pd.DataFrame({"y": [2]})], axis=1), "two columns of one name"),
    ],
)
def test_entities_that_cannot_be_used_are_refused_with_a_remedy(
    story: FeatureLog, frame: pd.DataFrame, words: str
) -> None:
    with pytest.raises(FeatureRequestError, match=words):
        story.client.training_set(frame)


def test_correlations_need_a_symbol(story: FeatureLog) -> None:
    with pytest.raises(FeatureRequestError, match="no column 'symbol'"):
        story.client.training_set(entities("03T15:05"), features=["ml_nasdaq_correlation"])
    with pytest.raises(FeatureRequestError, match="per crypto symbol"):
        story.client.history(features=["ml_nasdaq_correlation"])


def test_unknown_features_vintages_and_bases_are_refused(story: FeatureLog) -> None:
    client, asked = story.client, entities("03T15:05")
    with pytest.raises(FeatureRequestError, match="'ml_qqq_prize' is no feature; did you mean ml_qqq_price"):
        client.training_set(asked, features=["ml_qqq_prize"])
    with pytest.raises(FeatureRequestError, match="named twice"):
        client.training_set(asked, features=[QQQ, QQQ])
    with pytest.raises(TypeError, match="is a str"):
        client.training_set(asked, features=QQQ)
    with pytest.raises(FeatureRequestError, match="vintage='newest'"):
        client.training_set(asked, vintage="newest")  # type: ignore[arg-type]
    with pytest.raises(FeatureRequestError, match="basis='native'"):
        client.history(basis="native")  # type: ignore[arg-type]
    with pytest.raises(FeatureRequestError, match="swap them"):
        client.history("2026-03-04", "2026-03-03")


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_history_is_half_open_and_takes_days_texts_and_instants(story: FeatureLog) -> None:
    client = story.client
    by_text = client.history("2026-03-03", "2026-03-04")
    assert by_text["observed_at"].iloc[0] == at("03T00:00")
    assert by_text["observed_at"].iloc[-1] == at("03T23:30")
    pd.testing.assert_frame_equal(client.history(date(2026, 3, 3), date(2026, 3, 4)), by_text)
    pd.testing.assert_frame_equal(client.history(at("03T00:00"), at("04T00:00")), by_text)
    assert len(client.history()) > len(by_text)


def test_a_history_shows_the_rows_as_they_were_known(story: FeatureLog) -> None:
    window: dict[str, Any] = {"start": at("03T15:00"), "end": at("03T15:30"), "basis": "at_T"}
    then = story.client.history(**window, as_of=at("03T15:10"))
    now = story.client.history(**window)
    assert values(then) != values(now)
    assert then["origin"].tolist() == ["live"]
    pd.testing.assert_frame_equal(story.client.history(**window, vintage="served"), then, check_like=True)


def test_the_latest_row_is_the_newest_one_known(story: FeatureLog) -> None:
    row = story.client.latest()
    assert row.name == at("05T15:30")
    assert row[QQQ] == stored(story, "05T15:30")
    assert row.attrs["as_of"] == "2026-03-05T15:31:20+00:00"
    assert story.client.latest([HYG], as_of=at("03T15:10")).to_dict() == {HYG: stored(story, "03T15:00", HYG)}
    with pytest.raises(FeatureRequestError, match="no feature row was known"):
        story.client.latest(as_of=at("01T00:00"))


def test_a_client_reads_rows_once_until_something_new_is_known(tmp_path: Path) -> None:
    log = FeatureLog.open(
        tmp_path / "m.db", universe_of("QQQ"), made_up_bars(["QQQ"], "2026-02-20", "2026-03-03", "2026-03-04")
    )
    client = log.client
    log.tick(datetime(2026, 3, 3, 15, 1, tzinfo=UTC))
    wide, narrow = entities("03T14:00", "03T18:00"), entities("03T15:35")
    client.training_set(wide)
    read = client._last_read
    first = client.training_set(narrow)
    assert client._last_read is read
    assert client.training_set(narrow, features=log.catalogue.features).equals(first)
    assert client._last_read is read
    log.tick(datetime(2026, 3, 3, 15, 31, tzinfo=UTC))
    assert values(client.training_set(narrow)) != values(first)
    assert client._last_read is not read
    log.store.close()


# --- the package ------------------------------------------------------------------------------------------------------


def test_the_client_is_imported_lazily_and_without_dagster() -> None:
    program = (
        "import sys, market_assets\n"
        "assert 'pandas' not in sys.modules and 'sqlalchemy' not in sys.modules\n"
        "from market_assets import FeatureStore\n"
        "assert FeatureStore.__module__ == 'market_assets.client.feature_store'\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'dagster', 'yfinance', 'alembic', 'typer'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_database_is_opened_by_url_and_never_made_by_looking(story_file: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDatabaseError):
        FeatureStore(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(TypeError, match="pass one of them"):
        FeatureStore("sqlite://", store=FeatureLog.opened(story_file, STORY).store)
    with pytest.raises(AttributeError, match="FeatureStoer"):
        market_assets.FeatureStoer  # noqa: B018
