"""What a verified receipt says when something is not as it was: every bar, row, cell and definition has its name."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from market_assets.client.columns import Catalogue
from market_assets.receipts import Verdict, read_receipt, verify_receipt
from market_assets.receipts.bars import Basement, LogVersions
from market_assets.receipts.prints import Series, differences, written_down

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.indicators import IndicatorInputs
    from market_assets.maths.quantity import Quantity
    from market_assets_tests.feature_log import FeatureLog

#: microseconds UTC of QQQ's bar that gives the price at 15:30 on 3 March
BAR_US = 1_772_550_900_000_000
ROW_US = BAR_US + 900_000_000
RATIO = "ml_risk_on_ratio"
BAR = "bar QQQ 15m 2026-03-03T15:15Z"


def database(log: FeatureLog) -> str:
    return str(log.store.database.url.database)


def run(log: FeatureLog, statement: str, *values: Any) -> int:
    """Change the database behind the store's back; return the number of rows."""
    with closing(sqlite3.connect(database(log))) as connection, connection:
        return connection.execute(statement, values).rowcount


def bar_value(log: FeatureLog, column: str) -> Any:
    with closing(sqlite3.connect(database(log))) as connection:
        query = f"SELECT {column} FROM market_bars WHERE ticker='QQQ' AND interval='15m' AND bar_start=?"  # noqa: S608
        return connection.execute(query, (BAR_US,)).fetchone()[0]


def set_bar(log: FeatureLog, column: str, value: Any) -> None:
    statement = f"UPDATE market_bars SET {column}=? WHERE ticker='QQQ' AND interval='15m' AND bar_start=?"  # noqa: S608
    assert run(log, statement, value, BAR_US) == 1


def flipped(value: float, bit: int) -> float:
    number: float = struct.unpack(
        "<d", (struct.unpack("<Q", struct.pack("<d", value))[0] ^ 1 << bit).to_bytes(8, "little")
    )[0]
    return number


def exported(log: FeatureLog, path: Path, *features: str) -> Path:
    """Export a training set of rows around the bar."""
    times = pd.date_range("2026-03-03T14:40Z", periods=12, freq="17min")
    entities = pd.DataFrame({"timestamp": times, "symbol": "BTC", "label": range(12)})
    log.client.to_csv(log.client.training_set(entities, features=features), path / "set.csv")
    return path / "set.csv"


@pytest.fixture
def export(own_story: FeatureLog, tmp_path: Path) -> Path:
    """A training set of prices, a change and a level ratio, exported as CSV."""
    return exported(own_story, tmp_path, "ml_qqq_price", "ml_qqq_change_1d", "ml_hyg_price", "ml_tlt_price", RATIO)


@pytest.fixture
def correlations(own_story: FeatureLog, tmp_path: Path) -> Path:
    """A training set of correlations, exported as CSV."""
    return exported(own_story, tmp_path, "ml_nasdaq_correlation")


def verify(path: Path, log: FeatureLog, catalogue: Catalogue | None = None) -> Verdict:
    return verify_receipt(path, log.store, catalogue or log.catalogue)


def told(verdict: Verdict) -> list[tuple[str, str]]:
    return [(finding.kind, finding.subject) for finding in verdict.findings]


# --- bars -------------------------------------------------------------------------------------------------------------


def test_one_changed_bit_of_a_close_names_the_bar_and_what_it_does(own_story: FeatureLog, export: Path) -> None:
    assert verify(export, own_story).identical
    set_bar(own_story, "close", flipped(bar_value(own_story, "close"), 0))
    verdict = verify(export, own_story)
    assert told(verdict) == [("bar", BAR)]
    detail = verdict.findings[0].detail
    for column in ("ml_qqq_price", "ml_qqq_change_1d"):
        assert f"{column} in 1 line, first line 4: exported" in detail
    assert "ml_hyg" not in detail


@pytest.mark.parametrize("column", ["open", "high", "low", "volume", "basis"])
def test_a_changed_bit_of_any_value_names_the_bar(own_story: FeatureLog, export: Path, column: str) -> None:
    set_bar(own_story, column, flipped(bar_value(own_story, column), 0))
    verdict = verify(export, own_story)
    assert told(verdict) == [("bar", BAR)]
    if column != "basis":
        assert "no value of the data set changes by it" in verdict.findings[0].detail


