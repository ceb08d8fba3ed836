"""The checks of the feature row: enough that is known and fresh, and features that agree with each other."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from market_assets.checks.counted import evaluate_feature_count
from market_assets.checks.identities import DailyPrice, evaluate_identities
from market_assets.checks.verdict import Markdown, Severity, Verdict
from market_assets.columns import feature_columns
from market_assets.features import compute_feature_rows
from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE, Universe
from market_assets_tests.checks.evidence_frames import utc
from market_assets_tests.fakes import indicators_of, small_universe
from market_assets_tests.market_frames import full_market, instants, log, walk

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.metrics import TickerLog

#: real prices of one moment: levels at which the index agrees with its weights
LEVELS = {"EURUSD": 1.0495, "GBPUSD": 1.2580, "JPYUSD": 1 / 153.0, "DXY": 107.0}
AT = ("2024-03-06T15:00", "2024-03-06T15:30")


@cache
def logs() -> dict[str, TickerLog]:
    market = full_market("2024-01-15", "2024-02-20", "2024-03-08")
    for name, level in LEVELS.items():
        market[name] = log(
            name,
            walk(name, "1d", "2024-01-15", "2024-03-08", level=level, scale=0.0005),
            walk(name, "15m", "2024-02-20", "2024-03-08", level=level, scale=0.00002),
        )
    return market


@cache
def computed(without: tuple[str, ...], at: tuple[str, ...], universe: Universe) -> pd.DataFrame:
    known = {name: one for name, one in logs().items() if name not in without and name in universe}
    return compute_feature_rows(known, instants(*at), universe=universe, indicators=indicators_of(universe)).to_frame()


def rows(without: tuple[str, ...] = (), *at: str, universe: Universe = UNIVERSE) -> pd.DataFrame:
    return computed(without, at or AT, universe).copy()


def count(frame: pd.DataFrame, target: int = 35, universe: Universe = UNIVERSE) -> Verdict:
    return evaluate_feature_count(frame, target, universe=universe, indicators=indicators_of(universe))


def test_a_whole_row_meets_the_target_and_tells_both_counts() -> None:
    verdict = count(rows())
    assert verdict.passed
    assert verdict.metadata["observed"] == 58
    assert verdict.metadata["features"] == "58 of 58"
    assert verdict.metadata["core_features"] == "43 of 43"
    assert verdict.metadata["observed_at"] == "2024-03-06 15:30 UTC"
    assert verdict.metadata["worst_offenders"] == "none"


def test_a_row_below_the_target_is_an_error_that_names_what_is_missing_and_why() -> None:
    gone = ("QQQ", "SPY", "IWM", "HYG", "LQD", "TLT", "GLD")
    verdict = count(rows(gone))
    # 7 tickers x 3, and every indicator but the dollar's
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert verdict.metadata["observed"] == 58 - 21 - 6
    assert verdict.metadata["null"] == 27
    assert str(verdict.metadata["worst_offenders"]).startswith("no_bars: ml_qqq_price, ml_qqq_change_1d")
    table = verdict.metadata["null_features"]
    assert isinstance(table, Markdown)
    assert "| HYG no_bars | ml_credit_spreads |" in table.text
    assert "27 are NULL, 0 stand on late inputs" in verdict.description


def test_late_inputs_do_not_count_and_are_told() -> None:
    late = logs() | {
        name: log(name, *(bars[bars["bar_end"] <= utc("2024-03-06T15:00")] for bars in [logs()[name].bars]))
        for name in ("QQQ", "SPY")
    }
    frame = compute_feature_rows(late, instants("2024-03-06T15:40")).to_frame()
    verdict = count(frame, target=58)
    assert not verdict.passed
    assert verdict.metadata["null"] == 0
    # price and change of both, and the four indicators made of them
    assert verdict.metadata["not_fresh"] == 8
    assert verdict.metadata["late_tickers"] == "QQQ: stale_warn; SPY: stale_warn"


def test_a_market_that_has_been_shut_for_days_does_not_lower_the_count() -> None:
    sunday = count(rows((), "2024-03-03T12:00"))
    assert sunday.metadata["observed"] == 58


def test_only_the_newest_row_is_judged() -> None:
    frame = rows()
    frame.loc[0, "feature_count"] = 3
    assert count(frame).passed


def test_a_target_that_no_row_can_reach_says_what_to_do() -> None:
    universe = small_universe()
    verdict = count(rows(universe=universe), universe=universe)
    assert not verdict.passed
    assert "no row can reach it: lower ML_FEATURE_COUNT_TARGET" in verdict.description


def test_no_row_yet_is_not_judged() -> None:
    for verdict in (count(rows().iloc[:0]), evaluate_identities(rows().iloc[:0], [])):
        assert verdict.passed
        assert not verdict.judged


# --- identities -------------------------------------------------------------------------------------------------------

YEN = DailyPrice("JPYUSD", utc("2024-03-05T00:00"), 1 / 150.0, 1 / 150.3)


def test_identities_hold_in_a_row_that_was_computed() -> None:
    verdict = evaluate_identities(rows(), [YEN])
    assert verdict.passed, verdict.description
    assert verdict.metadata["identities_judged"] == 4
    table = verdict.metadata["identities"]
    assert isinstance(table, Markdown)
    assert "ml_innovation_premium x ml_tech_leadership = ml_arkk_price / ml_spy_price" in table.text


@pytest.mark.parametrize(
    ("column", "factor", "broken"),
    [
        ("ml_innovation_premium", 1.0 + 1e-9, "ml_innovation_premium x ml_tech_leadership"),
        ("ml_market_breadth", 1.0 - 1e-9, "ml_tech_leadership x ml_market_breadth"),
        ("ml_arkk_price", 1.0 + 1e-9, "ml_innovation_premium x ml_tech_leadership"),
        ("ml_iwm_price", 100.0, "ml_tech_leadership x ml_market_breadth"),
        ("ml_dxy_price", 1.03, "DXY by its published weights"),
        ("ml_dxy_price", 0.95, "DXY by its published weights"),
        ("ml_eurusd_price", 1.06, "DXY by its published weights"),
        # dollars per yen taken for yen per dollar
        ("ml_jpyusd_price", 153.0**2, "DXY by its published weights"),
    ],
)
def test_a_feature_that_does_not_go_with_the_others_is_a_warning(column: str, factor: float, broken: str) -> None:
    frame = rows()
    frame.loc[frame.index[-1], column] *= factor
    verdict = evaluate_identities(frame, [YEN])
    assert (verdict.passed, verdict.severity) == (False, Severity.WARN)
    assert verdict.metadata["observed"] == 1
    assert str(verdict.metadata["worst_offenders"]).startswith(broken)


@pytest.mark.parametrize(("daily", "passed"), [(1 / 151.0, True), (1 / 152.5, False), (150.0, False), (0.0, False)])
def test_a_currency_agrees_with_its_own_daily_row_within_one_percent(daily: float, passed: bool) -> None:
    verdict = evaluate_identities(rows(), [DailyPrice("JPYUSD", utc("2024-03-05T00:00"), daily, 1 / 150.3)])
    assert verdict.passed is passed
    if not passed:
        assert str(verdict.metadata["worst_offenders"]).startswith("JPYUSD at 2024-03-05T00:00Z, 15m and 1d")


def test_an_identity_with_a_null_is_not_judged() -> None:
    verdict = evaluate_identities(rows(("ARKK", "EURUSD")), [])
    assert verdict.passed
    assert verdict.metadata["identities_judged"] == 1
    nothing = evaluate_identities(rows(("QQQ", "EURUSD")), [])
    assert nothing.passed
    assert not nothing.judged


def test_a_smaller_universe_has_fewer_identities() -> None:
    universe = small_universe(("EURUSD", "GBPUSD", "JPYUSD", "DXY"))
    assert set(feature_columns(universe, indicators_of(universe))) < set(feature_columns(UNIVERSE, INDICATORS))
    verdict = evaluate_identities(rows(universe=universe), [])
    assert verdict.passed
    assert verdict.metadata["identities_judged"] == 1
