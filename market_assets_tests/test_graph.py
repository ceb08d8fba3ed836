"""The asset graph as users see it: keys, groups, look-backs, jobs, schedules, and what loading it costs."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

from market_assets.columns import feature_columns
from market_assets.correlations import CORRELATION_LOOKBACK_DAYS
from market_assets.definitions import build_definitions
from market_assets.features import FEATURE_LOOKBACK_DAYS
from market_assets.indicators import INDICATORS
from market_assets.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

TICKERS_BY_GROUP = {
    "equity_indices": {"QQQ", "SPY", "IWM"},
    "innovation_etfs": {"ARKK", "ARKQ", "ARKG"},
    "bonds": {"HYG", "LQD", "TLT"},
    "commodities": {"GLD", "SLV", "USO"},
    "currencies": {"EURUSD", "GBPUSD", "JPYUSD"},
    "volatility": {"VIX", "DXY"},
    "crypto": {"BTC", "ETH"},
}
FEATURE_TICKERS = set().union(*(names for group, names in TICKERS_BY_GROUP.items() if group != "crypto"))
INPUTS_BY_INDICATOR = {
    "risk_on_ratio": {"QQQ", "HYG", "VIX", "TLT"},
    "innovation_premium": {"ARKK", "QQQ"},
    "tech_leadership": {"QQQ", "SPY"},
    "credit_spreads": {"HYG", "LQD"},
    "flight_to_quality": {"GLD", "TLT"},
    "dollar_strength": {"DXY"},
    "market_breadth": {"SPY", "IWM"},
}
TICKER_KEYS = {f"ticker/{name}" for names in TICKERS_BY_GROUP.values() for name in names}
INDICATOR_KEYS = {f"indicator/{name}" for name in INPUTS_BY_INDICATOR}
JOBS = ("collect", "rebuild_features", "replay", "purge_runs")
SAME_DAY = dg.TimeWindowPartitionMapping()
LATER_KEYS = {"tick", "ml_features", "crypto_correlations", "crypto_ml_features_materialized"}


@cache
def definitions() -> dg.Definitions:
    return build_definitions(settings=Settings.load())


@cache
def graph() -> dg.AssetGraph:
    return definitions().resolve_asset_graph()


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey(text.split("/"))


def parents(text: str) -> set[str]:
    return {"/".join(parent.path) for parent in graph().get(key(text)).parent_keys}


def mapping(child: str, parent: str) -> dg.PartitionMapping:
    found: dg.PartitionMapping = graph().get_partition_mapping(key(child), key(parent))
    return found


def test_the_graph_has_exactly_these_assets() -> None:
    assert {"/".join(one.path) for one in graph().get_all_asset_keys()} == TICKER_KEYS | INDICATOR_KEYS | LATER_KEYS
    assert len(TICKER_KEYS) == 19
    assert len(INDICATOR_KEYS) == 7


def test_tickers_are_grouped_by_category() -> None:
    groups = {f"ticker/{name}": group for group, names in TICKERS_BY_GROUP.items() for name in names}
    groups |= dict.fromkeys(INDICATOR_KEYS, "indicators") | dict.fromkeys(LATER_KEYS, "features")
    assert {"/".join(one.path): graph().get(one).group_name for one in graph().get_all_asset_keys()} == groups


def test_each_asset_depends_on_what_it_reads_and_on_nothing_else() -> None:
    for one in TICKER_KEYS | {"tick"}:
        assert parents(one) == set(), one
    for name, inputs in INPUTS_BY_INDICATOR.items():
        assert parents(f"indicator/{name}") == {f"ticker/{ticker}" for ticker in inputs}
    feature_tickers = {f"ticker/{name}" for name in FEATURE_TICKERS}
    assert parents("ml_features") == {"tick"} | feature_tickers | INDICATOR_KEYS
    assert parents("crypto_correlations") == {"tick"} | TICKER_KEYS
    assert parents("crypto_ml_features_materialized") == {"ml_features", "crypto_correlations"}


def test_look_backs_are_partition_mappings() -> None:
    for indicator in INDICATORS:
        for name in indicator.inputs:
            expected = dg.TimeWindowPartitionMapping(start_offset=-indicator.lookback_days)
            assert mapping(f"indicator/{indicator.name}", f"ticker/{name}") == expected
    for name in FEATURE_TICKERS:
        assert mapping("ml_features", f"ticker/{name}") == dg.TimeWindowPartitionMapping(
            start_offset=-FEATURE_LOOKBACK_DAYS
        )
    for one in TICKER_KEYS:
        assert mapping("crypto_correlations", one) == dg.TimeWindowPartitionMapping(
            start_offset=-CORRELATION_LOOKBACK_DAYS
        )
    for child, parent in [
        ("ml_features", "tick"),
        ("ml_features", "indicator/credit_spreads"),
        ("crypto_ml_features_materialized", "ml_features"),
        ("crypto_ml_features_materialized", "crypto_correlations"),
    ]:
        assert mapping(child, parent) == SAME_DAY


def test_a_partition_is_a_utc_day_and_today_is_one() -> None:
    for one in graph().get_all_asset_keys():
        partitions = graph().get(one).partitions_def
        assert isinstance(partitions, dg.DailyPartitionsDefinition)
        assert partitions.get_first_partition_key() == "2017-01-01"
        assert (partitions.timezone, partitions.end_offset, partitions.hour_offset) == ("UTC", 1, 0)


def test_a_run_of_a_backfill_takes_so_many_days_of_every_asset() -> None:
    for one in graph().get_all_asset_keys():
        assert graph().get(one).backfill_policy == dg.BackfillPolicy.multi_run(60), one
    few = build_definitions(settings=Settings.load(backfill_days_per_run=7)).resolve_asset_graph()
    assert {few.get(one).backfill_policy for one in few.get_all_asset_keys()} == {dg.BackfillPolicy.multi_run(7)}


def test_every_asset_says_what_it_is_and_whose() -> None:
    for one in graph().get_all_asset_keys():
        node = graph().get(one)
        assert node.description, one
        assert node.kinds, one
        assert node.owners == ["team:market-data"], one
    assert (
        graph().get(key("ticker/JPYUSD")).description
        == "Yen in US dollars: 15m, 1h and 1d bars of Yahoo's `JPY=X`, inverted."
    )
    assert "published 15 min late" in (graph().get(key("ticker/VIX")).description or "")
    assert "change_1d(HYG) - change_1d(LQD)" in (graph().get(key("indicator/credit_spreads")).description or "")


def test_every_table_shows_its_columns_and_each_column_its_meaning() -> None:
    for one in graph().get_all_asset_keys() - {key("tick")}:
        schema = graph().get(one).metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert all(column.type and column.description for column in schema.columns), one
        assert "dagster/table_name" in graph().get(one).metadata, one
    shown = graph().get(key("ml_features")).metadata["dagster/column_schema"].columns
    assert [column.name for column in shown][1:59] == list(feature_columns())


def test_every_ticker_has_the_check_that_it_was_fetched() -> None:
    assert {(one.name, "/".join(one.asset_key.path)) for one in graph().asset_check_keys} >= {
        ("bars_were_fetched", one) for one in TICKER_KEYS
    }


def test_the_feature_row_is_judged_by_every_run_and_replayed_by_a_job_of_its_own() -> None:
    steps = {name: {node.name for node in definitions().resolve_job_def(name).nodes} for name in JOBS}
    for name in ("collect", "rebuild_features"):
        assert "ml_features_no_lookahead" in steps[name]
        assert "ml_features_served_equals_replayed" not in steps[name]
    assert steps["replay"] == {"ml_features_served_equals_replayed"}
    checks = {one.name for one in graph().asset_check_keys if one.asset_key == key("ml_features")}
    assert {"no_lookahead", "served_equals_replayed"} <= checks


def test_the_correlations_are_judged_by_every_run_that_computes_them() -> None:
    for name in ("collect", "rebuild_features"):
        steps = {node.name for node in definitions().resolve_job_def(name).nodes}
        assert "crypto_correlations_correlation_within_threshold" in steps


def test_jobs_select_everything_and_everything_derived() -> None:
    jobs = {job.name: job for job in definitions().resolve_all_job_defs() if not job.name.startswith("__")}
    assert set(jobs) == set(JOBS)
    selected = {name: {"/".join(one.path) for one in job.asset_layer.selected_asset_keys} for name, job in jobs.items()}
    assert selected["collect"] == TICKER_KEYS | INDICATOR_KEYS | LATER_KEYS
    assert selected["rebuild_features"] == INDICATOR_KEYS | LATER_KEYS
    assert selected["replay"] == selected["purge_runs"] == set()


def test_steps_run_in_one_process() -> None:
    for name in JOBS:
        assert definitions().resolve_job_def(name).executor_def.name == "in_process"


def test_what_asks_the_source_is_in_one_pool_and_nothing_else_is() -> None:
    pools = {
        name: {pool for node in definitions().resolve_job_def(name).graph.node_defs for pool in node.pools}
        for name in JOBS
    }
    assert pools == {"collect": {"yahoo"}, "rebuild_features": set(), "replay": set(), "purge_runs": set()}


def test_a_run_that_is_lost_is_started_again_as_a_whole() -> None:
    # its steps share their fetches: one that went on from a lost run would find none
    for name in ("collect", "rebuild_features"):
        assert definitions().resolve_job_def(name).tags["dagster/retry_strategy"] == "ALL_STEPS"


def test_schedules_run_by_default_in_utc() -> None:
    schedules = {one.name: one for one in definitions().schedules or () if isinstance(one, dg.ScheduleDefinition)}
    assert {
        name: (one.cron_schedule, one.execution_timezone, one.default_status, one.job_name)
        for name, one in schedules.items()
    } == {
        "collect_tick": ("1,31 * * * *", "UTC", dg.DefaultScheduleStatus.RUNNING, "collect"),
        "settle": ("10 2 * * *", "UTC", dg.DefaultScheduleStatus.RUNNING, "collect"),
        "rebuild_stale_features": ("40 2 * * *", "UTC", dg.DefaultScheduleStatus.RUNNING, "rebuild_features"),
        "replay": ("25 3 * * *", "UTC", dg.DefaultScheduleStatus.RUNNING, "replay"),
        "purge_runs": ("40 4 * * *", "UTC", dg.DefaultScheduleStatus.RUNNING, "purge_runs"),
    }


@pytest.mark.parametrize(
    ("interval", "cron"),
    [
        (15, "2,17,32,47 * * * *"),
        (30, "2,32 * * * *"),
        (60, "2 * * * *"),
        (120, "2 0,2,4,6,8,10,12,14,16,18,20,22 * * *"),
        (360, "2 0,6,12,18 * * *"),
        (720, "2 0,12 * * *"),
        (1440, "2 0 * * *"),
    ],
)
def test_the_schedule_follows_the_interval_plus_the_settle_minute(interval: int, cron: str) -> None:
    settings = Settings.load(collection_interval_minutes=interval, settle_minutes=2)
    schedules = build_definitions(settings=settings).schedules or ()
    tick = next(one for one in schedules if one.name == "collect_tick")
    assert isinstance(tick, dg.ScheduleDefinition)
    assert tick.cron_schedule == cron


@pytest.mark.integration
def test_loading_the_definitions_imports_nothing_that_only_a_fetch_an_api_or_a_plot_needs() -> None:
    program = (
        "import sys\n"
        # pandas imports pyarrow wherever it is installed; nobody else may need it
        "sys.modules['pyarrow'] = None\n"
        "from market_assets.definitions import defs\n"
        "defs().resolve_asset_graph()\n"
        "unwanted = {'yfinance', 'curl_cffi', 'kubernetes', 'fastapi', 'starlette', 'uvicorn', 'matplotlib'}\n"
        "unwanted |= {'apprise'}\n"
        "print(sorted(unwanted & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.integration
def test_dagster_itself_finds_the_workspace_valid(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "market_assets" in done.stdout + done.stderr
