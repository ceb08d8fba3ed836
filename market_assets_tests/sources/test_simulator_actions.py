"""Splits, dividends and further symbols of the simulated market."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from market_assets.calendars import to_us, venue_calendar
from market_assets.sources.simulator import Market
from market_assets_tests.sources.simulator_helpers import LATE, assert_same, market, rows, utc, view


def test_the_whole_history_is_rebased_at_the_ex_date_of_a_split() -> None:
    before = rows("USO", "1d", "2020-04-01", "2020-04-28", now="2020-04-29T03:59:59")
    after = rows("USO", "1d", "2020-04-01", "2020-04-28", now="2020-04-29T04:00")
    assert_allclose(after.close, before.close * 8, rtol=1e-6)
    assert_allclose(after.volume, before.volume / 8, rtol=1e-3)
    assert before.close.max() < 20
    whole = rows("USO", "1d", "2020-04-15", "2020-05-15", now="2020-06-01T00:00")
    assert np.abs(np.diff(np.log(whole.close))).max() < 0.2
    assert [(split.ex_date, split.value) for split in view("USO", "2020-06-01T00:00").splits(0, to_us(utc(LATE)))] == [
        (date(2020, 4, 29), 0.125)
    ]


def test_an_added_split_changes_nothing_before_its_ex_date_and_halves_everything_after() -> None:
    other = Market(7)
    other.add_split("SPY", date(2025, 11, 12), 2.0)
    window = ("SPY", "15m", "2025-11-05", "2025-11-11")
    assert_same(rows(*window, now="2025-11-11T23:00", source=other), rows(*window, now="2025-11-11T23:00"))
    rebased, plain = rows(*window, now="2025-11-13T23:00", source=other), rows(*window, now="2025-11-13T23:00")
    assert_allclose(rebased.close, plain.close / 2, rtol=1e-6)
    assert_allclose(rebased.volume, plain.volume * 2)
    later, plain = (rows("SPY", "15m", "2025-11-12", "2025-11-13", now=LATE, source=it) for it in (other, market()))
    assert_allclose(later.close, plain.close / 2, atol=0.0051)
    assert view("SPY", LATE, other).splits(0, to_us(utc("2025-11-12"))) == []


def test_dividends_are_rebased_to_splits_like_prices() -> None:
    other = Market(7)
    other.add_split("SPY", date(2025, 11, 12), 2.0)
    window = (to_us(utc("2025-01-01")), to_us(utc("2025-11-01")))
    plain, rebased = view("SPY", LATE).dividends(*window), view("SPY", LATE, other).dividends(*window)
    assert [event.ex_date for event in plain] == [date(2025, 3, 18), date(2025, 6, 18), date(2025, 9, 18)]
    assert_allclose([event.value for event in rebased], [event.value / 2 for event in plain])


@pytest.mark.parametrize(
    ("symbol", "payments"), [("SPY", 4), ("QQQ", 4), ("IWM", 4), ("HYG", 12), ("LQD", 12), ("TLT", 12), ("GLD", 0)]
)
def test_dividends_are_paid_quarterly_or_monthly(symbol: str, payments: int) -> None:
    found = view(symbol, LATE).dividends(to_us(utc("2025-01-01")), to_us(utc("2026-01-01")))
    assert len(found) == payments
    for event in found:
        session = venue_calendar("XNYS").sessions(event.ex_date, event.ex_date)
        assert event.stamp_us == session.open_us[0]
        assert 0.0005 < event.value / view(symbol, LATE).last_price() < 0.01


def test_a_dividend_appears_at_midnight_of_its_ex_date_and_lowers_the_earlier_adjusted_closes() -> None:
    window = (to_us(utc("2025-09-01")), to_us(utc("2025-10-01")))
    assert view("SPY", "2025-09-18T03:59").dividends(*window) == []
    assert [event.value for event in view("SPY", "2025-09-18T04:00").dividends(*window)] == [
        event.value for event in view("SPY", LATE).dividends(*window)
    ]
    published = view("SPY", "2025-10-01T00:00")
    days = published.rows("1d", *window)
    adjusted = published.adjusted_close(days)
    before = days.label < np.datetime64("2025-09-18")
    assert_array_equal(adjusted[~before], days.close[~before])
    assert np.all(adjusted[before] < days.close[before] * 0.998)


# --- further symbols --------------------------------------------------------------------------------------------------


def test_a_further_fund_needs_one_line() -> None:
    other = Market(7)
    assert other.instrument("DIA") is None
    other.add_symbol("DIA", price=400.0)
    found = rows("dia", "1d", "2025-10-01", "2025-11-01", now=LATE, source=other)
    assert len(found) == 23
    assert np.all((found.close > 250) & (found.close < 600))
    spy = rows("SPY", "1d", "2025-01-01", "2025-11-01", now=LATE)
    dia = rows("DIA", "1d", "2025-01-01", "2025-11-01", now=LATE, source=other)
    assert np.corrcoef(np.diff(np.log(spy.close)), np.diff(np.log(dia.close)))[0, 1] > 0.7


def test_a_split_of_an_unknown_symbol_or_without_a_ratio_is_refused() -> None:
    with pytest.raises(KeyError):
        Market(7).add_split("NOPE", date(2025, 1, 2), 2.0)
    with pytest.raises(ValueError, match="ratio=0"):
        Market(7).add_split("SPY", date(2025, 1, 2), 0.0)


def test_a_clock_before_the_simulated_years_is_refused() -> None:
    with pytest.raises(ValueError, match="begins on 2016-01-04"):
        view("SPY", "2016-01-03T00:00")
