"""The universe and the indicators are data: one more of either brings everything with it and loses nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.indicators import INDICATORS, Indicator
from market_assets.indicators.registry import discover
from market_assets.store.tables import CRYPTO_ML_FEATURES, ML_FEATURES
from market_assets.universe import UNIVERSE, Category, Ticker, Universe
from market_assets_tests.databases import POSTGRESQL, SQLITE, empty_database
from market_assets_tests.fakes import Collector, indicators_of, small_universe, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SECOND_TICK = FIRST_TICK + timedelta(minutes=30)
HALF_PAST = SECOND_TICK.replace(minute=30)
XLE = Ticker("XLE", "XLE", Category.COMMODITIES, "XNYS", "USD", "Energy sector ETF")
XLE_COLUMNS = ["ml_xle_price", "ml_xle_change_1d", "ml_xle_volatility"]


def eighth_indicator() -> str:
    """Return the text of a small file: an indicator that divides XLE by QQQ."""
    text = (ROOT / "market_assets" / "indicators" / "tech_leadership.py").read_text()
    for old, new in [
        ("tech_leadership", "energy_leadership"),
        ("Tech leadership", "Energy leadership"),
        ("order=3", "order=8"),
        ('"QQQ", "SPY"', '"XLE", "QQQ"'),
        ("QQQ / SPY", "XLE / QQQ"),
        ('inputs.price("QQQ") / inputs.price("SPY")', 'inputs.price("XLE") / inputs.price("QQQ")'),
    ]:
        assert old in text, old
        text = text.replace(old, new)
    return text


IN_THE_CHANGED_COPY = """
import json, runpy, sys
from datetime import datetime
from types import SimpleNamespace
import market_assets
from market_assets.clock import ManualClock
from market_assets.columns import core_columns, feature_columns
from market_assets.universe import UNIVERSE
from market_assets_tests.fakes import Collector

url, database, at = sys.argv[1:]
clock = ManualClock(datetime.fromisoformat(at))
with Collector(SimpleNamespace(url=url, requests=[]), clock, database, universe=UNIVERSE) as collector:
    tick = collector.collect()
    graph = collector.definitions.resolve_asset_graph()
    nodes = {"/".join(key.path): graph.get(key) for key in graph.get_all_asset_keys()}
    print(json.dumps({
        "package": market_assets.__file__,
        "status": tick.status,
        "materialized": sorted(tick.materialized),
        "checked": sorted(tick.checks),
        "parents": sorted("/".join(key.path) for key in nodes["indicator/energy_leadership"].parent_keys),
        "group": nodes["ticker/XLE"].group_name,
        "ml_features_parents": sorted("/".join(key.path) for key in nodes["ml_features"].parent_keys),
        "shown_columns": [one.name for one in nodes["ml_features"].metadata["dagster/column_schema"].columns],
        "columns": feature_columns(), "core": len(core_columns()),
        "page": runpy.run_path("scripts/write_features_page.py")["page"](),
    }))
"""


def test_one_line_in_the_universe_and_one_small_file_bring_everything_else(workshop: Workshop, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "market_assets", copy / "market_assets", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    (copy / "docs").mkdir()
    universe = copy / "market_assets" / "universe.py"
    anchor = '        _etf("USO",'
    line = '        _etf("XLE", Category.COMMODITIES, "Energy sector ETF"),\n'
    text = universe.read_text()
    assert text.count(anchor) == 1
    universe.write_text(text.replace(anchor, line + anchor))
    (copy / "market_assets" / "indicators" / "energy_leadership.py").write_text(eighth_indicator())
    workshop.simulator.market.add_symbol("XLE", price=90.0)
    before = workshop.bootstrapped(UNIVERSE)
    rows = before.rows()

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            IN_THE_CHANGED_COPY,
            workshop.simulator.url,
            before.store.database.url.render_as_string(hide_password=False),
            SECOND_TICK.isoformat(),
        ],
        cwd=copy,
        env={"PYTHONPATH": f"{copy}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["package"].startswith(str(copy))
    assert said["status"] == "ok"
    assert {"ticker/XLE", "indicator/energy_leadership"} <= set(said["materialized"])
    assert "XLE" in said["checked"]
    assert said["group"] == "commodities"
    assert said["parents"] == ["ticker/QQQ", "ticker/XLE"]
    assert {"ticker/XLE", "indicator/energy_leadership"} <= set(said["ml_features_parents"])
    assert len(said["columns"]) == 58 + 3 + 1
    assert said["core"] == 43 + 3 + 1
    assert set(said["columns"]) - set(before.columns) == {*XLE_COLUMNS, "ml_energy_leadership"}
    assert [name for name in said["shown_columns"] if name in said["columns"]] == list(said["columns"])
    assert "XLE" in said["page"]
    assert "`ml_energy_leadership`" in said["page"]
    # the old program, which knows nothing of them, still reads its rows
    old = before.rows()
    assert old.loc[rows.index, list(before.columns)].equals(rows[list(before.columns)])
    assert HALF_PAST in old.index


def changed(indicator: Indicator) -> tuple[Universe, tuple[Indicator, ...]]:
    universe = Universe((*small_universe(), XLE))
    return universe, (*indicators_of(universe), indicator)


@pytest.mark.parametrize("kind", [SQLITE, POSTGRESQL])
def test_old_rows_are_intact_after_a_ticker_and_an_indicator_have_been_added(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "more_indicators").mkdir()
    (tmp_path / "more_indicators" / "energy_leadership.py").write_text(eighth_indicator())
    monkeypatch.syspath_prepend(tmp_path)
    [indicator] = discover("more_indicators", [str(tmp_path / "more_indicators")])
    assert indicator.name not in {one.name for one in INDICATORS}
    universe, indicators = changed(indicator)
    workshop.simulator.market.add_symbol("XLE", price=90.0)
    with empty_database(kind, tmp_path) as url:
        before = workshop.new(url)
        assert before.collect().status == "ok"
        served = before.rows()
        crypto = before.store.read(CRYPTO_ML_FEATURES)
        before.close()

        with Collector(workshop.simulator, workshop.clock, url, universe=universe, indicators=indicators) as after:
            rows = after.rows()
            assert len(after.columns) == len(before.columns) + 4
            assert rows[list(before.columns)].equals(served[list(before.columns)])
            assert rows[[*XLE_COLUMNS, "ml_energy_leadership"]].isna().all(axis=None)
            assert after.store.read(CRYPTO_ML_FEATURES)[crypto.columns.tolist()].equals(crypto)

            tick = after.at(SECOND_TICK).collect()

            assert tick.status == "ok", tick.failed_steps
            row: Any = after.row(HALF_PAST)
            assert row["ml_xle_price"] == true_price(workshop.simulator, "XLE", HALF_PAST)
            assert row["ml_energy_leadership"] == row["ml_xle_price"] / row["ml_qqq_price"]
            assert row["ml_xle_volatility"] > 0
            joined = after.store.read(CRYPTO_ML_FEATURES, start=HALF_PAST)
            assert joined["ml_energy_leadership"].tolist() == [row["ml_energy_leadership"]]
            # what was served without the new columns stays readable as it was
            then = after.store.read(ML_FEATURES, as_of=served["known_from"].max()).set_index("observed_at")
            assert then[list(before.columns)].equals(served[list(before.columns)])
            # and the program of before may still run on the migrated database
            before_again = workshop.new(url)
            assert before_again.at(SECOND_TICK + timedelta(minutes=30)).collect().status == "ok"
            before_again.close()
