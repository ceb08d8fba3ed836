"""The pure judgement of measured against documented correlations."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from market_assets.analysis.bootstrap import Interval
from market_assets.analysis.definitions import Definition
from market_assets.analysis.measures import WindowCorrelation
from market_assets.analysis.survey import PairAnalysis, Survey
from market_assets.analysis.verdict import compare
from market_assets.checks.correlation import evaluate_correlation
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: what the market is said to do
AS_SAID = {"QQQ": 0.72, "ARKK": 0.78, "HYG": 0.66, "TLT": -0.40, "VIX": -0.60, "DXY": -0.50}
LAST = date(2026, 3, 2)


def window(sessions: int, correlation: float | None) -> WindowCorrelation:
    """Return a window whose interval reaches .1 to both sides over 90 sessions, .4 over 20."""
    reach = 0.1 if sessions == 90 else 0.4
    missing = f"0 of {sessions} pairs, {sessions * 9 // 10} are needed"
    return WindowCorrelation(
        window=sessions,
        first=LAST,
        last=LAST,
        pairs=0 if correlation is None else sessions,
        approximate_pairs=0,
        correlation=correlation,
        reason=missing if correlation is None else None,
        interval=None if correlation is None else Interval(correlation - reach, correlation + reach, 4),
        interval_reason=missing if correlation is None else None,
        rank=correlation,
        lead_lag=(),
    )


def judge(measured: Mapping[str, float | None]) -> dg.AssetCheckResult:
    pairs = []
    for name, correlation in measured.items():
        windows = (window(20, correlation), window(90, correlation))
        documented = UNIVERSE[name].documented_crypto_correlation
        pairs.append(PairAnalysis("BTC", UNIVERSE[name], windows, tuple(compare(documented, one) for one in windows)))
    return evaluate_correlation(Survey(Definition(), (20, 90), LAST, tuple(pairs)), 0.65)


def plain(result: dg.AssetCheckResult) -> dict[str, object]:
    return {name: value.value for name, value in result.metadata.items()}


def test_it_passes_when_every_documented_value_lies_in_its_interval() -> None:
    result = judge(AS_SAID)
    assert (result.passed, result.severity) == (True, dg.AssetCheckSeverity.WARN)
    assert result.description == "6 of 6 documented values hold over 90 sessions"
    metadata = plain(result)
    assert (metadata["observed"], metadata["threshold"], metadata["worst_offenders"]) == (6, 6, "none")
    assert metadata["documented_as_high"] == "QQQ, ARKK, HYG, VIX"
    assert metadata["measured_as_high"] == "QQQ, ARKK, HYG"
    assert metadata["last_session"] == "2026-03-02"


def test_values_outside_of_the_interval_are_one_warning_that_counts_and_names_the_furthest_first() -> None:
    result = judge(AS_SAID | {"ARKK": 0.38, "QQQ": 0.31, "TLT": 0.02})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == (
        "3 of 6 documented values hold over 90 sessions; furthest off TLT +0.02 (-0.08 to +0.12), documented -0.45, "
        "opposite sign"
    )
    metadata = plain(result)
    assert metadata["observed"] == 3
    assert metadata["worst_offenders"] == (
        "TLT +0.02 (-0.08 to +0.12), documented -0.45, opposite sign; "
        "QQQ +0.31 (+0.21 to +0.41), documented +0.75; ARKK +0.38 (+0.28 to +0.48), documented +0.80"
    )
    assert metadata["measured_as_high"] == "HYG"


def test_the_twenty_session_window_is_shown_but_decides_nothing() -> None:
    """Its interval is so wide that it contradicts little."""
    result = judge({"QQQ": 0.40})
    assert not result.passed
    table = str(plain(result)["correlations"])
    assert table.splitlines()[2] == (
        "| QQQ | +0.75 | +0.40 | +0.00 to +0.80 | +0.40 | +0.30 to +0.50 | outside of the interval: measured weaker |"
    )


def test_what_could_not_be_measured_is_named_and_not_judged() -> None:
    result = judge(AS_SAID | {"DXY": None})
    assert result.passed
    assert result.description == "5 of 5 documented values hold over 90 sessions"
    assert plain(result)["not_measured"] == "DXY: 0 of 90 pairs, 81 are needed"


def test_nothing_measured_proves_nothing() -> None:
    result = judge(dict.fromkeys(AS_SAID))
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "no documented value could be measured over 90 sessions"


def test_a_universe_of_which_nothing_is_said_has_nothing_to_warn_of() -> None:
    for measured in ({}, {"GLD": 0.1}):
        result = judge(measured)
        assert result.passed
        assert result.description == "no ticker has a documented correlation with BTC"


def test_a_ticker_without_a_documented_value_is_not_judged() -> None:
    result = judge({"QQQ": 0.72, "GLD": -0.9})
    assert result.description == "1 of 1 documented values hold over 90 sessions"
    assert "GLD" not in str(plain(result))
