"""The simulated market: what is drawn, and what of it is published at an instant."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from market_assets.calendars import to_us
from market_assets.sources.simulator import Market
from market_assets.sources.simulator.bars import DAY_US, Rows, Spans
from market_assets.sources.simulator.instruments import CATALOGUE
from market_assets.universe import UNIVERSE
from market_assets_tests.sources.simulator_helpers import LATE, assert_same, market, rows, stamps, utc, view

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYMBOLS = [instrument.symbol for instrument in CATALOGUE]


def closes(symbol: str, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Closes at 20:00 UTC of each day, open or not, on the final share basis."""
    start = days + 20 * 3_600_000_000
    spans = Spans(start.astype("datetime64[us]").astype("datetime64[D]"), start - 300_000_000, start)
    return view(symbol, "2028-12-30T00:00").bars(spans).close


def test_every_symbol_of_the_universe_is_simulated_with_its_venue_and_feed_lag() -> None:
    for ticker in UNIVERSE:
        instrument = market().instrument(ticker.yahoo_symbol)
        assert instrument is not None
        assert (instrument.venue, instrument.feed_lag) == (ticker.venue, ticker.feed_lag)


@pytest.mark.parametrize("symbol", ["QQQ", "EURUSD=X", "BTC-USD"])
def test_a_window_has_the_same_bits_however_it_is_reached(symbol: str) -> None:
    whole = rows(symbol, "15m", "2025-09-01", "2025-10-10", now=LATE)
    other = Market(7)
    rows(symbol, "1d", "2027-01-01", "2027-03-01", now=LATE, source=other)
    part = rows(symbol, "15m", "2025-10-01", "2025-10-10", now=LATE, source=other)
    whole.keep(whole.start_us >= to_us(utc("2025-10-01")))
    assert_same(part, whole)


def test_another_seed_is_another_market() -> None:
    here = rows("SPY", "1d", "2025-09-01", "2025-09-10", now=LATE)
    there = rows("SPY", "1d", "2025-09-01", "2025-09-10", now=LATE, source=Market(8))
    assert len(here) == len(there)
    assert not np.any(here.close == there.close)


@pytest.mark.parametrize("symbol", ["QQQ", "^VIX", "EURUSD=X", "DX-Y.NYB", "BTC-USD"])
@pytest.mark.parametrize("interval", ["15m", "30m", "1h"])
def test_longer_bars_are_exact_aggregates_of_five_minute_bars(symbol: str, interval: str) -> None:
    # the week of the half day
    small = rows(symbol, "5m", "2024-11-25", "2024-11-30", now=LATE)
    large = rows(symbol, interval, "2024-11-25", "2024-11-30", now=LATE)
    assert_aggregated(large, small, np.searchsorted(large.start_us, small.start_us, side="right") - 1)


@pytest.mark.parametrize("symbol", ["QQQ", "^VIX", "BTC-USD"])
def test_daily_bars_are_exact_aggregates_of_five_minute_bars(symbol: str) -> None:
    small = rows(symbol, "5m", "2024-11-25", "2024-11-30", now=LATE)
    large = rows(symbol, "1d", "2024-11-25", "2024-11-30", now=LATE)
    assert_aggregated(large, small, np.searchsorted(large.label, small.label, side="right") - 1)


def assert_aggregated(large: Rows, small: Rows, group: NDArray[np.int64]) -> None:
    assert set(group.tolist()) == set(range(len(large)))
    for k in range(len(large)):
        part = group == k
        assert large.open[k] == small.open[part][0]
        assert large.high[k] == small.high[part].max()
        assert large.low[k] == small.low[part].min()
        assert large.close[k] == small.close[part][-1]
        assert large.volume[k] == small.volume[part].sum()


WINDOWS = [("2024-10-20", "2024-12-10"), ("2025-02-25", "2025-04-05"), ("2025-12-20", "2026-01-10")]