@pytest.mark.parametrize(("column", "value"), [("bar_end", ROW_US + 1), ("source", "tesu"), ("known_from", 1)])
def test_a_bar_is_named_whatever_else_of_it_changes(
    own_story: FeatureLog, export: Path, column: str, value: Any
) -> None:
    set_bar(own_story, column, value)
    assert ("bar", BAR) in told(verify(export, own_story))


def test_the_lowest_and_the_highest_bits_of_a_close_count(own_story: FeatureLog, export: Path) -> None:
    bars = read_receipt(export)["bars"]
    close = bar_value(own_story, "close")
    for bit in (0, 1, 51, 52, 62, 63):
        set_bar(own_story, "close", flipped(close, bit))
        changes = LogVersions.read(own_story.store, Basement.from_json(bars)).differences(bars)
        assert [change.name for change in changes] == [BAR], f"bit {bit}"


def test_a_changed_bit_in_a_version_that_has_been_replaced_is_found_too(own_story: FeatureLog, export: Path) -> None:
    """The row of 15:30 was served with HYG's first close, which only the history still has."""
    changed = run(own_story, "UPDATE market_bars_history SET close = close * 1.5 WHERE ticker='HYG' AND interval='15m'")
    assert changed == 1
    verdict = verify(export, own_story)
    assert told(verdict) == [("bar", "bar HYG 15m 2026-03-03T15:15Z")]
    assert "ml_hyg_price in 1 line" in verdict.findings[0].detail


def test_a_bar_that_is_gone_and_one_that_came_are_named(own_story: FeatureLog, export: Path) -> None:
    moved = "UPDATE market_bars SET bar_start=?, bar_end=? WHERE ticker='QQQ' AND interval='15m' AND bar_start=?"
    assert run(own_story, moved, BAR_US - 5_400_000_000, ROW_US - 5_400_000_000, BAR_US) == 1
    verdict = verify(export, own_story)
    assert told(verdict) == [("bar", "bar QQQ 15m 2026-03-03T13:45Z"), ("bar", BAR)]
    came, gone = (finding.detail for finding in verdict.findings)
    assert came.startswith("was not there when the receipt was written (now open=")
    assert gone.startswith("was there when the receipt was written and is gone; it changes")
    assert "ml_qqq_price" in gone


def test_each_of_several_bars_is_named_with_its_own_columns(own_story: FeatureLog, export: Path) -> None:
    statement = (
        "UPDATE market_bars SET close = close * 1.01 WHERE interval='15m' AND bar_start=? AND ticker IN ('QQQ', 'TLT')"
    )
    assert run(own_story, statement, BAR_US) == 2
    by_subject = {finding.subject: finding.detail for finding in verify(export, own_story).findings}
    assert list(by_subject) == [BAR, BAR.replace("QQQ", "TLT")]
    assert "ml_tlt_price" not in by_subject[BAR]
    assert "ml_risk_on_ratio" in by_subject[BAR]
    assert "ml_risk_on_ratio" in by_subject[BAR.replace("QQQ", "TLT")]


def test_a_bar_of_the_crypto_reference_is_named_with_the_correlation(own_story: FeatureLog, correlations: Path) -> None:
    """Two weeks before: correlations reach back 90 sessions."""
    statement = "UPDATE market_bars SET close = close * 1.1 WHERE ticker='BTC' AND interval='1d' AND bar_start=?"
    assert run(own_story, statement, 1_771_286_400_000_000) == 1
    verdict = verify(correlations, own_story)
    assert told(verdict) == [("bar", "bar BTC 1d 2026-02-17T00:00Z")]
    assert "it changes ml_nasdaq_correlation in 12 lines" in verdict.findings[0].detail


