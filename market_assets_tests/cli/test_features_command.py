"""`market-assets features`."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.columns import feature_columns

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run


def one_line(text: str) -> str:
    """Return text without the frames and line breaks of an error box."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.usefixtures("stocked")
def test_the_latest_row_has_a_line_per_feature_with_value_unit_age_and_remark(run: Run) -> None:
    done = run("features")
    assert done.status == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.startswith("ml_")}
    assert tuple(lines) == feature_columns()
    assert lines["ml_qqq_price"].split() == [
        "ml_qqq_price",
        "0.333333",
        "USD",
        "1",
        "h",
        "15",
        "min",
        "market",
        "closed",
    ]
    assert lines["ml_spy_price"].split()[-1] == "approximate"
    assert "NULL" in lines[feature_columns()[-3]]
    assert "19 of 20 returns" in lines[feature_columns()[-3]]
    assert "57 of 58 features are known and fresh (42 of 43 core); target 35: met." in done.out
    assert (
        "Observed 2026-03-02 15:00 UTC, 10 min ago; stored 2026-03-02 15:02:00 UTC (live); source: yahoo." in done.out
    )
    assert done.err == ""


@pytest.mark.usefixtures("stocked")
def test_a_target_above_the_count_is_missed(run: Run) -> None:
    assert "target 58: missed" in run("features", ML_FEATURE_COUNT_TARGET="58").out


@pytest.mark.usefixtures("stocked")
def test_only_takes_names_with_and_without_their_prefix(run: Run) -> None:
    done = run("features", "--only", "qqq_price", "--only", "ML_VIX_PRICE")
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("ml_")] == [
        "ml_qqq_price",
        "ml_vix_price",
    ]


@pytest.mark.usefixtures("stocked")
def test_an_unknown_feature_is_refused_with_the_nearest_names(run: Run) -> None:
    done = run("features", "--only", "ml_qq_price")
    assert done.status == 2
    assert done.out == ""
    assert "--only: there is no feature 'ml_qq_price'; did you mean ml_qqq_price" in one_line(done.err)
    assert "market-assets features shows the names" in one_line(run("features", "--only", "wombat").err)


@pytest.mark.usefixtures("stocked")
def test_a_range_in_a_table_has_a_line_per_time_and_says_what_it_leaves_out(run: Run) -> None:
    done = run("features", "--start", "2026-03-02T14:00Z", "--end", "2026-03-02T15:00Z")
    assert [line[:16] for line in done.out.splitlines()[1:]] == ["2026-03-02 14:00", "2026-03-02 14:30"]
    assert "ml_risk_on_ratio" in done.out
    assert "NULL" in done.out
    assert "Not shown: 51 features" in done.err
    long = run("features", "--start", "2026-03-01")
    assert len(long.out.splitlines()) == 1 + 48
    assert "12 earlier observation times and 51 features" in long.err
    chosen = run("features", "--start", "2026-03-02T14:00Z", "--only", "qqq_price")
    assert chosen.err == ""
    assert "ml_qqq_price" in chosen.out


@pytest.mark.usefixtures("stocked")
def test_a_narrow_screen_gets_the_features_that_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market_assets.cli.console.output.width", 60)
    done = run("features", "--start", "2026-03-02T14:00Z")
    assert max(len(line) for line in done.out.splitlines()) <= 60
    assert "Not shown: 57 features" in done.err


@pytest.mark.usefixtures("stocked")
def test_json_and_csv_give_back_every_bit_and_null_where_nothing_is_known(run: Run) -> None:
    record = json.loads(run("features", "-f", "json").out)[0]
    assert record["observed_at"] == "2026-03-02T15:00:00Z"
    assert record["ml_qqq_change_1d"] == 1 / 3 + 1
    assert record[feature_columns()[-3]] is None
    rows = list(csv.DictReader(io.StringIO(run("features", "-f", "csv", "--start", "2026-03-02T14:00Z").out)))
    assert next(row["observed_at"] for row in rows) == "2026-03-02 14:00:00+00:00"
    assert len(rows) == 3
    assert float(rows[0]["ml_qqq_change_1d"]) == 1 / 3 + 1
    assert rows[0][feature_columns()[-3]] == ""


