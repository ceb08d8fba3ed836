"""`values_are_plausible`: numbers, or NULL with a reason; and within the range kept beside the indicator."""

from __future__ import annotations

import pandas as pd
import pytest

from market_assets.checks.plausible import evaluate_indicator
from market_assets.checks.verdict import Severity
from market_assets.indicators import INDICATORS, Indicator
from market_assets.indicators.registry import indicator_named

RISK_ON = indicator_named("risk_on_ratio")


def rows(*values: tuple[float, str | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "observed_at": pd.date_range("2024-11-26T15:00", periods=len(values), freq="30min", tz="UTC"),
            "value": [value for value, _ in values],
            "reason": pd.Series([reason for _, reason in values], dtype=object),
        }
    )


NAN = float("nan")


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda one: one.name)
def test_the_ends_of_its_range_are_plausible_and_a_hundredth_beyond_is_a_warning(indicator: Indicator) -> None:
    low, high = indicator.plausible
    assert evaluate_indicator(indicator, rows((low, None), (high, None))).passed
    for beyond in (low - 0.01, high + 0.01):
        verdict = evaluate_indicator(indicator, rows(((low + high) / 2, None), (beyond, None)))
        assert (verdict.passed, verdict.severity) == (False, Severity.WARN)
        assert verdict.metadata["observed"] == 1
        assert str(verdict.metadata["worst_offenders"]) == f"2024-11-26T15:30Z: {beyond:.6g}"


def test_the_furthest_value_is_named_first() -> None:
    verdict = evaluate_indicator(RISK_ON, rows((12.0, None), (5.0, None), (400.0, None), (0.1, None)))
    assert "3 of 4 values lie outside of 0.62 to 11. Furthest: 2024-11-26T16:00Z: 400" in verdict.description


def test_a_null_with_a_reason_is_told_and_passes() -> None:
    verdict = evaluate_indicator(RISK_ON, rows((5.0, None), (NAN, "VIX stale"), (NAN, "VIX stale")))
    assert verdict.passed
    assert verdict.metadata["null/VIX stale"] == 2
    assert verdict.metadata["latest_value"] == 5.0
    assert evaluate_indicator(RISK_ON, rows((NAN, "QQQ no_bars"))).passed


@pytest.mark.parametrize(
    ("value", "told"), [(NAN, "NULL without a reason"), (float("inf"), "inf"), (-float("inf"), "-inf")]
)
def test_what_is_no_number_and_does_not_say_why_is_an_error(value: float, told: str) -> None:
    verdict = evaluate_indicator(RISK_ON, rows((5.0, None), (value, None), (50.0, None)))
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert verdict.metadata["observed"] == 2
    assert f"First: 2024-11-26T15:30Z: {told}" in verdict.description


def test_a_day_without_an_observation_time_is_not_judged() -> None:
    verdict = evaluate_indicator(RISK_ON, rows())
    assert verdict.passed
    assert not verdict.judged
