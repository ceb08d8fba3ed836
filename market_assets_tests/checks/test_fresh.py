"""`bars_are_fresh`: age in open-market minutes, so that nothing that is shut is ever late."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from market_assets.checks.fresh import evaluate_freshness
from market_assets.checks.verdict import Severity
from market_assets.universe import UNIVERSE
from market_assets_tests.checks.evidence_frames import evidence_of, half_hours, market_of
from market_assets_tests.market_frames import us, walk

if TYPE_CHECKING:
    import pandas as pd

#: one ticker of each venue
VENUES = ("QQQ", "EURUSD", "VIX", "DXY", "BTC")


@cache
def market(ticker: str, year: str) -> pd.DataFrame:
    """Return bars around a week: Thanksgiving 2024, Christmas 2024, both changes of clocks in 2025."""
    start, intraday, end = {
        "thanksgiving": ("2024-10-01", "2024-11-20", "2024-12-04"),
        "christmas": ("2024-11-01", "2024-12-18", "2025-01-08"),
        "spring": ("2025-02-01", "2025-03-05", "2025-04-02"),
        "autumn": ("2025-10-01", "2025-10-22", "2025-11-08"),
    }[year]
    return market_of(ticker, start, intraday, end)


def without_intraday(bars: pd.DataFrame, since: str) -> pd.DataFrame:
    """Return the bars as if the source had gone down at `since`."""
    return bars[bars["bar_start"].map(lambda start: start.value // 1000) < us(since)]


@pytest.mark.parametrize("ticker", VENUES)
@pytest.mark.parametrize(
    ("week", "start", "end"),
    [
        ("thanksgiving", "2024-11-25", "2024-12-03"),
        ("christmas", "2024-12-23", "2025-01-06"),
        ("spring", "2025-03-07", "2025-03-12"),
        ("spring", "2025-03-28", "2025-04-01"),
        ("autumn", "2025-10-24", "2025-10-28"),
        ("autumn", "2025-10-31", "2025-11-04"),
    ],
)
def test_no_tick_of_a_week_with_everything_collected_is_late(ticker: str, week: str, start: str, end: str) -> None:
    bars = market(ticker, week)
    for now in half_hours(start, end)[::13]:
        verdict = evaluate_freshness(evidence_of(ticker, now, bars))
        assert verdict.passed, (now, verdict.description)
        assert verdict.metadata["observed"] == 0.0, now


def test_a_weekend_is_never_stale_however_the_source_is() -> None:
    bars = without_intraday(market("QQQ", "autumn"), "2025-10-31T19:45")
    saturday, sunday = (
        evaluate_freshness(evidence_of("QQQ", now, bars)) for now in ("2025-11-01T12:01", "2025-11-02T23:31")
    )
    # the last quarter of an hour of Friday is missing, and the daily row is there
    assert saturday.passed
    assert sunday.passed
    assert sunday.metadata["venue"] == "closed"
    assert sunday.metadata["age_minutes"] == 2 * 1440 + 211
    assert "carries its last session" in sunday.description


def test_the_afternoon_of_a_half_day_is_not_late_but_a_full_day_without_bars_is() -> None:
    half = without_intraday(market("QQQ", "thanksgiving"), "2024-11-29T18:00")
    assert evaluate_freshness(evidence_of("QQQ", "2024-11-29T20:31", half)).passed
    full = without_intraday(market("QQQ", "thanksgiving"), "2024-11-27T18:00")
    late = evaluate_freshness(evidence_of("QQQ", "2024-11-27T20:31", full))
    assert (late.passed, late.severity) == (False, Severity.ERROR)
    assert late.metadata["observed"] == 136.0


@pytest.mark.parametrize(
    ("now", "passed", "severity", "observed"),
    [
        ("2024-11-26T16:16", True, Severity.WARN, 1.0),
        ("2024-11-26T16:30", True, Severity.WARN, 15.0),
        ("2024-11-26T16:31", False, Severity.WARN, 16.0),
        ("2024-11-26T17:45", False, Severity.WARN, 90.0),
        ("2024-11-26T17:46", False, Severity.ERROR, 91.0),
        ("2024-11-26T20:59", False, Severity.ERROR, 284.0),
    ],
)
def test_a_late_bar_warns_and_then_is_an_error_where_features_become_null(
    now: str, passed: bool, severity: Severity, observed: float
) -> None:
    bars = without_intraday(market("QQQ", "thanksgiving"), "2024-11-26T16:00")
    verdict = evaluate_freshness(evidence_of("QQQ", now, bars))
    assert (verdict.passed, verdict.severity, verdict.metadata["observed"]) == (passed, severity, observed)
    assert (verdict.metadata["threshold"], verdict.metadata["threshold_error"]) == (15.0, 90.0)
    assert verdict.metadata["worst_offenders"] == ("none" if passed else "15m until 2024-11-26 16:00 UTC")


def test_a_thinly_traded_ticker_may_be_late_for_three_quarters_of_an_hour() -> None:
    bars = without_intraday(market_of("ARKQ", "2024-10-01", "2024-11-20", "2024-12-04"), "2024-11-26T16:00")
    for now, passed, severity in (
        ("2024-11-26T17:00", True, Severity.WARN),
        ("2024-11-26T17:01", False, Severity.WARN),
        ("2024-11-26T17:46", False, Severity.ERROR),
    ):
        verdict = evaluate_freshness(evidence_of("ARKQ", now, bars))
        assert (verdict.passed, verdict.severity) == (passed, severity), now
        assert (verdict.metadata["threshold"], verdict.metadata["threshold_error"]) == (45.0, 90.0)


def test_the_night_between_two_sessions_adds_nothing_to_an_outage() -> None:
    bars = without_intraday(market("QQQ", "thanksgiving"), "2024-11-26T20:00")
    bars = bars[~((bars["interval"] == "1d") & (bars["bar_start"].dt.date.astype(str) == "2024-11-26"))]
    evening, morning = (
        evaluate_freshness(evidence_of("QQQ", now, bars)) for now in ("2024-11-26T21:01", "2024-11-27T14:31")
    )
    assert evening.metadata["observed"] == 45.0
    assert morning.metadata["observed"] == 46.0


@pytest.mark.parametrize(("ticker", "lag"), [("VIX", 15), ("DXY", 30)])
def test_a_feed_lag_is_not_lateness(ticker: str, lag: int) -> None:
    bars = market(ticker, "thanksgiving")
    verdict = evaluate_freshness(evidence_of(ticker, "2024-11-26T16:01", bars))
    assert verdict.passed
    assert verdict.metadata["age_minutes"] == 1 + lag


def test_limits_follow_the_collection_interval() -> None:
    bars = without_intraday(market("QQQ", "thanksgiving"), "2024-11-26T16:00")
    hourly = evaluate_freshness(evidence_of("QQQ", "2024-11-26T16:40", bars, interval_minutes=60))
    assert hourly.passed
    assert (hourly.metadata["threshold"], hourly.metadata["threshold_error"]) == (30.0, 180.0)


def test_a_run_over_past_days_is_not_judged_and_says_so() -> None:
    bars = without_intraday(market("QQQ", "thanksgiving"), "2024-11-26T16:00")
    verdict = evaluate_freshness(evidence_of("QQQ", "2024-11-27T20:31", bars, days=("2024-11-20", "2024-11-26")))
    assert verdict.passed
    assert not verdict.judged
    assert verdict.description == "not judged: the run is about past days, 2024-11-20 to 2024-11-26"
    # a range that ends today is judged
    assert evaluate_freshness(evidence_of("QQQ", "2024-11-27T20:31", bars, days=("2024-11-20", "2024-11-27"))).judged


def test_a_currency_without_intraday_bars_has_no_price() -> None:
    bars = walk("EURUSD", "1d", "2024-11-01", "2024-11-26")
    verdict = evaluate_freshness(evidence_of("EURUSD", "2024-11-26T16:01", bars))
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert verdict.metadata["observed"] == "no bar"


def test_a_ticker_that_has_nothing_stored_is_an_error() -> None:
    for ticker in UNIVERSE:
        verdict = evaluate_freshness(evidence_of(ticker.name, "2024-11-26T16:01"))
        assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