@pytest.mark.usefixtures("stocked")
def test_the_format_follows_the_name_of_the_file(run: Run, tmp_path: Path) -> None:
    for name, read in (("f.csv", pd.read_csv), ("f.parquet", pd.read_parquet), ("f.json", pd.read_json)):
        done = run("features", "--start", "2026-03-02", "-o", name)
        assert (done.status, done.out) == (0, "")
        assert f"31 rows written to {name}" in done.err
        assert len(read(tmp_path / name)) == 31


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--start", "2030-01-01"], "--start: 2030-01-01T00:00Z lies in the future; it is 2026-03-02T15:10Z"),
        (["--start", "2026-03-02", "--end", "2026-03-01"], "--start: 2026-03-02T00:00Z does not lie before --end"),
        (["--end", "2026-03-01"], "--end: it needs --start"),
        (["--as-of", "2027-01-01"], "--as-of: 2027-01-01T00:00Z lies in the future"),
        (["--start", "2026-03-01T10:00"], "'2026-03-01T10:00' has no time zone; write 2026-03-01T10:00Z"),
        (["--start", "monday"], "'monday' is no time; write a day (2026-01-31)"),
        (["-f", "parquet"], "parquet needs a file; add --out features.parquet"),
        (["-o", "features.xls"], "features.xls does not tell the format; end it in .csv, .json or .parquet"),
        (["-o", "features.csv", "-f", "table"], "a table is for the screen"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(run: Run, arguments: list[str], said: str) -> None:
    done = run("features", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in one_line(done.err)
    assert "Usage: market-assets features" in done.err


@pytest.mark.usefixtures("stocked")
def test_a_range_without_rows_says_where_the_rows_are(run: Run) -> None:
    done = run("features", "--start", "2025-01-01", "--end", "2025-01-02")
    assert done.status == 0
    assert "No feature row lies in that range: the latest row is of 2026-03-02T15:00Z" in done.err
    empty = run("features", "--start", "2025-01-01", "--end", "2025-01-02", "-f", "csv")
    assert empty.out.startswith("observed_at,ml_qqq_price")
    assert json.loads(run("features", "--start", "2025-01-01", "--end", "2025-01-02", "-f", "json").out) == []


@pytest.mark.usefixtures("stocked")
def test_before_the_first_knowledge_there_is_no_row(run: Run) -> None:
    done = run("features", "--as-of", "2026-03-02T15:00Z")
    assert done.status == 1
    assert "no feature row was known at 2026-03-02T15:00Z" in done.err


def test_looking_for_a_database_that_is_not_there_does_not_make_one(run: Run, tmp_path: Path) -> None:
    for command in ("features", "status"):
        done = run(command)
        assert (done.status, done.out) == (1, "")
        assert f"there is no database {tmp_path / 'market.db'} yet; collect first: market-assets collect" in done.err
    assert list(tmp_path.iterdir()) == []


def test_simulated_rows_next_door_are_pointed_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "simulated.db").touch()
    done = run("features")
    assert "DATABASE_URL=sqlite:///simulated.db market-assets features" in done.err
    assert done.status == 1


def test_an_empty_database_says_what_to_do(run: Run) -> None:
    assert run("migrate").status == 0
    done = run("features")
    assert done.status == 1
    assert "holds no feature row yet; collect first: market-assets collect" in done.err


@pytest.mark.usefixtures("stocked")
def test_a_file_that_cannot_be_written_is_one_plain_sentence(run: Run) -> None:
    done = run("features", "-o", "nowhere/f.csv")
    assert done.status == 1
    assert done.err == "Failed. cannot write nowhere/f.csv: No such file or directory\n"
