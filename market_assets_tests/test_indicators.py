"""The indicators: their definitions, their registry, and that a missing input is a gap."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from market_assets.calendars import observation_grid
from market_assets.features import FeatureRows, compute_feature_rows, compute_indicator
from market_assets.indicators import INDICATORS, IndicatorInputs, indicator_named
from market_assets.indicators.registry import discover
from market_assets.maths.quantity import Quantity
from market_assets.metrics import lookback_days
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import at, daily, full_market, instants, log, us, walk

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.metrics import TickerLog

CLOSE = "2024-03-06 21:30"  # after every venue but the currencies has closed, feed lags included, DXY excepted


def days(ticker: str, before: float, last: float) -> TickerLog:
    return log(ticker, daily(ticker, {"2024-03-05": before, "2024-03-06": last}))


def market() -> dict[str, TickerLog]:
    closes = {
        "QQQ": (435.0, 439.5), "SPY": (507.2, 510.6), "IWM": (203.1, 204.6), "ARKK": (47.5, 48.1), "HYG": (77.0, 77.2),
        "LQD": (108.2, 108.6), "TLT": (94.5, 95.0), "VIX": (14.46, 14.5), "GLD": (197.0, 199.0),
    }  # fmt: skip
    return {ticker: days(ticker, *pair) for ticker, pair in closes.items()}


def value(column: str, logs: dict[str, TickerLog], time: str = CLOSE) -> float:
    return float(compute_feature_rows(logs, instants(time)).quantities[column].value[0])


def reason(column: str, logs: dict[str, TickerLog], time: str = CLOSE) -> object:
    return compute_feature_rows(logs, instants(time)).quantities[column].reasons[0]


# --- definitions ------------------------------------------------------------------------------------------------------


def test_the_ratios_are_the_documented_ones() -> None:
    logs = market()
    assert value("ml_risk_on_ratio", logs) == (439.5 + 77.2) / (14.5 + 95.0)
    assert value("ml_innovation_premium", logs) == 48.1 / 439.5
    assert value("ml_tech_leadership", logs) == 439.5 / 510.6
    assert value("ml_market_breadth", logs) == 510.6 / 204.6


def test_credit_spreads_are_the_difference_of_the_days_changes_in_percentage_points() -> None:
    expected = 100.0 * (77.2 / 77.0 - 1.0) - 100.0 * (108.6 / 108.2 - 1.0)
    assert value("ml_credit_spreads", market()) == expected
    assert expected < 0.0  # high yield lost against investment grade: spreads widened


def test_flight_to_quality_is_the_correlation_of_20_common_completed_sessions() -> None:
    grid = observation_grid(us("2024-02-05"), us("2024-03-07"), 30)
    market_logs = full_market("2023-12-20", "2024-03-01", "2024-03-07")
    rows = compute_feature_rows({name: market_logs[name] for name in ("GLD", "TLT")}, grid)
    gold, bonds = (rows.tickers[name].series.closes for name in ("GLD", "TLT"))
    for row in (100, 700, len(grid) - 1):
        last = int(gold.completed(grid[row : row + 1])[0])
        window = slice(last - 19, last + 1)
        expected = float(np.corrcoef(gold.log_return[window], bonds.log_return[window])[0, 1])
        assert rows.quantities["ml_flight_to_quality"].value[row] == pytest.approx(expected, abs=1e-12)


def test_a_pair_of_returns_counts_only_once_all_four_closes_are_known() -> None:
    """Two currencies with daily rows alone: the last two closes come later."""
    logs = {name: log(name, walk(name, "1d", "2024-01-10", "2024-03-07")) for name in ("EURUSD", "GBPUSD")}
    rows = compute_feature_rows(logs, instants("2024-03-06 12:00", "2024-03-06 23:00", "2024-03-07 00:00"))
    inputs = IndicatorInputs(("EURUSD", "GBPUSD"), rows.tickers, 3)
    pairs = inputs.of_returns("EURUSD", "GBPUSD", 20, lambda x, y: float(len(x) + len(y)), undefined="never")
    assert pairs.value.tolist() == [38.0, 36.0, 38.0]
    assert not pairs.fresh.any()


def test_flight_to_quality_of_a_flat_market_is_undefined() -> None:
    labels = [f"2024-02-{day:02d}" for day in range(1, 30) if np.is_busday(f"2024-02-{day:02d}") and day != 19]
    flat = log("GLD", daily("GLD", dict.fromkeys([*labels, "2024-03-01"], 190.0)))
    moving = log("TLT", daily("TLT", {label: 90.0 + i % 4 for i, label in enumerate([*labels, "2024-03-01"])}))
    assert reason("ml_flight_to_quality", {"GLD": flat, "TLT": moving}, "2024-03-02 12:00") == "zero_variance"
    few = log("TLT", daily("TLT", {label: 90.0 + i % 4 for i, label in enumerate(labels)}).iloc[5:])
    assert reason("ml_flight_to_quality", {"GLD": flat, "TLT": few}, "2024-03-02 12:00") == "14_of_20_returns"


def test_dollar_strength_counts_sessions_and_not_days() -> None:
    closes = full_market("2024-01-20", "2024-03-06", "2024-03-07")["DXY"]
    rows = compute_feature_rows({"DXY": closes}, instants("2024-03-06 12:00"))
    metrics, table = rows.tickers["DXY"], rows.tickers["DXY"].series.table
    today = int(np.searchsorted(table.label, np.datetime64("2024-03-06")))
    before = metrics.series.closes.close[today - 20]
    expected = 100.0 * math.log(metrics.price.value[0] / before)
    assert rows.quantities["ml_dollar_strength"].value[0] == expected


def test_dollar_strength_without_that_very_session_is_a_gap() -> None:
    dxy = full_market("2024-01-20", "2024-03-06", "2024-03-07")["DXY"]
    whole = compute_feature_rows({"DXY": dxy}, instants("2024-03-06 12:00"))
    table = whole.tickers["DXY"].series.table
    hole = table.open_us[int(np.searchsorted(table.label, np.datetime64("2024-03-06"))) - 20]
    gone = replace(dxy, bars=dxy.bars[dxy.bars["bar_start"].astype("int64") != hole])
    assert len(gone.bars) == len(dxy.bars) - 1
    assert reason("ml_dollar_strength", {"DXY": gone}, "2024-03-06 12:00") == "DXY no_close_20_sessions_before"


# --- what is missing stays missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_without_any_one_input_the_indicator_is_a_gap_that_names_it(indicator: object) -> None:
    chosen = indicator_named(getattr(indicator, "name", ""))
    logs = full_market("2024-01-20", "2024-03-01", "2024-03-07")
    times = instants("2024-03-06 18:00")
    assert compute_indicator(chosen, logs, times)["reason"].tolist() == [None]
    for missing in chosen.inputs:
        frame = compute_indicator(chosen, {name: one for name, one in logs.items() if name != missing}, times)
        assert frame["value"].isna().all()
        assert frame["reason"].tolist() == [f"{missing} no_bars"]


def test_a_missing_ticker_is_never_zero_nor_makes_a_one_legged_spread() -> None:
    logs = market()
    del logs["LQD"], logs["VIX"]
    assert math.isnan(value("ml_credit_spreads", logs))
    assert math.isnan(value("ml_risk_on_ratio", logs))
    assert reason("ml_credit_spreads", logs) == "LQD no_bars"


def test_a_spread_never_joins_todays_change_with_yesterdays() -> None:
    """In the first minutes of a session a thin ticker may have no bar yet while the other one has."""
    logs = market()
    logs["HYG"] = log("HYG", logs["HYG"].bars, at("15m", "HYG", {"2024-03-07 14:30": 77.5, "2024-03-07 14:45": 77.6}))
    assert reason("ml_credit_spreads", logs, "2024-03-07 15:00") == "HYG and LQD stand on different sessions"
    logs["LQD"] = log("LQD", logs["LQD"].bars, at("15m", "LQD", {"2024-03-07 14:30": 108.0}))
    expected = 100.0 * (77.6 / 77.2 - 1.0) - 100.0 * (108.0 / 108.6 - 1.0)
    assert value("ml_credit_spreads", logs, "2024-03-07 15:00") == expected


def _rows() -> FeatureRows:
    logs = full_market("2024-01-20", "2024-03-01", "2024-03-07")
    return compute_feature_rows(logs, observation_grid(us("2024-03-04"), us("2024-03-07"), 30))


def test_identities_hold_at_every_observation_time() -> None:
    quantities = _rows().quantities
    value_of = {name: quantity.value for name, quantity in quantities.items()}
    assert value_of["ml_innovation_premium"] * value_of["ml_tech_leadership"] == pytest.approx(
        value_of["ml_arkk_price"] / value_of["ml_spy_price"], rel=1e-14
    )
    assert value_of["ml_tech_leadership"] * value_of["ml_market_breadth"] == pytest.approx(
        value_of["ml_qqq_price"] / value_of["ml_iwm_price"], rel=1e-14
    )
    assert not np.isnan(value_of["ml_innovation_premium"]).any()


# --- the registry -----------------------------------------------------------------------------------------------------


def test_the_seven_documented_indicators_are_found_in_their_order() -> None:
    assert [indicator.name for indicator in INDICATORS] == [
        "risk_on_ratio",
        "innovation_premium",
        "tech_leadership",
        "credit_spreads",
        "flight_to_quality",
        "dollar_strength",
        "market_breadth",
    ]


def test_every_indicator_is_described_and_reads_known_tickers() -> None:
    for indicator in INDICATORS:
        assert indicator.column == f"ml_{indicator.name}"
        assert all((indicator.title, indicator.formula, indicator.unit, indicator.caveat))
        assert all(name in UNIVERSE for name in indicator.inputs)
        assert indicator.plausible[0] < indicator.plausible[1]
        assert indicator.lookback_days == lookback_days(indicator.lookback_sessions)


def test_an_unknown_indicator_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="unknown indicator 'beta'; known: risk_on_ratio"):
        indicator_named("beta")


def test_an_indicator_reads_only_what_it_declares() -> None:
    inputs = IndicatorInputs(("QQQ",), {}, 1)
    with pytest.raises(KeyError, match="'SPY' is not among the indicator's inputs"):
        inputs.price("SPY")


EIGHTH = """
from market_assets.indicators.base import Indicator

