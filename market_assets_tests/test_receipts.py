"""Exports and their receipts: what they say, and that the log gives the same data set again."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from market_assets.client import files
from market_assets.errors import MissingExtraError, NaiveTimestampError, ReceiptError
from market_assets.receipts import read_receipt, verify_receipt
from market_assets.receipts.hashes import Kind, column_hash, kind_of
from market_assets.store import Store
from market_assets_tests.feature_log import FeatureLog, made_up_bars, universe_of

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.client.request import Basis, Vintage
    from market_assets.receipts import Verdict

EVERYTHING = ("ml_nasdaq_correlation", "ml_vix_fear_index")


def entities(count: int = 120, start: str = "2026-03-02T20:00Z") -> pd.DataFrame:
    """Return entities of both crypto symbols and a third, with labels of each kind."""
    times = pd.date_range(start, periods=count, freq="37min")
    return pd.DataFrame(
        {
            "timestamp": times.tz_convert("Asia/Tokyo"),
            "symbol": np.resize(np.array(["BTC", "ETHUSDT", None], dtype=object), count),
            "label": np.arange(count),
            "weight": np.linspace(0.1, 1.7, count),
            "is_test": np.arange(count) % 3 == 0,
        }
    )


def verify(path: Path, log: FeatureLog) -> Verdict:
    return verify_receipt(path, log.store, log.catalogue)


def training_set(log: FeatureLog, **options: Any) -> pd.DataFrame:
    features = [*log.catalogue.features, *EVERYTHING]
    return log.client.training_set(entities(), features=features, **options)


@pytest.mark.parametrize(
    ("basis", "vintage", "suffix"),
    [
        ("at_T", "served", "parquet"),
        ("at_T", "revised", "csv"),
        ("as_of", "served", "csv"),
        ("as_of", "revised", "parquet"),
    ],
)
def test_an_export_is_identical_to_what_the_log_gives(
    story: FeatureLog, tmp_path: Path, suffix: str, vintage: Vintage, basis: Basis
) -> None:
    """Late, revised, made up for, split: each row is computed again from the bars as they were known to it."""
    frame = training_set(story, vintage=vintage, basis=basis, ages=suffix == "csv")
    path = tmp_path / f"set.{suffix}"
    receipt = (story.client.to_parquet if suffix == "parquet" else story.client.to_csv)(frame, path)
    assert receipt == tmp_path / f"set.{suffix}.receipt.json"
    verdict = verify(path, story)
    assert verdict.findings == ()
    assert verdict.identical
    assert verdict.recomputed > 40
    assert verify(receipt, story).identical
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, receipt.name]


@pytest.mark.parametrize("vintage", ["served", "revised"])
def test_a_history_is_identical_to_what_the_log_gives(story: FeatureLog, tmp_path: Path, vintage: Vintage) -> None:
    frame = story.client.history("2026-03-03", vintage=vintage, ages=True)
    story.client.to_parquet(frame, tmp_path / "rows.parquet")
    verdict = verify(tmp_path / "rows.parquet", story)
    assert verdict.findings == ()
    assert verdict.recomputed == verdict.lines == len(frame)
    story.client.to_csv(frame.iloc[::7].drop(columns="known_from"), tmp_path / "some.csv")
    assert verify(tmp_path / "some.csv", story).identical


def test_a_receipt_says_what_a_data_set_is(story: FeatureLog, tmp_path: Path) -> None:
    receipt = read_receipt(story.client.to_csv(training_set(story), tmp_path / "set.csv"))
    assert receipt["rows"] == 120
    assert receipt["as_of"] == "2026-03-05T15:31:20+00:00"
    assert (receipt["vintage"], receipt["basis"], receipt["source"]) == ("served", "at_T", "test")
    assert receipt["database"].lower() == "sqlite"
    assert receipt["window"] == {"first": "2026-03-02T20:00:00+00:00", "last": "2026-03-05T21:23:00+00:00"}
    assert set(receipt["code"]) == {"version", "computation"}
    assert list(receipt["definitions"]) == [*story.catalogue.features, *EVERYTHING]
    assert receipt["definitions"]["ml_vix_fear_index"] == receipt["definitions"]["ml_vix_price"]
    assert sum(receipt["feature_versions"].values()) == receipt["coverage"]["feature_rows"]
    coverage = receipt["coverage"]
    assert set(coverage["origins"]) == {"backfill", "live"}
    assert coverage["observation_times"] == coverage["rows_in_log"] > coverage["feature_rows"]
    assert coverage["values"]["ml_nasdaq_correlation"] == 40
    columns = {column["name"]: column for column in receipt["columns"]}
    assert {name: columns[name]["kind"] for name in ("timestamp", "symbol", "label", "weight", "is_test")} == {
        "timestamp": "timestamp",
        "symbol": "text",
        "label": "int64",
        "weight": "float64",
        "is_test": "bool",
    }
    assert columns["label"]["role"] == "own"
    assert columns["ml_qqq_price"]["role"] == "rebuilt"
    assert set(receipt["bars"]["windows"]) == {"QQQ", "HYG", "TLT", "VIX", "BTC"}


def test_a_receipt_covers_only_what_its_columns_stand_on(story: FeatureLog, tmp_path: Path) -> None:
    frame = story.client.training_set(entities(), features=["ml_hyg_price", "ml_tlt_volatility"])
    receipt = read_receipt(story.client.to_csv(frame, tmp_path / "set.csv"))
    assert set(receipt["bars"]["windows"]) == {"HYG", "TLT"}
    assert set(receipt["bars"]["series"]) == {"HYG 15m", "HYG 1d", "TLT 15m", "TLT 1d"}
    dropped = training_set(story).drop(columns=[name for name in story.catalogue.features if "hyg" not in name])
    receipt = read_receipt(story.client.to_csv(dropped.drop(columns=list(EVERYTHING)), tmp_path / "set.csv"))
    assert set(receipt["bars"]["windows"]) == {"HYG"}
    assert verify(tmp_path / "set.csv", story).identical


def test_a_receipt_holds_no_secret(tmp_path: Path, story: FeatureLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://someone:hunter2@db.example:5432/market")
    text = story.client.to_csv(training_set(story), tmp_path / "set.csv").read_text()
    assert "hunter2" not in text
    assert "db.example" not in text
    assert str(story.store.database.redacted_url) not in text


def test_the_same_data_set_has_the_same_hashes_in_any_format(story: FeatureLog, tmp_path: Path) -> None:
    frame = training_set(story)
    one = read_receipt(story.client.to_csv(frame, tmp_path / "set.csv"))
    two = read_receipt(story.client.to_parquet(frame, tmp_path / "set.parquet"))
    again = read_receipt(story.client.to_csv(training_set(story), tmp_path / "set.csv"))
    assert one["columns"] == two["columns"]
    assert one == again


def test_a_receipt_stays_valid_while_the_log_goes_on(tmp_path: Path) -> None:
    """Later ticks, revisions of the very bars, a new feature version: the watermark keeps the data set."""
    bars = made_up_bars(["QQQ"], "2026-01-20", "2026-03-02", "2026-03-05")
    log = FeatureLog.open(tmp_path / "m.db", universe_of("QQQ"), bars)
    log.tick(datetime(2026, 3, 3, 18, 1, tzinfo=UTC), date(2026, 1, 20), date(2026, 3, 3))
    log.client.to_csv(log.client.training_set(entities(30, "2026-03-02T20:00Z")), tmp_path / "set.csv")
    log.revise("QQQ", "15m", "2026-03-03T15:15Z", close=77.0)
    log.take_out("QQQ", "15m", "2026-03-03T16:15Z")
    log.tick(datetime(2026, 3, 4, 18, 1, tzinfo=UTC), date(2026, 3, 3), date(2026, 3, 4))
    assert verify(tmp_path / "set.csv", log).identical
    log.store.close()


def test_a_frame_that_no_longer_is_what_the_client_returned_gets_no_receipt(story: FeatureLog, tmp_path: Path) -> None:
    frame = training_set(story)
    changed = frame.assign(ml_qqq_price=frame["ml_qqq_price"] * 2.0)
    changed.attrs = frame.attrs
    with pytest.raises(ReceiptError, match="'ml_qqq_price' is no longer what FeatureStore returned, first in line 0"):
        story.client.to_csv(changed, tmp_path / "set.csv")
    assert list(tmp_path.iterdir()) == []
    for odd in (frame.assign(a=1).rename(columns={"a": 5}), frame.rename(columns={"weight": "label"})):
        with pytest.raises(ReceiptError, match="needs a name of its own"):
            story.client.to_csv(odd, tmp_path / "set.csv")
    shuffled = frame.sample(frac=1.0, random_state=1)
    story.client.to_csv(shuffled, tmp_path / "shuffled.csv")
    assert verify(tmp_path / "shuffled.csv", story).identical
    own = frame.assign(doubled=frame["ml_qqq_price"] * 2.0)
    story.client.to_csv(own, tmp_path / "own.csv")
    assert verify(tmp_path / "own.csv", story).identical
    with pytest.raises(ReceiptError, match="does not say how it was made"):
        story.client.to_csv(pd.DataFrame(frame.to_dict("list")), tmp_path / "lost.csv")
    assert not (tmp_path / "lost.csv").exists()


def test_arrow_has_the_columns_and_how_they_were_made(story: FeatureLog) -> None:
    frame = training_set(story)
    table = story.client.to_arrow(frame)
    assert table.column_names == frame.columns.tolist()
    assert json.loads(table.schema.metadata[b"pandas"])["attributes"]["vintage"] == "served"
    np.testing.assert_array_equal(table["ml_qqq_price"].to_numpy(), frame["ml_qqq_price"])


def test_a_parquet_file_remembers_how_it_was_made(story: FeatureLog, tmp_path: Path) -> None:
    story.client.to_parquet(training_set(story), tmp_path / "set.parquet")
    read = pd.read_parquet(tmp_path / "set.parquet")
    assert read.attrs["basis"] == "at_T"
    story.client.to_csv(read, tmp_path / "again.csv")
    assert verify(tmp_path / "again.csv", story).identical
    assert pq.read_metadata(tmp_path / "set.parquet").num_rows == 120


def test_without_pyarrow_the_extra_is_named(story: FeatureLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("no pyarrow")

    frame = training_set(story)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"market-assets\[parquet\]"):
        files.to_arrow(frame)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with pytest.raises(MissingExtraError, match=r"market-assets\[parquet\]"):
        story.client.to_parquet(frame, tmp_path / "set.parquet")
    assert not list(tmp_path.iterdir())


def test_files_without_a_receipt_and_receipts_without_a_file_are_refused(story: FeatureLog, tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match=r"there is no receipt .*none\.csv\.receipt\.json"):
        verify(tmp_path / "none.csv", story)
    (tmp_path / "odd.csv.receipt.json").write_text("{}")
    with pytest.raises(ReceiptError, match="is no receipt of form 1"):
        verify(tmp_path / "odd.csv", story)
    receipt = story.client.to_csv(training_set(story), tmp_path / "set.csv")
    (tmp_path / "set.csv").unlink()
    with pytest.raises(ReceiptError, match="there is no file"):
        verify(receipt, story)
    (tmp_path / "set.csv").write_text("timestamp,symbol\nnever,BTC\n")
    with pytest.raises(ReceiptError, match="is no csv file of this receipt"):
        verify(receipt, story)


def test_an_empty_data_set_has_a_receipt_too(story: FeatureLog, tmp_path: Path) -> None:
    frame = story.client.training_set(entities(0))
    story.client.to_csv(frame, tmp_path / "set.csv")
    assert verify(tmp_path / "set.csv", story).identical
    story.client.to_csv(story.client.history("2020-01-01", "2020-01-02"), tmp_path / "rows.csv")
    assert verify(tmp_path / "rows.csv", story).identical


def test_rows_that_do_not_say_what_they_were_computed_from_are_taken_as_stored(
    own_story: FeatureLog, tmp_path: Path
) -> None:
    with own_story.store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ml_features SET read_as_of = NULL WHERE origin = 'live'")
    own_story.client.to_csv(own_story.client.history("2026-03-03"), tmp_path / "rows.csv")
    verdict = verify(tmp_path / "rows.csv", own_story)
    assert verdict.identical
    assert "do not say what they were computed from" in verdict.notes[0]


# --- canonical bytes --------------------------------------------------------------------------------------------------


def test_columns_hash_by_their_values_alone() -> None:
    def hash_of(values: Any, **options: Any) -> str:
        column = pd.Series(values, **options)
        return column_hash(column, kind_of(column))

    nans = np.array([0x7FF8000000000000, 0xFFF8000000000001], dtype=np.uint64).view(np.float64)
    assert hash_of(nans[:1]) == hash_of(nans[1:])
    assert hash_of([0.0]) != hash_of([-0.0])
    assert hash_of([1.0]) != hash_of([np.nextafter(1.0, 2.0)])
    assert hash_of([1.0]) != hash_of([1])
    assert hash_of([1.5], dtype="float32") == hash_of([1.5])
    assert hash_of(["a", None]) == hash_of(["a", ""]) == hash_of(pd.Categorical(["a", None]))
    assert hash_of(["ab", "c"]) != hash_of(["a", "bc"])
    assert hash_of(["é"], dtype="str") == hash_of(["é"], dtype=object)
    instant = pd.Timestamp("2026-03-03T15:00Z")
    assert hash_of([instant]) == hash_of([instant.tz_convert("Asia/Tokyo").as_unit("ns")])
    assert hash_of([instant]) == hash_of([instant.to_pydatetime()], dtype=object)
    assert hash_of([instant, pd.NaT]) != hash_of([instant, instant])
    with pytest.raises(NaiveTimestampError):
        hash_of([pd.Timestamp("2026-03-03")])
    with pytest.raises(ReceiptError, match="holds list"):
        hash_of([[1]])
    assert column_hash(pd.Series([], dtype=float), Kind.FLOAT) != column_hash(pd.Series([], dtype=int), Kind.INTEGER)


def test_a_copy_of_the_database_verifies_as_well(story: FeatureLog, story_file: Path, tmp_path: Path) -> None:
    story.client.to_csv(training_set(story), tmp_path / "set.csv")
    shutil.copy(story_file, tmp_path / "copy.db")
    copy = Store.connect(f"sqlite:///{tmp_path / 'copy.db'}", feature_columns=story.catalogue.features)
    assert verify_receipt(tmp_path / "set.csv", copy, story.catalogue).identical
    copy.close()
