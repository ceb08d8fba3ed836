"""Whether the source has every bar that is expected, judged from the ledger's entries."""

from __future__ import annotations

import pytest

from market_assets.checks.complete import HOLE_LIMIT, THIN_HOLE_LIMIT, evaluate_completeness
from market_assets.checks.verdict import Markdown, Severity, Verdict
from market_assets_tests.checks.evidence_frames import evidence_of, half_hours, ledger_of

Window = tuple[str, str, str]
#: a Wednesday; New York trades from 14:30 to 21:00 UTC
DAY = "2024-11-20"
EVENING = f"{DAY}T23:31"


def judge(
    ticker: str, now: str, *without: Window, days: tuple[str, str] | None = None, asked: str | None = None
) -> Verdict:
    coverage = ledger_of(ticker, now, days=days, without=without, asked=asked)
    return evaluate_completeness(evidence_of(ticker, now, days=days, coverage=coverage))


def lost(interval: str, begin: str, end: str, day: str = DAY) -> Window:
    return interval, f"{day}T{begin}", f"{day}T{end}"


def test_a_whole_day_is_complete() -> None:
    verdict = judge("QQQ", EVENING)
    assert verdict.passed
    # 26 quarter hours, 7 hours and the day
    assert verdict.description == "complete: 34 of 34 bars due are there"
    assert verdict.metadata == {
        "observed": 0.0,
        "threshold": HOLE_LIMIT,
        "worst_offenders": "none",
        "bars_due": 34,
        "bars_missing": 0,
    }


def test_a_missing_session_is_a_warning_that_names_it() -> None:
    verdict = judge("QQQ", EVENING, lost("15m", "00:00", "23:59"), lost("1h", "00:00", "23:59"))
    assert not verdict.passed
    assert verdict.severity is Severity.WARN
    assert verdict.metadata["observed"] == 1.0
    offenders = str(verdict.metadata["worst_offenders"])
    assert "2024-11-20 15m: 26 of 26 bars missing at the source" in offenders
    assert "2024-11-20 1h: 7 of 7 bars missing at the source" in offenders
    assert verdict.description.startswith("2 of 3 days and intervals lack more bars than they may. Worst: 2024-11-20 ")
    table = verdict.metadata["missing"]
    assert isinstance(table, Markdown)
    assert f"`{26 * 'h'}`" in table.text


@pytest.mark.parametrize(("until", "missing", "passed"), [("15:30", 2, True), ("15:45", 3, False)])
def test_two_quarter_hours_of_a_day_may_be_missing(until: str, missing: int, passed: bool) -> None:
    verdict = judge("QQQ", EVENING, lost("15m", "15:00", until))
    assert verdict.passed is passed
    assert verdict.metadata["bars_missing"] == missing
    if passed:
        told = f"complete: 32 of 34 bars due are there, {missing} missing at the source, which is tolerated"
        assert verdict.description == told


def test_a_thinly_traded_ticker_may_lack_more_than_half_of_its_day_and_not_all_of_it() -> None:
    half = lost("15m", "14:30", "18:15")
    assert not judge("QQQ", EVENING, half).passed
    thin = judge("ARKQ", EVENING, half)
    assert thin.passed
    assert (thin.metadata["observed"], thin.metadata["threshold"]) == (round(15 / 26, 4), THIN_HOLE_LIMIT)
    assert not judge("ARKQ", EVENING, lost("15m", "14:30", "18:30")).passed


@pytest.mark.parametrize("ticker", ["QQQ", "ARKQ", "EURUSD", "BTC"])
def test_a_missing_daily_bar_always_counts_once_it_should_long_be_there(ticker: str) -> None:
    everything = ("1d", "2024-11-01T00:00", "2024-12-01T00:00")
    days = ("2024-11-19", "2024-11-20")
    assert judge(ticker, "2024-11-21T12:00", days=days).passed
    verdict = judge(ticker, "2024-11-21T12:00", everything, days=days)
    assert not verdict.passed
    assert "1d: 1 of 1 bars missing at the source" in str(verdict.metadata["worst_offenders"])


@pytest.mark.parametrize(
    ("ticker", "now"),
    [
        # Thanksgiving, a Saturday, an hour before the open, a Saturday of the currencies
        ("QQQ", "2024-11-28T18:01"),
        ("SPY", "2024-11-30T18:01"),
        ("QQQ", "2024-11-20T13:31"),
        ("EURUSD", "2024-11-30T18:01"),
    ],
)
def test_where_no_bar_is_due_nothing_is_judged(ticker: str, now: str) -> None:
    verdict = judge(ticker, now)
    assert verdict.passed
    assert not verdict.judged
    assert verdict.description == "not judged: no bar is due"


def test_a_half_day_is_whole_with_half_of_the_bars() -> None:
    verdict = judge("QQQ", "2024-11-29T22:01")
    assert verdict.passed
    # 14 quarter hours and 4 hours until 13:00 New York, and the day
    assert verdict.description == "complete: 19 of 19 bars due are there"
    without = judge("QQQ", "2024-11-29T22:01", lost("15m", "15:00", "15:30", "2024-11-29"))
    # 2 of 14
    assert not without.passed


@pytest.mark.parametrize("ticker", ["QQQ", "ARKQ", "VIX", "DXY", "EURUSD", "JPYUSD", "BTC"])
def test_no_tick_of_a_fortnight_with_thanksgiving_in_it_warns_of_what_the_calendar_or_the_feed_explains(
    ticker: str,
) -> None:
    # Every tick is answered at once with all that has been published by then.
    for now in half_hours("2024-11-22T00:00", "2024-12-04T00:00"):
        assert judge(ticker, now).passed, now


def test_what_was_not_fetched_is_told_and_not_judged() -> None:
    # The last answer is two hours old: of the bars since then nobody knows whether the source has them.
    verdict = judge("QQQ", f"{DAY}T17:31", asked=f"{DAY}T15:31")
    assert verdict.passed
    assert verdict.metadata["bars_missing"] == 0
    # seven quarter hours until 17:15, and the hour from 15:30; the one from 16:30 is hardly due
    assert verdict.metadata["bars_not_fetched"] == 8
    # a hole that an earlier answer had is still one
    holes = judge("QQQ", f"{DAY}T17:31", lost("15m", "14:30", "15:15"), asked=f"{DAY}T15:46")
    assert not holes.passed


def test_a_day_of_which_nothing_was_fetched_is_left_to_the_check_of_the_fetch() -> None:
    verdict = judge("QQQ", f"{DAY}T17:31", asked="2024-11-19T21:31")
    assert not verdict.judged
    assert "bars due was fetched" in verdict.description


def test_each_day_of_a_range_is_judged_by_itself() -> None:
    days = ("2024-11-11", "2024-11-22")
    verdict = judge("QQQ", "2024-11-24T12:00", lost("15m", "00:00", "23:59"), days=days)
    assert not verdict.passed
    assert verdict.metadata["worst_offenders"] == "2024-11-20 15m: 26 of 26 bars missing at the source"
    # ten sessions of three intervals
    assert verdict.description.startswith("1 of 30 days and intervals lack more bars than they may.")
