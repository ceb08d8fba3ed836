"""`market-assets verify lookahead`, `verify replay` and `revisions`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.calendars import to_us
from market_assets.universe import UNIVERSE
from market_assets_tests.feature_log import SETTLE, FeatureLog, made_up_bars
from market_assets_tests.stocked import LATEST

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run

HALF_HOUR = timedelta(minutes=30)


@pytest.fixture(scope="module")
def lived_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the whole universe in which only QQQ and HYG have bars, and QQQ's of 14:30 is revised."""
    path = tmp_path_factory.mktemp("lived") / "market.db"
    log = FeatureLog.open(path, UNIVERSE, made_up_bars(["QQQ", "HYG"], "2026-01-20", "2026-02-26", "2026-03-03"))
    log.tick(LATEST - HALF_HOUR + SETTLE, date(2026, 1, 20), date(2026, 3, 2))
    log.tick(LATEST + SETTLE)
    log.revise("QQQ", "15m", "2026-03-02T14:45Z", close=123.0, high=124.0)
    log.tick(LATEST + HALF_HOUR + SETTLE)
    log.store.close()
    return path


@pytest.fixture
def lived(lived_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "market.db"
    path.write_bytes(lived_file.read_bytes())
    return path


def change_the_latest_row(path: Path) -> None:
    statement = "UPDATE ml_features SET ml_hyg_price = 1.0 WHERE observed_at = ?"
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, [to_us(LATEST + HALF_HOUR)]).rowcount == 1


@pytest.mark.usefixtures("lived")
def test_what_was_served_today_is_identical(run: Run) -> None:
    done = run("verify", "replay")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Identical. 32 rows of 2026-03-02 to 2026-03-02 (29 backfill, 3 live): served again ")


@pytest.mark.usefixtures("lived")
def test_every_version_can_be_replayed_and_told_as_json(run: Run) -> None:
    done = run("verify", "replay", "--start", "2026-02-27", "--all-versions", "--json")
    assert done.status == 0
    report = json.loads(done.out)
    assert (report["first_day"], report["last_day"]) == ("2026-02-27", "2026-03-02")
    assert report["proven"]
    assert report["compared"] == report["identical"] > 32


def test_a_row_that_differs_is_named_with_the_bars_behind_it(run: Run, lived: Path) -> None:
    change_the_latest_row(lived)
    done = run("verify", "replay")
    assert done.status == 1
    assert "Different. 31 of 32 rows" in done.out
    assert "- 2026-03-02T15:30Z ml_hyg_price: served 1.0, replayed " in done.out
    assert "What ml_hyg_price at 2026-03-02T15:30Z stands on, as the log has it:" in done.out
    assert "HYG 15m 2026-03-02T15:15Z" in done.out


@pytest.mark.usefixtures("lived")
def test_no_row_to_compare_is_no_proof(run: Run) -> None:
    for proof in ("replay", "lookahead"):
        done = run("verify", proof, "--start", "2025-01-01", "--end", "2025-01-02")
        assert done.status == 1
        assert done.out.startswith("Not proven. There is no row to ")


@pytest.mark.usefixtures("stocked")
def test_rows_of_other_definitions_are_told(run: Run) -> None:
    done = run("verify", "replay")
    assert done.status == 1
    assert "Not compared: 31 rows: of the definitions 1, which this program does not compute." in done.err
    assert done.out.startswith("Not proven.")
    done = run("verify", "lookahead")
    assert done.status == 1
    assert "Not judged: 31 rows: of the definitions 1" in done.err


@pytest.mark.usefixtures("lived")
def test_the_gate_judges_a_sample(run: Run) -> None:
    done = run("verify", "lookahead", "--sample", "3", "--seed", "5")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("No look-ahead. 3 rows served from 2026-03-02 to 2026-03-02: the same to the bit")
    report = json.loads(run("verify", "lookahead", "--sample", "1", "--json").out)
    assert (report["judged"], report["proven"], report["moved"]) == (1, True, [])


def test_the_gate_names_a_row_that_is_not_what_the_log_gives(run: Run, lived: Path) -> None:
    change_the_latest_row(lived)
    done = run("verify", "lookahead", "--start", "2026-03-02")
    assert done.status == 1
    assert "- 2026-03-02T15:30Z not_reproducible ml_hyg_price: 1.0 against " in done.out


@pytest.mark.usefixtures("lived")
def test_revisions_say_what_changed_by_how_much_and_why(run: Run) -> None:
    done = run("revisions")
    assert (done.status, done.err) == (0, "")
    assert "Bars of 2026-03-02 to 2026-03-02: 1 revised, of " in done.out
    assert "QQQ" in done.out
    assert "to 123 (" in done.out
    assert "Feature rows of 2026-03-02 to 2026-03-02: 1 changed after they had first been served, of 32 " in done.out
    assert "QQQ 15m 2026-03-02T14:45Z revised" in done.out


@pytest.mark.usefixtures("lived")
def test_revisions_as_json_hold_every_value(run: Run) -> None:
    report = json.loads(run("revisions", "--start", "2026-03-01", "--json").out)
    [bar] = report["bars"]
    assert (bar["ticker"], bar["kind"], bar["versions"]) == ("QQQ", "revised", 2)
    assert {one["column"]: one["latest"] for one in bar["changes"]} == {"high": 124.0, "close": 123.0}
    [row] = report["features"]
    assert row["observed_at"] == LATEST.isoformat()
    assert datetime.fromisoformat(row["changed_at"]) > datetime.fromisoformat(row["served_at"])
    assert next(one for one in row["changes"] if one["column"] == "ml_qqq_price")["latest"] == 123.0
    assert run("revisions", "--start", "2026-02-20", "--end", "2026-02-21").out.count("none changed or late") == 1


def test_days_the_wrong_way_round_and_no_database_are_plain_sentences(run: Run) -> None:
    done = run("verify", "replay", "--start", "2026-03-02", "--end", "2026-03-01")
    assert done.status == 2
    assert "--start=2026-03-02: lies after --end=2026-03-01; swap them" in done.err
    for command in (["verify", "replay"], ["verify", "lookahead"], ["revisions"]):
        done = run(*command)
        assert done.status == 1
        assert "there is no database" in done.err
