"""`market-assets features -o FILE` and `market-assets verify receipt FILE`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pytest

from market_assets.universe import UNIVERSE
from market_assets_tests.feature_log import SETTLE, FeatureLog, made_up_bars
from market_assets_tests.stocked import LATEST

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run


@pytest.fixture(scope="module")
def collected_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the whole universe in which only QQQ and HYG have bars."""
    path = tmp_path_factory.mktemp("collected") / "market.db"
    log = FeatureLog.open(path, UNIVERSE, made_up_bars(["QQQ", "HYG"], "2026-01-20", "2026-02-26", "2026-03-03"))
    log.tick(LATEST + SETTLE, date(2026, 1, 20), date(2026, 3, 2))
    log.store.close()
    return path


@pytest.fixture
def collected(collected_file: Path, tmp_path: Path) -> Path:
    """A copy, where the commands look for it."""
    path = tmp_path / "market.db"
    path.write_bytes(collected_file.read_bytes())
    return path


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_an_export_has_a_receipt_and_is_identical(run: Run, tmp_path: Path, suffix: str) -> None:
    done = run("features", "--start", "2026-02-27", "-o", f"f.{suffix}")
    assert done.status == 0
    assert f"written to f.{suffix}, a receipt beside it" in done.err
    assert (tmp_path / f"f.{suffix}.receipt.json").exists()
    done = run("verify", "receipt", f"f.{suffix}")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Identical. 175 lines; 175 rows of features and correlations computed again from ")


@pytest.mark.usefixtures("collected")
def test_the_latest_row_alone_has_a_receipt_too(run: Run) -> None:
    assert run("features", "--only", "hyg_price", "--only", "HYG_PRICE", "-o", "f.csv").status == 0
    done = run("verify", "receipt", "f.csv.receipt.json")
    assert done.status == 0
    assert done.out.startswith("Identical. 1 line; 1 row of features")


def test_a_changed_bar_is_named_and_the_status_is_one(run: Run, collected: Path) -> None:
    run("features", "--start", "2026-03-02T14:30Z", "--only", "qqq_price", "-o", "f.csv")
    with closing(sqlite3.connect(collected)) as connection, connection:
        newest = "(SELECT max(bar_start) FROM market_bars WHERE ticker = 'QQQ' AND interval = '15m')"
        connection.execute(
            "UPDATE market_bars SET close = close * 1.5 WHERE ticker = 'QQQ' AND interval = '15m' "  # noqa: S608
            f"AND bar_start = {newest}"
        )
    done = run("verify", "receipt", "f.csv")
    assert done.status == 1
    assert done.out.startswith("Different. ")
    assert "- bar QQQ 15m 2026-03-02T14:45Z is not what it was when the receipt was written (now open=" in done.out
    assert "it changes ml_qqq_price in 1 line, first line 1: exported" in done.out


@pytest.mark.usefixtures("collected")
def test_a_file_without_a_receipt_is_one_plain_sentence(run: Run) -> None:
    done = run("verify", "receipt", "none.csv")
    assert (done.status, done.out) == (1, "")
    assert "there is no receipt none.csv.receipt.json; an export writes it beside the file" in done.err