def compute(inputs):
    return inputs.price("GLD") / inputs.price("SLV")

INDICATOR = Indicator(
    name="{name}", order={order}, column="ml_{name}", title="Gold / silver", formula="GLD / SLV", unit="ratio",
    inputs=("GLD", "SLV"), lookback_sessions=1, plausible=(2.0, 20.0), caveat="", compute=compute,
)
"""


def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, **files: str) -> tuple[str, list[str]]:
    package = tmp_path / name
    package.mkdir()
    for module, text in {"__init__": "", **files}.items():
        (package / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name, [str(package)]


def test_an_eighth_indicator_is_one_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"gold_silver": EIGHTH.format(name="gold_silver", order=8), "another": EIGHTH.format(name="b", order=2)}
    found = discover(*_package(tmp_path, monkeypatch, "made_up_indicators", **files))
    assert [indicator.name for indicator in found] == ["b", "gold_silver"]
    logs = {"GLD": days("GLD", 197.0, 199.0), "SLV": days("SLV", 21.7, 22.1)}
    rows = compute_feature_rows(logs, instants(CLOSE), indicators=(*INDICATORS, found[1]))
    frame = rows.to_frame()
    assert frame["ml_gold_silver"].tolist() == [199.0 / 22.1]
    assert list(frame.columns).index("ml_gold_silver") == 59
    assert isinstance(rows.quantities["ml_gold_silver"], Quantity)


def test_two_indicators_may_not_share_a_column_or_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"one": EIGHTH.format(name="x", order=8), "two": EIGHTH.format(name="y", order=8)}
    with pytest.raises(ValueError, match="share order=8"):
        discover(*_package(tmp_path, monkeypatch, "clashing_indicators", **files))


def test_a_module_without_an_indicator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"empty_indicators.notes defines no INDICATOR"):
        discover(*_package(tmp_path, monkeypatch, "empty_indicators", notes="X = 1"))