@pytest.mark.parametrize("symbol", ["QQQ", "EURUSD=X", "^VIX", "DX-Y.NYB", "BTC-USD"])
@pytest.mark.parametrize("interval", ["15m", "1h", "1d"])
@pytest.mark.parametrize(("start", "end"), WINDOWS)
def test_bars_are_those_that_the_venue_calendar_expects(symbol: str, interval: str, start: str, end: str) -> None:
    found = rows(symbol, interval, start, end, now=LATE)
    calendar = view(symbol, LATE).calendar
    expected, _ = calendar.expected_bars(interval, to_us(utc(start)), to_us(utc(end)))
    if (symbol, interval) == ("DX-Y.NYB", "1d"):
        # stamped at New York's midnight, hours after the session begins
        last = date.fromisoformat(end) - timedelta(days=1)
        assert_array_equal(found.label, calendar.sessions(date.fromisoformat(start), last).label)
        midnights = [calendar.day_start_us(label) for label in found.label.tolist()]
        assert found.start_us.tolist() == midnights
        return
    if (symbol, interval) == ("^VIX", "1h"):
        # Yahoo also has the bar of the hour in which the index opens
        extra = np.setdiff1d(found.start_us, expected)
        assert_array_equal(extra, calendar.sessions_between_us(extra[0], extra[-1] + DAY_US).open_us - DAY_US // 48)
        expected = np.union1d(expected, extra)
    assert_array_equal(found.start_us, expected)


def test_a_finished_bar_never_changes_and_an_unfinished_one_only_grows() -> None:
    now = utc("2025-11-19T15:00:01")
    final = rows("QQQ", "15m", "2025-11-19T15:00", "2025-11-19T15:15", now=LATE)
    high, low, volume = 0.0, float("inf"), -1.0
    for second in (1, 50, 299, 300, 301, 450, 700, 899, 900, 5000):
        published = view("QQQ", now + timedelta(seconds=second - 1))
        bar = published.rows("15m", to_us(utc("2025-11-19T15:00")), to_us(utc("2025-11-19T15:15")))
        bar.keep(bar.start_us == to_us(utc("2025-11-19T15:00")))
        assert bar.high[0] >= high
        assert bar.low[0] <= low
        assert bar.volume[0] >= volume
        high, low, volume = float(bar.high[0]), float(bar.low[0]), float(bar.volume[0])
        assert bar.low[0] <= bar.close[0] <= bar.high[0]
        if second >= 900:
            assert_same(bar, final)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_bars_are_sane(symbol: str) -> None:
    for interval in ("15m", "1d"):
        found = rows(symbol, interval, "2025-10-01", "2025-11-19", now="2025-11-19T15:07")
        assert len(found) > 30
        assert np.all(np.diff(found.start_us) > 0)
        assert np.all(found.low > 0)
        assert np.all(found.low <= np.minimum(found.open, found.close))
        assert np.all(found.high >= np.maximum(found.open, found.close))
        has_volume = symbol.endswith("-USD") or found.label.size == 0 or view(symbol, LATE).instrument.turnover > 0
        assert np.all(found.volume[:-1] > 0) if has_volume else np.all(found.volume == 0)


# --- the live row, feed lags, closes ----------------------------------------------------------------------------------


def test_while_the_market_is_open_the_last_row_is_a_live_row_after_the_running_bar() -> None:
    found = rows("QQQ", "15m", "2025-11-19T14:00", "2025-11-19T16:00", now="2025-11-19T15:07")
    assert stamps(found) == [
        "2025-11-19T14:30:00", "2025-11-19T14:45:00", "2025-11-19T15:00:00", "2025-11-19T15:06:57",
    ]  # fmt: skip
    assert found.volume[-1] == 0
    assert found.open[-1] == found.high[-1] == found.low[-1] == found.close[-1] == found.close[-2]
    assert found.volume[-2] > 0


def test_on_the_boundary_of_two_bars_the_next_bar_does_not_exist_yet() -> None:
    found = rows("QQQ", "15m", "2025-11-19T14:00", "2025-11-19T16:00", now="2025-11-19T15:00")
    assert stamps(found) == ["2025-11-19T14:30:00", "2025-11-19T14:45:00", "2025-11-19T14:59:57"]
    assert_same(
        rows("QQQ", "15m", "2025-11-19T14:30", "2025-11-19T15:00", now=LATE),
        rows("QQQ", "15m", "2025-11-19T14:30", "2025-11-19T15:00", now="2025-11-20T22:00"),
    )


def test_the_live_row_is_appended_even_behind_the_end_of_the_window() -> None:
    found = rows("QQQ", "15m", "2025-11-19T14:00", "2025-11-19T14:45", now="2025-11-19T15:07")
    assert stamps(found) == ["2025-11-19T14:30:00", "2025-11-19T15:06:57"]
    before = rows("QQQ", "15m", "2025-11-18T14:00", "2025-11-18T14:45", now="2025-11-19T15:07")
    assert stamps(before) == ["2025-11-18T14:30:00"]


def test_after_the_close_a_fund_has_a_closing_print_until_the_next_open() -> None:
    for now, expected in (("2025-11-19T21:00", True), ("2025-11-20T14:29", True), ("2025-11-20T14:30", False)):
        found = rows("QQQ", "15m", "2025-11-19T20:45", "2025-11-19T23:00", now=now)
        assert stamps(found) == ["2025-11-19T20:45:00", "2025-11-19T21:00:00"][: 1 + expected]
        assert found.close[-1] == found.close[0]
    assert stamps(rows("^VIX", "15m", "2025-11-19T21:00", "2025-11-19T23:00", now="2025-11-19T22:00")) == [
        "2025-11-19T21:00:00"
    ]


@pytest.mark.parametrize(("symbol", "lag"), [("^VIX", 15), ("DX-Y.NYB", 30), ("QQQ", 0)])
def test_bars_newer_than_the_feed_lag_do_not_exist_yet(symbol: str, lag: int) -> None:
    now = utc("2025-11-19T16:07")
    edge = now - timedelta(minutes=lag)
    found = view(symbol, now).rows("15m", to_us(utc("2025-11-19T15:00")), to_us(now))
    assert found.start_us[-1] == to_us(edge - timedelta(seconds=3))
    assert found.start_us[-2] == to_us(edge.replace(minute=edge.minute // 15 * 15))
    complete = rows(symbol, "15m", "2025-11-19T15:00", "2025-11-19T16:30", now=LATE)
    at_end = view(symbol, utc("2025-11-19T16:00") + timedelta(minutes=lag))
    known = at_end.rows("15m", to_us(utc("2025-11-19T15:45")), to_us(utc("2025-11-19T16:00")))
    # available_at = bar_end + lag: at that very instant the bar is complete
    assert known.close[0] == complete.close[3]
    assert known.volume[0] == complete.volume[3]


def test_the_daily_row_of_a_running_session_carries_the_live_price_and_is_final_after_the_close() -> None:
    running = rows("SPY", "1d", "2025-11-17", "2025-11-20", now="2025-11-19T15:07")
    assert stamps(running) == ["2025-11-17T14:30:00", "2025-11-18T14:30:00", "2025-11-19T15:06:57"]
    assert running.close[-1] == np.float32(view("SPY", "2025-11-19T15:07").last_price())
    final = rows("SPY", "1d", "2025-11-17", "2025-11-20", now="2025-11-19T21:00")
    assert stamps(final)[-1] == "2025-11-19T14:30:00"
    assert_same(final, rows("SPY", "1d", "2025-11-17", "2025-11-20", now=LATE))


def test_the_daily_bar_of_a_delayed_venue_is_final_only_after_its_lag() -> None:
    assert stamps(rows("^VIX", "1d", "2025-11-19", "2025-11-20", now="2025-11-19T21:29:59")) == ["2025-11-19T21:14:59"]
    assert stamps(rows("^VIX", "1d", "2025-11-19", "2025-11-20", now="2025-11-19T21:30")) == ["2025-11-19T14:30:00"]


def test_the_last_crypto_day_is_partial() -> None:
    found = rows("BTC-USD", "1d", "2025-11-18", "2025-11-20", now="2025-11-19T15:07")
    assert stamps(found) == ["2025-11-18T00:00:00", "2025-11-19T15:06:57"]
    assert found.volume[-1] < found.volume[0]


def test_weekends_and_holidays_have_no_rows_and_no_live_row() -> None:
    now = "2025-11-22T15:00"
    assert len(rows("QQQ", "15m", "2025-11-22", "2025-11-22T15:00", now=now)) == 0
    assert len(rows("EURUSD=X", "15m", "2025-11-22", "2025-11-22T15:00", now=now)) == 0
    assert len(rows("QQQ", "1d", "2025-11-22", "2025-11-22T15:00", now=now)) == 0
    assert len(rows("BTC-USD", "15m", "2025-11-22", "2025-11-22T15:00", now=now)) == 61


# --- calendars --------------------------------------------------------------------------------------------------------


def test_a_half_day_ends_at_one_in_new_york() -> None:
    found = rows("QQQ", "15m", "2024-11-29", "2024-11-30", now=LATE)
    assert (stamps(found)[0], stamps(found)[-1]) == ("2024-11-29T14:30:00", "2024-11-29T17:45:00")
    hours = rows("QQQ", "1h", "2024-11-29", "2024-11-30", now=LATE)
    assert stamps(hours)[-1] == "2024-11-29T17:30:00"
    vix = rows("^VIX", "15m", "2024-11-29", "2024-11-30", now=LATE)
    assert stamps(vix)[-1] == "2024-11-29T18:00:00"
    day = rows("QQQ", "1d", "2024-11-29", "2024-11-30", now="2024-11-29T18:00")
    assert stamps(day) == ["2024-11-29T14:30:00"]
    assert day.close[0] == found.close[-1]


def test_sessions_follow_daylight_saving_time_of_their_own_venue() -> None:
    # New York changes on 9 March 2025, London on 30 March
    assert stamps(rows("SPY", "1d", "2025-03-07", "2025-03-11", now=LATE)) == [
        "2025-03-07T14:30:00", "2025-03-10T13:30:00",
    ]  # fmt: skip
    assert stamps(rows("EURUSD=X", "1d", "2025-03-27", "2025-04-02", now=LATE)) == [
        "2025-03-27T00:00:00", "2025-03-28T00:00:00", "2025-03-30T23:00:00", "2025-03-31T23:00:00",
        "2025-04-01T23:00:00",
    ]  # fmt: skip


# --- daily FX rows ----------------------------------------------------------------------------------------------------


def test_the_close_of_a_daily_fx_row_is_the_price_at_the_start_of_its_day() -> None:
    days = rows("EURUSD=X", "1d", "2025-11-03", "2025-11-15", now=LATE)
    quarters = rows("EURUSD=X", "15m", "2025-11-03", "2025-11-15", now=LATE)
    assert len(days) == 10
    for start, close, high in zip(days.start_us.tolist(), days.close.tolist(), days.high.tolist(), strict=True):
        inside = (quarters.start_us >= start) & (quarters.start_us < start + DAY_US)
        assert close == quarters.open[inside][0]
        assert high == quarters.high[inside].max()
        at_end = quarters.close[inside][-1]
        assert abs(at_end / close - 1) > 1e-5


def test_the_running_fx_row_shows_the_live_price_until_london_midnight() -> None:
    running = rows("JPY=X", "1d", "2025-11-19", "2025-11-20", now="2025-11-19T23:59:59")
    assert stamps(running) == ["2025-11-19T23:59:59"]
    assert running.close[0] == np.float32(view("JPY=X", "2025-11-19T23:59:59").last_price())
    final = rows("JPY=X", "1d", "2025-11-19", "2025-11-20", now="2025-11-20T00:00")
    assert stamps(final)[0] == "2025-11-19T00:00:00"
    assert final.close[0] == final.open[0] != running.close[0]
    # on Friday evening the market is shut, the London day is not over
    friday = rows("JPY=X", "1d", "2025-11-21", "2025-11-22", now="2025-11-21T23:00")
    assert stamps(friday) == ["2025-11-21T22:00:00"]


# --- levels and correlations ------------------------------------------------------------------------------------------

BANDS = {
    "QQQ": (90, 1100), "SPY": (150, 1200), "IWM": (80, 420), "ARKK": (15, 200), "ARKQ": (12, 250), "ARKG": (12, 120),
    "HYG": (65, 105), "LQD": (85, 160), "TLT": (60, 200), "GLD": (80, 600), "SLV": (8, 110), "USO": (5, 200),
    "EURUSD=X": (0.9, 1.4), "GBPUSD=X": (1.0, 1.7), "JPY=X": (90, 190), "^VIX": (7, 60), "DX-Y.NYB": (80, 120),
    "BTC-USD": (1_000, 400_000), "ETH-USD": (30, 15_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def weekday_returns() -> dict[str, NDArray[np.float64]]:
    """Log returns from 20:00 UTC to 20:00 UTC, Monday to Friday, 2023 and 2024."""
    labels = np.arange(np.datetime64("2023-01-02"), np.datetime64("2024-12-31"))
    days = labels[np.is_busday(labels)].astype("datetime64[us]").astype(np.int64)
    return {symbol: np.diff(np.log(closes(symbol, days))) for symbol in SYMBOLS}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_prices_stay_plausible_from_2017_to_2028(symbol: str) -> None:
    low, high = BANDS[symbol]
    # one day at a time: a range would draw all days between
    for day in np.arange(np.datetime64("2017-01-03"), np.datetime64("2028-12-01"), 400).astype("datetime64[us]"):
        assert low < closes(symbol, np.array([day]).astype(np.int64))[0] < high


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ("SPY", "QQQ", 0.8, 0.97),
        ("SPY", "IWM", 0.7, 0.95),
        ("ARKK", "QQQ", 0.7, 0.95),
        ("HYG", "SPY", 0.6, 0.95),
        ("TLT", "SPY", -0.5, -0.15),
        ("LQD", "TLT", 0.6, 0.95),
        ("^VIX", "SPY", -0.95, -0.65),
        ("DX-Y.NYB", "SPY", -0.4, -0.03),
        ("DX-Y.NYB", "EURUSD=X", -1.0, -0.8),
        ("GLD", "SLV", 0.5, 0.95),
        ("GLD", "DX-Y.NYB", -0.7, -0.2),
        ("BTC-USD", "QQQ", 0.2, 0.5),
        ("ETH-USD", "QQQ", 0.15, 0.5),
        ("ETH-USD", "BTC-USD", 0.7, 0.98),
    ],
)
def test_returns_are_plausibly_correlated(
    weekday_returns: dict[str, NDArray[np.float64]],
    one: str,
    other: str,
    low: float,
    high: float,
) -> None:
    assert low < np.corrcoef(weekday_returns[one], weekday_returns[other])[0, 1] < high


def test_volatilities_are_ordered_as_in_life(
    weekday_returns: dict[str, NDArray[np.float64]],
) -> None:
    risk = {symbol: float(returns.std()) for symbol, returns in weekday_returns.items()}
    order = ["EURUSD=X", "TLT", "SPY", "QQQ", "ARKK", "BTC-USD", "^VIX"]
    assert sorted(order, key=lambda symbol: risk[symbol]) == order
    assert 0.006 < risk["SPY"] < 0.015
