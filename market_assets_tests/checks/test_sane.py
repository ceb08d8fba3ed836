"""`bars_are_sane`: what cannot be true is an error, what is unusual is named, and real markets are neither."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from market_assets.checks.movement import JUMP_LIMIT, STUCK_LIMIT
from market_assets.checks.sane import evaluate_sanity
from market_assets.checks.verdict import Markdown, Severity
from market_assets_tests.checks.evidence_frames import evidence_of, market_of, utc
from market_assets_tests.market_frames import action_frame, walk

if TYPE_CHECKING:
    from market_assets.checks.verdict import Verdict

PRICES = ["open", "high", "low", "close"]
NOW = "2024-11-26T20:01"


@cache
def market(ticker: str = "QQQ") -> pd.DataFrame:
    level = {"JPYUSD": 0.0067, "QQQ": 400.0}.get(ticker, 100.0)
    return market_of(ticker, "2024-09-01", "2024-11-18", "2024-12-01", level=level)


def between(bars: pd.DataFrame, interval: str, start: str, end: str) -> pd.Series:
    inside = (bars["bar_start"] >= utc(start)) & (bars["bar_start"] < utc(end))
    return inside & (bars["interval"] == interval)


def changed(interval: str, start: str, end: str, *, factor: float, ticker: str = "QQQ") -> pd.DataFrame:
    bars = market(ticker).copy()
    bars.loc[between(bars, interval, start, end), PRICES] *= factor
    return bars


def stuck(start: str, end: str, *, ticker: str = "QQQ", volume: float = 500.0) -> pd.DataFrame:
    """Return bars whose prices are all the same from `start` to `end`, while volume goes on."""
    bars = market(ticker).copy()
    rows = between(bars, "15m", start, end)
    bars.loc[rows, PRICES] = bars.loc[rows, "close"].iloc[0]
    bars.loc[rows, "volume"] = volume
    return bars


def judge(*bars: pd.DataFrame, now: str = NOW, ticker: str = "QQQ", **more: object) -> Verdict:
    return evaluate_sanity(evidence_of(ticker, now, *bars, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("ticker", ["QQQ", "HYG", "EURUSD", "JPYUSD", "VIX", "DXY", "BTC"])
def test_an_ordinary_day_is_sane(ticker: str) -> None:
    verdict = judge(market(ticker), ticker=ticker)
    assert verdict.passed, verdict.description
    assert verdict.metadata["observed"] == 0
    assert verdict.metadata["worst_offenders"] == "none"
    assert "bars_without_past" not in verdict.metadata


def test_a_day_without_a_session_has_nothing_wrong_with_it() -> None:
    verdict = judge(market(), now="2024-11-23T12:01")
    assert verdict.passed
    assert verdict.metadata["bars_judged"] == 0


def test_quarantined_rows_are_an_error_with_counts_and_the_rows_themselves() -> None:
    rows = [
        ("15m", "2024-11-26T15:00", -3.0, "not_positive"),
        ("15m", "2024-11-26T15:15", -4.0, "not_positive"),
        ("1d", "2024-11-26T14:30", 9.0, "high_below_low"),
    ]
    verdict = judge(market(), quarantined=rows)
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert verdict.metadata["observed"] == 3
    assert verdict.metadata["quarantined/not_positive"] == 2
    assert verdict.metadata["quarantined/high_below_low"] == 1
    assert str(verdict.metadata["worst_offenders"]).startswith("quarantined 15m 2024-11-26T15:00Z: not_positive; ")
    table = verdict.metadata["bad_rows"]
    assert isinstance(table, Markdown)
    assert "| 15m | 2024-11-26 15:15 | -4 | -4 | -4 | -4 | not_positive |" in table.text


@pytest.mark.parametrize("interval", ["15m", "1d"])
def test_a_hundredfold_price_is_an_error_and_named_on_each_of_its_bars(interval: str) -> None:
    day = "2024-11-26"
    verdict = judge(changed(interval, f"{day}T14:30", f"{day}T16:30", factor=100.0), now="2024-11-26T21:01")
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    bad = 8 if interval == "15m" else 1
    assert f"{bad} far off their level" in verdict.description
    assert f"{interval} 2024-11-26T14:30Z at" in verdict.description
    assert " times off the median close" in verdict.description


def test_a_hundredth_of_a_price_is_an_error_too() -> None:
    verdict = judge(changed("15m", "2024-11-26T15:00", "2024-11-26T15:15", factor=0.01))
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)


def test_a_price_that_has_been_hundredfold_since_yesterday_is_still_found() -> None:
    bars = changed("15m", "2024-11-25T14:30", "2024-12-01T00:00", factor=100.0)
    bars.loc[between(bars, "1d", "2024-11-25T00:00", "2024-12-01T00:00"), PRICES] *= 100.0
    verdict = judge(bars)
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert "22 far off their level" in verdict.description


def test_one_bad_print_is_a_warning_that_names_it() -> None:
    verdict = judge(changed("15m", "2024-11-26T16:00", "2024-11-26T16:15", factor=1.25))
    assert (verdict.passed, verdict.severity) == (False, Severity.WARN)
    # up, and down again
    assert "2 jumps" in verdict.description
    assert "15m 2024-11-26T16:00Z" in str(verdict.metadata["worst_offenders"])
    assert f" of {JUMP_LIMIT:g} own daily volatilities" in str(verdict.metadata["extremes"])


def test_what_is_a_jump_for_one_ticker_is_a_move_of_another() -> None:
    calm = judge(changed("15m", "2024-11-26T16:00", "2024-11-26T16:15", factor=1.25))
    wild = market().copy()
    daily = wild["interval"] == "1d"
    rng = np.random.default_rng(1)
    wild.loc[daily, "close"] = 400.0 * np.exp(rng.normal(0.0, 0.05, int(daily.sum())).cumsum() * 0.2)
    wild.loc[daily, "high"] = wild.loc[daily, PRICES].max(axis=1)
    wild.loc[daily, "low"] = wild.loc[daily, PRICES].min(axis=1)
    wild.loc[between(wild, "15m", "2024-11-26T16:00", "2024-11-26T16:15"), PRICES] *= 1.05
    assert not calm.passed
    assert judge(wild[~(daily & (wild["bar_start"] >= utc("2024-11-26T00:00")))]).passed


def test_a_bad_price_of_the_past_does_not_hide_one_of_today() -> None:
    bars = changed("15m", "2024-11-26T16:00", "2024-11-26T16:15", factor=1.25)
    bars.loc[between(bars, "1d", "2024-11-13T00:00", "2024-11-13T23:00"), PRICES] *= 100.0
    assert not judge(bars).passed


@pytest.mark.parametrize(
    ("until", "passed", "minutes"), [("16:45", True, 105), ("17:00", False, 120), ("19:00", False, 240)]
)
def test_a_price_that_stands_still_while_its_venue_is_open_is_a_warning(until: str, passed: bool, minutes: int) -> None:
    verdict = judge(stuck("2024-11-26T15:00", f"2024-11-26T{until}"))
    assert verdict.passed is passed
    assert f"standstill {minutes} of {STUCK_LIMIT:.0f} open-market minutes" in str(verdict.metadata["extremes"])
    if not passed:
        assert verdict.severity is Severity.WARN
        assert "1 standing still" in verdict.description
        assert f"the same price for {minutes} open-market minutes" in verdict.description
        assert verdict.metadata["volume_while_standing_still"] == 500.0 * minutes / 15


def test_a_standstill_goes_on_over_the_night_and_the_closed_hours_do_not_count() -> None:
    bars = stuck("2024-11-25T20:00", "2024-11-26T15:30")
    verdict = judge(bars)
    assert not verdict.passed
    # an hour before the close and an hour after the open
    assert "standstill 120 of 120 open-market minutes" in str(verdict.metadata["extremes"])


def test_repeated_closes_of_a_thin_ticker_are_not_standing_still() -> None:
    bars = market("ARKQ").copy()
    rows = between(bars, "15m", "2024-11-26T15:00", "2024-11-26T20:00")
    bars.loc[rows, PRICES] = bars.loc[rows, "close"].iloc[0]
    bars.loc[rows, "high"] *= 1.0001
    assert judge(bars, ticker="ARKQ").passed


def test_bars_that_the_calendar_does_not_expect_do_not_stand_still() -> None:
    # The dollar index prints on after New York's half day has closed.
    bars = market("DXY").copy()
    printed = pd.date_range("2024-11-29T18:00", "2024-11-29T21:45", freq="15min", tz="UTC")
    more = pd.DataFrame({"ticker": "DXY", "interval": "15m", "bar_start": printed.as_unit("us")})
    more["bar_end"] = more["bar_start"] + pd.Timedelta(minutes=15)
    more = more.assign(**dict.fromkeys(PRICES, 100.0), volume=0.0, basis=1.0, source="test")
    scale = bars.loc[between(bars, "15m", "2024-11-29T17:30", "2024-11-29T18:00"), "close"].iloc[-1]
    more[PRICES] = scale
    assert judge(bars, more, ticker="DXY", now="2024-11-29T22:31").passed


def test_a_split_is_no_jump() -> None:
    bars = market().copy()
    after = bars["bar_start"] >= utc("2024-11-26T00:00")
    bars.loc[after, PRICES] /= 4.0
    assert not judge(bars).passed
    split = action_frame("QQQ", [("split", "2024-11-26", 4.0)])
    assert judge(bars, actions=split).passed
    # what was fetched again after the split stands on its basis
    rebased = bars.copy()
    history = ~after & (bars["interval"] == "1d")
    rebased.loc[history, PRICES] /= 4.0
    rebased.loc[history, "basis"] = 4.0
    assert judge(rebased, actions=split).passed


@pytest.mark.parametrize(
    ("what", "values"),
    [
        ("not_positive", {"low": -1.0}),
        ("high_below_low", {"high": 1.0}),
        ("not_finite", {"close": np.nan}),
        ("negative_volume", {"volume": -5.0}),
        ("another_source", {"source": "elsewhere"}),
        ("ends_before_it_starts", {"bar_end": pd.Timestamp("2024-11-26T15:00", tz="UTC")}),
        ("off_grid", {"bar_start": pd.Timestamp("2024-11-26T15:07", tz="UTC")}),
    ],
)
def test_a_stored_bar_that_the_write_should_have_held_back_is_an_error(what: str, values: dict[str, Any]) -> None:
    bars = market().copy()
    row = bars.index[between(bars, "15m", "2024-11-26T15:00", "2024-11-26T15:15")][0]
    for name, value in values.items():
        bars.loc[row, name] = value
    verdict = judge(bars)
    assert (verdict.passed, verdict.severity) == (False, Severity.ERROR)
    assert f": {what}" in str(verdict.metadata["worst_offenders"])
    assert "1 stored bars are impossible" in verdict.description


def test_a_yen_outside_of_its_band_is_an_error() -> None:
    bars = market("JPYUSD").copy()
    bars.loc[between(bars, "15m", "2024-11-26T15:00", "2024-11-26T15:15"), PRICES] = 150.0
    verdict = judge(bars, ticker="JPYUSD")
    assert verdict.severity is Severity.ERROR
    assert ": outside_band" in str(verdict.metadata["worst_offenders"])


def test_a_ticker_with_too_little_past_is_judged_as_far_as_it_can_be() -> None:
    young = market_of("QQQ", "2024-11-18", "2024-11-25", "2024-11-27")
    verdict = judge(young)
    assert verdict.passed
    assert verdict.metadata["bars_without_past"] == verdict.metadata["bars_judged"]


def test_a_range_of_days_judges_each_bar_by_what_came_before_it() -> None:
    # 30 calm sessions, then 40 that move ten times as much: the change of regime is no jump, a spike before it is
    calm = walk("BTC", "1d", "2024-06-01", "2024-08-01", scale=0.01)
    wild = walk("BTC", "1d", "2024-08-01", "2024-11-01", level=float(calm["close"].iloc[-1]), scale=0.03)
    bars = pd.concat([calm, wild], ignore_index=True)
    assert judge(bars, ticker="BTC", days=("2024-06-01", "2024-10-31")).passed
    bars.loc[between(bars, "1d", "2024-07-20T00:00", "2024-07-20T12:00"), PRICES] *= 1.3
    verdict = judge(bars, ticker="BTC", days=("2024-06-01", "2024-10-31"))
    assert not verdict.passed
    assert "1d 2024-07-20T00:00Z" in str(verdict.metadata["worst_offenders"])
