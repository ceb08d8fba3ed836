"""The feature row: its columns, counts and texts."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.calendars import ALLOWED_INTERVALS, observation_grid
from market_assets.columns import core_columns, feature_columns
from market_assets.features import (
    FEATURE_LOOKBACK_DAYS,
    compute_feature_rows,
    compute_indicator,
    definition_hash,
    feature_version,
)
from market_assets.indicators import INDICATORS
from market_assets.row_texts import notes, null_reasons
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import action_frame, at, daily, full_market, instants, log, us

if TYPE_CHECKING:
    from market_assets.indicators import Indicator
    from market_assets.metrics import TickerLog

GRID = observation_grid(us("2024-03-04"), us("2024-03-07"), 30)


@cache
def market() -> dict[str, TickerLog]:
    return full_market("2024-01-22", "2024-01-22", "2024-03-08")


@cache
def frame() -> pd.DataFrame:
    return compute_feature_rows(market(), GRID).to_frame()


def row_of(logs: dict[str, TickerLog], time: str) -> pd.Series:
    return compute_feature_rows(logs, instants(time)).to_frame().iloc[0]


def test_the_frame_has_the_columns_of_its_table() -> None:
    assert list(frame().columns) == [
        "observed_at",
        *feature_columns(),
        "feature_count",
        "core_count",
        "reasons",
        "ages",
        "resolution",
        "basis",
        "feature_version",
    ]
    assert str(frame()["observed_at"].dtype) == "datetime64[us, UTC]"
    assert (frame()[list(feature_columns())].dtypes == np.float64).all()
    assert frame()["feature_count"].dtype == frame()["core_count"].dtype == np.int64


def test_a_healthy_row_counts_every_feature() -> None:
    healthy = row_of(market(), "2024-03-06 18:00")
    assert healthy["feature_count"] == 58
    assert healthy["core_count"] == 43
    assert healthy["reasons"] == "{}"
    assert healthy["basis"] == "{}"


def test_values_carried_while_a_venue_is_closed_count_as_fresh() -> None:
    assert row_of(market(), "2024-03-06 03:00")["core_count"] == 43


def test_a_missing_ticker_takes_its_metrics_and_its_indicators_and_nothing_else() -> None:
    logs = {name: one for name, one in market().items() if name != "HYG"}
    row = row_of(logs, "2024-03-06 18:00")
    assert row["feature_count"] == 58 - 3 - 2
    assert row["core_count"] == 43 - 3 - 2
    assert json.loads(row["reasons"]) == {
        "null": {"HYG": "no_bars", "ml_risk_on_ratio": "HYG no_bars", "ml_credit_spreads": "HYG no_bars"}
    }
    assert null_reasons(row["reasons"], UNIVERSE) == {
        "ml_hyg_price": "no_bars",
        "ml_hyg_change_1d": "no_bars",
        "ml_hyg_volatility": "no_bars",
        "ml_risk_on_ratio": "HYG no_bars",
        "ml_credit_spreads": "HYG no_bars",
    }
    assert "HYG" not in json.loads(row["ages"])


def test_every_null_has_a_reason_and_every_reason_a_null() -> None:
    hour_only = {
        name: log(name, one.bars[one.bars["interval"] != "15m"].iloc[:: 2 if name == "SLV" else 1])
        for name, one in market().items()
    }
    for logs in (market(), hour_only, {"QQQ": log("QQQ", daily("QQQ", {"2024-03-05": 1.0, "2024-03-06": math.nan}))}):
        rows = compute_feature_rows(logs, GRID).to_frame()
        for row in rows.to_dict("records"):
            null = {column for column in feature_columns() if math.isnan(row[column])}
            assert set(null_reasons(row["reasons"], UNIVERSE)) == null


def test_stale_but_standing_values_do_not_count() -> None:
    logs = dict(market())
    bars = logs["QQQ"].bars
    logs["QQQ"] = log("QQQ", bars[bars["bar_end"] <= pd.Timestamp("2024-03-06 17:00", tz="UTC")])
    row = row_of(logs, "2024-03-06 18:00")
    assert not math.isnan(row["ml_qqq_price"])
    # price and change of QQQ, and the three indicators that read its price; its volatility stands on closes
    assert row["feature_count"] == 58 - 5
    assert notes(row["reasons"]) == {"QQQ": ["stale_warn"]}
    assert json.loads(row["ages"])["QQQ"] == [60, 45, "open"]


def test_ages_and_resolution_are_told_per_ticker() -> None:
    row = row_of(market(), "2024-03-06 21:30")
    ages, resolution = json.loads(row["ages"]), json.loads(row["resolution"])
    assert ages["QQQ"] == [30, 0, "closed"]
    assert ages["EURUSD"] == [0, 0, "open"]
    assert ages["VIX"] == [15, 0, "closed"]
    assert ages["DXY"] == [30, 0, "open"]
    assert resolution["QQQ"] == "1d"
    assert resolution["EURUSD"] == "15m"
    assert list(ages) == list(resolution) == [ticker.name for ticker in UNIVERSE.features]


def test_parts_of_minutes_survive_in_the_ages() -> None:
    logs = {"QQQ": log("QQQ", at("15m", "QQQ", {"2024-03-06 15:15": 10.0}))}
    assert json.loads(row_of(logs, "2024-03-06 15:30:30")["ages"]) == {"QQQ": [0.5, 0, "open"]}


def test_the_basis_names_the_last_split_in_force() -> None:
    actions = action_frame("USO", [("split", "2020-04-29", 0.125), ("split", "2024-03-06", 2.0)])
    logs = {"USO": log("USO", market()["USO"].bars, actions=actions), "QQQ": market()["QQQ"]}
    before, after = row_of(logs, "2024-03-06 04:30"), row_of(logs, "2024-03-06 05:00")  # New York is UTC-5
    assert json.loads(before["basis"]) == {"USO": "2020-04-29"}
    assert json.loads(after["basis"]) == {"USO": "2024-03-06"}


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_an_indicator_alone_has_the_bits_of_the_feature_row(indicator: Indicator) -> None:
    logs = {name: market()[name] for name in indicator.inputs}
    alone = compute_indicator(indicator, logs, GRID)
    assert list(alone.columns) == ["indicator", "observed_at", "value", "reason"]
    assert alone["indicator"].unique().tolist() == [indicator.name]
    assert alone["value"].to_numpy().tobytes() == frame()[indicator.column].to_numpy().tobytes()
    reasons = [null_reasons(text, UNIVERSE).get(indicator.column) for text in frame()["reasons"]]
    assert alone["reason"].tolist() == reasons


def test_no_logs_at_all_still_make_rows() -> None:
    rows = compute_feature_rows({}, GRID[:2]).to_frame()
    assert rows["feature_count"].tolist() == [0, 0]
    assert set(null_reasons(rows["reasons"][0], UNIVERSE)) == set(feature_columns())
    assert rows["ages"].tolist() == rows["resolution"].tolist() == rows["basis"].tolist() == ["{}", "{}"]


def test_no_observation_times_make_no_rows() -> None:
    assert compute_feature_rows(market(), GRID[:0]).to_frame().shape == (0, 66)


def test_the_limits_of_staleness_follow_the_interval() -> None:
    logs = {"QQQ": log("QQQ", at("15m", "QQQ", {"2024-03-06 15:00": 10.0}))}
    times = instants("2024-03-06 18:00")
    half_hour = compute_feature_rows(logs, times, interval_minutes=30)
    hour = compute_feature_rows(logs, times, interval_minutes=60)
    assert half_hour.quantities["ml_qqq_price"].reasons.tolist() == ["stale"]
    assert hour.quantities["ml_qqq_price"].value.tolist() == [10.0]


def test_the_version_changes_with_the_definition_of_any_column() -> None:
    hashes = {column: definition_hash(column) for column in feature_columns()}
    assert len(set(hashes.values())) == 58
    assert frame()["feature_version"].unique().tolist() == [feature_version()]
    assert feature_version(indicators=INDICATORS[:6]) != feature_version()


def test_the_version_tells_the_collection_interval_that_a_row_was_made_with() -> None:
    versions = {minutes: feature_version(interval_minutes=minutes) for minutes in ALLOWED_INTERVALS}
    assert len(set(versions.values())) == len(ALLOWED_INTERVALS)
    rows = compute_feature_rows(market(), GRID[:1], interval_minutes=60).to_frame()
    assert rows["feature_version"].tolist() == [versions[60]]


def test_an_unknown_column_has_no_definition() -> None:
    with pytest.raises(KeyError, match="unknown feature column 'ml_beta'"):
        definition_hash("ml_beta")


def test_the_look_back_covers_every_indicator() -> None:
    assert max(indicator.lookback_days for indicator in INDICATORS) <= FEATURE_LOOKBACK_DAYS == 45
    assert set(core_columns()) <= set(frame().columns)