def test_a_changed_split_names_the_split(own_story: FeatureLog, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    own_story.client.to_csv(own_story.client.history("2026-03-03", features=["ml_qqq_price"]), path)
    assert run(own_story, "UPDATE corporate_actions SET value = 5.0 WHERE kind = 'split'") == 1
    verdict = verify(path, own_story)
    assert told(verdict) == [("bar", "split QQQ 2026-03-05")]
    assert "it changes ml_qqq_price in" in verdict.findings[0].detail


# --- stored rows ------------------------------------------------------------------------------------------------------


def test_a_changed_feature_row_is_named(own_story: FeatureLog, export: Path) -> None:
    statement = "UPDATE ml_features SET ml_qqq_price = ml_qqq_price + 1 WHERE observed_at = ?"
    assert run(own_story, statement, ROW_US + 1_800_000_000) == 1
    verdict = verify(export, own_story)
    assert told(verdict) == [("row", "feature row 2026-03-03T16:00Z")]
    assert re.search(r"ml_qqq_price is stored as \S+ and computed as \S+$", verdict.findings[0].detail)


@pytest.mark.parametrize(
    "change", ["known_from = known_from + 900000000", "origin = 'backfill'", "read_as_of = read_as_of + 1"]
)
def test_a_feature_row_is_named_if_it_says_something_else_of_itself(
    own_story: FeatureLog, export: Path, change: str
) -> None:
    statement = f"UPDATE ml_features SET {change} WHERE observed_at = ?"  # noqa: S608
    assert run(own_story, statement, ROW_US + 1_800_000_000) == 1
    found = {finding.subject: finding.detail for finding in verify(export, own_story).findings}
    assert "when it was stored, why, or from what" in found["feature row 2026-03-03T16:00Z"]


def test_a_feature_row_that_is_gone_is_named_with_the_lines_it_changes(own_story: FeatureLog, export: Path) -> None:
    assert run(own_story, "DELETE FROM ml_features WHERE observed_at = ?", ROW_US + 1_800_000_000) == 1
    verdict = verify(export, own_story)
    assert ("row", "feature row 2026-03-03T16:00Z") in told(verdict)
    values = [finding for finding in verdict.findings if finding.kind == "value"]
    assert values
    assert all("see the stored rows that differ" in finding.detail for finding in values)


def test_a_changed_correlation_is_named(own_story: FeatureLog, correlations: Path) -> None:
    statement = (
        "UPDATE crypto_correlations SET correlation = 0.5 WHERE ticker='QQQ' AND sessions=20 AND session='2026-03-02'"
    )
    assert run(own_story, statement) == 1
    (finding,) = verify(correlations, own_story).findings
    assert finding.subject == "correlation of BTC with QQQ 2026-03-02T21:00Z"
    assert "it is stored as 0.5 and computed as " in finding.detail


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_changed_cell_of_the_file_is_named(own_story: FeatureLog, export: Path) -> None:
    frame = pd.read_csv(export, dtype=str, keep_default_na=False)
    frame.loc[7, "ml_tlt_price"] = "1.25"
    frame.loc[8, "label"] = "77"
    frame.to_csv(export, index=False)
    verdict = verify(export, own_story)
    assert told(verdict) == [("file", "column label"), ("file", "column ml_tlt_price")]
    assert "not what was exported in 1 line, first line 7: in the file 1.25, rebuilt 8" in verdict.findings[1].detail


def test_lines_and_columns_that_are_missing_or_new_are_named(own_story: FeatureLog, export: Path) -> None:
    frame = pd.read_csv(export, dtype=str, keep_default_na=False)
    frame.iloc[:-1].drop(columns="ml_tlt_price").assign(extra="1").to_csv(export, index=False)
    details = [str(finding) for finding in verify(export, own_story).findings]
    assert details[:3] == [
        "file set.csv has 11 lines, 12 were exported",
        "file set.csv lacks the column ml_tlt_price",
        "file set.csv has the column extra, which was not exported",
    ]
    frame.drop(columns="timestamp").to_csv(export, index=False)
    assert told(verify(export, own_story)) == [("file", "file set.csv")]


def test_a_file_that_was_only_written_anew_is_identical(own_story: FeatureLog, export: Path) -> None:
    frame = pd.read_csv(export, dtype=str, keep_default_na=False)
    frame[frame.columns[::-1]].to_csv(export, index=False, sep=",", lineterminator="\r\n")
    verdict = verify(export, own_story)
    assert verdict.identical
    assert verdict.notes == ("set.csv was written anew since the export; every value in it is the same",)


def test_lines_in_another_order_or_at_other_times_are_told(own_story: FeatureLog, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    own_story.client.to_csv(own_story.client.history("2026-03-03", features=["ml_qqq_price"]), path)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.iloc[::-1].to_csv(path, index=False)
    assert [str(finding) for finding in verify(path, own_story).findings] == [
        "file rows.csv has values that the log has, too, but not those exported: other lines, or in another order"
    ]
    frame.loc[3, "observed_at"] = "2026-03-03 01:31:00+00:00"
    frame.to_csv(path, index=False)
    subjects = [finding.subject for finding in verify(path, own_story).findings]
    assert "line 3" in subjects


def test_a_feature_that_the_program_has_no_more_is_told(own_story: FeatureLog, export: Path) -> None:
    verdict = verify(export, own_story, Catalogue(own_story.universe, ()))
    assert told(verdict) == [("value", "column ml_risk_on_ratio")]
    assert "this program has no such feature" in verdict.findings[0].detail
    assert "stored rows were not compared" in verdict.notes[0]


# --- what surrounds it ------------------------------------------------------------------------------------------------


def _tripled(inputs: IndicatorInputs) -> Quantity:
    return 3.0 * (inputs.price("QQQ") + inputs.price("HYG")) / (inputs.price("VIX") + inputs.price("TLT"))


def test_a_changed_definition_is_given_as_the_reason(own_story: FeatureLog, export: Path) -> None:
    (indicator,) = own_story.indicators
    other = replace(indicator, formula="3 x (QQQ + HYG) / (VIX + TLT)", compute=_tripled)
    verdict = verify(export, own_story, Catalogue(own_story.universe, (other,)))
    assert ("value", "column ml_risk_on_ratio") in told(verdict)
    assert "the definition of ml_risk_on_ratio has changed" in str(verdict.findings[-1])
    reworded = replace(indicator, formula="risk over safety")
    verdict = verify(export, own_story, Catalogue(own_story.universe, (reworded,)))
    assert verdict.identical
    assert verdict.notes == ("the definition of ml_risk_on_ratio has changed, and the values are the same",)


def test_other_code_is_given_as_the_reason(own_story: FeatureLog, export: Path) -> None:
    receipt = export.with_name("set.csv.receipt.json")
    document = json.loads(receipt.read_text())
    document["code"]["computation"] = "0123456789abcdef"
    receipt.write_text(json.dumps(document))
    verdict = verify(export, own_story)
    assert verdict.identical
    assert "the code that computes is another (" in verdict.notes[0]


def test_another_or_an_older_database_is_told(own_story: FeatureLog, export: Path) -> None:
    run(own_story, "UPDATE knowledge_counter SET stamp = stamp - 86400000000")
    run(own_story, "UPDATE store_info SET value = 'yahoo'")
    details = [str(finding) for finding in verify(export, own_story).findings]
    assert details[0] == "the database holds rows of the source yahoo, the data set is of test"
    assert details[1].startswith("the database knows nothing after 2026-03-04T15:31:20+00:00, the data set was made as")


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_fingerprints_tell_changed_missing_and_added_rows_apart() -> None:
    def series(*rows: tuple[int, int]) -> list[Series]:
        at_us = np.array([at for at, _ in rows], dtype=np.int64) * 1_000_000
        return [Series.of("x", at_us, np.array([value for _, value in rows], dtype=np.int64))]

    then = written_down(series((0, 1), (60, 2), (60, 3), (90_000, 4)))
    assert differences(then, series((0, 1), (60, 2), (60, 3), (90_000, 4))) == []
    changes = differences(then, series((0, 1), (60, 2), (60, 7), (120, 5), (90_000, 9), (90_060, 4)))
    assert [(change.what, change.at_us // 1_000_000) for change in changes] == [
        ("changed", 60),
        ("added", 120),
        ("changed", 90_000),
        ("added", 90_060),
    ]
    assert [change.what for change in differences(then, [])] == ["missing"] * 3
    assert json.loads(json.dumps(then)) == then


def test_every_single_bit_of_a_row_has_a_fingerprint_of_its_own() -> None:
    values = np.array([606.7, -0.25, 0.0]).view(np.int64)
    at_us = np.array([1, 2, 3], dtype=np.int64) * 60_000_000
    then = written_down([Series.of("x", at_us, values)])
    for bit in range(64):
        changed = values.copy()
        changed[1] ^= np.int64(1) << np.int64(bit)
        assert [change.at_us for change in differences(then, [Series.of("x", at_us, changed)])] == [120_000_000]
