"""The cookbook's Python runs as it is written, on a simulated market."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from market_assets.clock import ManualClock
from market_assets.sources.simulator import SimulatorServer
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cookbook.md"
BEGAN = datetime(2025, 11, 18, 13, 1, tzinfo=UTC)
TICKS = 5


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Four days of a simulated market, the last hours of them live."""
    url = f"sqlite:///{tmp_path_factory.mktemp('cookbook') / 'market.db'}"
    clock = ManualClock(BEGAN)
    with SimulatorServer(clock) as simulator, LiveCollector(simulator.url, clock, url) as collector:
        today = clock.now().date()
        collector.collect(today - timedelta(days=3), today, kind="backfill")
        for _ in range(TICKS):
            clock.advance(timedelta(minutes=30))
            collector.collect()
        yield url


def test_every_block_of_python_runs_in_order(
    market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", market)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102 - the page's own code
    assert len(names["test"]) > 20
    assert names["error"] < 1
    joined = names["joined"]
    assert joined["order_id"].tolist() == [7, 8]
    assert joined.notna().to_numpy().all()
    # what nobody knew at an entity's time is not there
    served = names["data"]
    assert (served["timestamp"] <= pd.Timestamp(BEGAN + TICKS * timedelta(minutes=30))).all()
    assert (tmp_path / "training.parquet.receipt.json").is_file()
    assert "error 0.0" in capsys.readouterr().out
    names["features"].close()


def test_the_receipts_command_says_that_the_file_is_what_it_was(market: str, tmp_path: Path) -> None:
    from market_assets import FeatureStore  # noqa: PLC0415 - as a user's program does

    with FeatureStore(market) as features:
        frame = features.crypto(symbols=["BTC"])[["symbol", "timestamp"]]
        features.to_csv(features.training_set(frame, features=["ml_spy_price"]), tmp_path / "set.csv")
    done = subprocess.run(
        [Path(sys.executable).with_name("market-assets"), "verify", "receipt", "set.csv"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DATABASE_URL": market},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stdout.lower()
