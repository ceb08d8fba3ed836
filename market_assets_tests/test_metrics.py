"""Price, change and volatility of one ticker: which bar counts, when, and what happens if it is missing."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest

from market_assets.calendars import observation_grid, venue_calendar
from market_assets.errors import NaiveTimestampError
from market_assets.metrics import StalenessLimits, TickerLog, TickerMetrics, TickerSeries
from market_assets_tests.market_frames import at, daily, instants, log, no_bars, us, walk

LIMITS = StalenessLimits.for_interval(30)


def metrics(ticker_log: TickerLog, *times: str) -> TickerMetrics:
    return TickerSeries.prepare(ticker_log).at(instants(*times), LIMITS)


def price(ticker_log: TickerLog, time: str) -> float:
    return float(metrics(ticker_log, time).price.value[0])


def labels(ticker: str, start: str, end: str) -> list[str]:
    venue = log(ticker).ticker.venue
    table = venue_calendar(venue).sessions(date.fromisoformat(start), date.fromisoformat(end))
    return [str(label) for label in table.label]


# --- which bar gives the price ----------------------------------------------------------------------------------------


def test_the_running_bar_is_never_a_price() -> None:
    qqq = log("QQQ", at("15m", "QQQ", {"2024-03-06 15:00": 10.0, "2024-03-06 15:15": 11.0}))
    assert price(qqq, "2024-03-06 15:29:59.999999") == 10.0
    assert price(qqq, "2024-03-06 15:30") == 11.0


def test_a_bar_counts_only_once_its_feed_lag_is_over() -> None:
    vix = log("VIX", at("15m", "VIX", {"2024-03-06 15:00": 14.0, "2024-03-06 15:15": 15.0}))
    assert price(vix, "2024-03-06 15:30") == 14.0
    assert price(vix, "2024-03-06 15:45") == 15.0
    dxy = log("DXY", at("15m", "DXY", {"2024-03-06 15:00": 103.0, "2024-03-06 15:15": 104.0}))
    assert price(dxy, "2024-03-06 15:45") == 103.0
    assert price(dxy, "2024-03-06 16:00") == 104.0


def test_at_equal_ends_the_day_wins_then_the_quarter_hour_then_the_hour() -> None:
    day = daily("QQQ", {"2024-03-06": 1.0})
    quarter = at("15m", "QQQ", {"2024-03-06 20:45": 2.0})
    hour = at("1h", "QQQ", {"2024-03-06 20:00": 3.0})
    assert price(log("QQQ", hour, quarter, day), "2024-03-06 21:00") == 1.0
    assert price(log("QQQ", hour, quarter), "2024-03-06 21:00") == 2.0
    assert price(log("QQQ", hour), "2024-03-06 21:00") == 3.0


def test_a_null_daily_bar_does_not_hide_the_quarter_hour_that_ends_with_it() -> None:
    quarter = at("15m", "QQQ", {"2024-03-06 20:45": 2.0})
    assert price(log("QQQ", daily("QQQ", {"2024-03-06": math.nan}), quarter), "2024-03-06 21:00") == 2.0


@pytest.mark.parametrize(("close", "reason"), [(math.nan, "null_price"), (0.0, "not_positive"), (-3.0, "not_positive")])
def test_a_bad_last_bar_is_a_gap_with_a_reason_and_never_zero(close: float, reason: str) -> None:
    qqq = log("QQQ", at("15m", "QQQ", {"2024-03-06 15:00": 10.0, "2024-03-06 15:15": close}))
    result = metrics(qqq, "2024-03-06 15:30")
    assert math.isnan(result.price.value[0])
    assert result.price.reasons.tolist() == [reason]
    assert result.change_1d.reasons.tolist() == [reason]


def test_without_bars_everything_is_a_gap_with_a_reason() -> None:
    result = metrics(log("QQQ"), "2024-03-06 15:30")
    assert result.price.reasons.tolist() == ["no_bars"]
    assert result.change_1d.reasons.tolist() == ["no_bars"]
    assert result.volatility.reasons.tolist() == ["0_of_20_returns"]
    assert math.isnan(result.age_minutes[0])


def test_bars_outside_of_sessions_are_no_prices() -> None:
    premarket = at("15m", "QQQ", {"2024-03-06 13:00": 99.0})
    assert metrics(log("QQQ", premarket), "2024-03-06 13:30").price.reasons.tolist() == ["no_bars"]


def test_a_small_price_keeps_its_digits() -> None:
    jpy = log("JPYUSD", at("15m", "JPYUSD", {"2024-03-06 15:15": 1 / 149.391}))
    assert price(jpy, "2024-03-06 15:30") == 1 / 149.391  # 0.0067, not 0.01


def test_duplicates_and_unknown_intervals_are_refused() -> None:
    bars = at("15m", "QQQ", {"2024-03-06 15:00": 10.0})
    with pytest.raises(ValueError, match="two bars share interval and bar_start"):
        TickerSeries.prepare(log("QQQ", bars, bars))
    with pytest.raises(ValueError, match="interval='5m' is not one of 1d, 15m, 1h"):
        TickerSeries.prepare(log("QQQ", bars.assign(interval="5m")))


def test_naive_times_are_refused() -> None:
    bars = at("15m", "QQQ", {"2024-03-06 15:00": 10.0})
    with pytest.raises(NaiveTimestampError, match="bar_end"):
        TickerSeries.prepare(log("QQQ", bars.assign(bar_end=bars["bar_end"].dt.tz_localize(None))))


# --- staleness --------------------------------------------------------------------------------------------------------


def test_limits_follow_the_collection_interval() -> None:
    assert StalenessLimits.for_interval(30) == StalenessLimits(warn=15.0, null=90.0)
    assert StalenessLimits.for_interval(60) == StalenessLimits(warn=30.0, null=180.0)


def test_staleness_counts_from_when_the_next_bar_was_due() -> None:
    qqq = log("QQQ", at("15m", "QQQ", {"2024-03-06 15:15": 10.0}))
    result = metrics(
        qqq, "2024-03-06 15:45", "2024-03-06 16:00", "2024-03-06 16:01", "2024-03-06 17:15", "2024-03-06 17:16"
    )
    assert result.stale_minutes.tolist() == [0.0, 15.0, 16.0, 90.0, 91.0]
    assert result.age_minutes.tolist() == [15.0, 30.0, 31.0, 105.0, 106.0]
    assert result.price.counts.tolist() == [True, True, False, False, False]
    assert result.notes.tolist() == [None, None, "stale_warn", "stale_warn", None]
    assert result.price.reasons.tolist() == [None, None, None, None, "stale"]
    assert result.change_1d.reasons.tolist()[-1] == "stale"


def test_the_feed_lag_is_no_staleness() -> None:
    dxy = log("DXY", at("15m", "DXY", {"2024-03-06 15:15": 103.0}))
    assert metrics(dxy, "2024-03-06 16:15", "2024-03-06 16:30").stale_minutes.tolist() == [0.0, 15.0]


def test_a_closed_venue_carries_its_last_values_and_says_how_old_they_are() -> None:
    qqq = log("QQQ", daily("QQQ", {"2024-03-07": 99.0, "2024-03-08": 100.0}))
    friday_close, sunday = metrics(qqq, "2024-03-08 21:00"), metrics(qqq, "2024-03-10 12:00")
    assert sunday.price.value[0] == 100.0
    assert sunday.price.counts.tolist() == [True]
    assert sunday.stale_minutes.tolist() == [0.0]
    assert sunday.age_minutes.tolist() == [39 * 60.0]
    assert sunday.is_open.tolist() == [False]
    assert friday_close.age_minutes.tolist() == [0.0]


def test_fridays_change_is_not_a_new_session_on_saturday_and_sunday() -> None:
    qqq = log("QQQ", daily("QQQ", {"2024-03-07": 99.0, "2024-03-08": 100.0}))
    weekend = metrics(qqq, "2024-03-08 21:00", "2024-03-09 12:00", "2024-03-10 12:00", "2024-03-11 13:30")
    assert weekend.change_1d.value.tolist() == [100.0 * (100.0 / 99.0 - 1.0)] * 4
    assert len(set(weekend.session.tolist())) == 1
    assert weekend.age_minutes.tolist() == sorted(weekend.age_minutes.tolist())


def test_where_only_days_exist_a_price_lasts_until_shortly_after_the_open() -> None:
    qqq = log("QQQ", daily("QQQ", {"2024-03-05": 99.0, "2024-03-06": 100.0}))
    result = metrics(qqq, "2024-03-07 14:30", "2024-03-07 15:00", "2024-03-07 16:15", "2024-03-07 16:30")
    assert result.stale_minutes.tolist() == [0.0, 15.0, 90.0, 105.0]
    assert result.price.is_null.tolist() == [False, False, False, True]
    assert result.resolution.tolist() == ["1d"] * 4


def test_a_hole_at_the_end_of_friday_is_not_older_on_sunday() -> None:
    qqq = log("QQQ", at("15m", "QQQ", {"2024-03-08 20:00": 10.0}))
    assert metrics(qqq, "2024-03-08 21:00", "2024-03-10 12:00").stale_minutes.tolist() == [30.0, 30.0]


def test_currencies_are_not_stale_before_the_source_prints_on_sunday() -> None:
    # 2024-03-10, first day of US summer time: open at 21:00 UTC, first bar of the source at 00:00 London.
    friday = at("15m", "EURUSD", {"2024-03-08 21:45": 1.09})
    result = metrics(log("EURUSD", friday), "2024-03-10 23:30", "2024-03-11 00:15", "2024-03-11 00:30")
    assert result.is_open.tolist() == [True, True, True]
    assert result.stale_minutes.tolist() == [0.0, 0.0, 15.0]


# --- the close of a session, and the change ---------------------------------------------------------------------------


def test_change_is_against_the_close_of_the_session_before_and_stays_until_the_next_first_bar() -> None:
    qqq = log(
        "QQQ",
        daily("QQQ", {"2024-03-05": 98.0, "2024-03-06": 100.0, "2024-03-07": 103.0}),
        at("15m", "QQQ", {"2024-03-07 14:30": 101.0, "2024-03-07 14:45": 102.0}),
    )
    result = metrics(qqq, "2024-03-06 21:00", "2024-03-07 14:30", "2024-03-07 14:45", "2024-03-07 15:00")
    assert result.change_1d.value.tolist() == [
        100.0 * (100.0 / 98.0 - 1.0),
        100.0 * (100.0 / 98.0 - 1.0),
        100.0 * (101.0 / 100.0 - 1.0),
        100.0 * (102.0 / 100.0 - 1.0),
    ]


def test_a_missing_close_gives_no_change_and_never_a_two_day_one() -> None:
    qqq = log("QQQ", daily("QQQ", {"2024-03-05": 98.0, "2024-03-07": 103.0}))
    assert metrics(qqq, "2024-03-07 21:00").change_1d.reasons.tolist() == ["no_previous_close"]


def test_a_missing_day_is_closed_by_the_bar_that_ends_at_the_close_and_says_so() -> None:
    bars = daily("QQQ", {"2024-03-07": 103.0})
    last_quarter = at("15m", "QQQ", {"2024-03-06 20:45": 100.0})
    result = metrics(log("QQQ", bars, last_quarter), "2024-03-07 21:00")
    assert result.change_1d.value[0] == 100.0 * (103.0 / 100.0 - 1.0)
    assert result.notes.tolist() == ["close_from_intraday"]
    last_hour = at("1h", "QQQ", {"2024-03-06 20:00": 90.0})
    for parts, close in (((last_hour, last_quarter), 100.0), ((last_hour,), 90.0)):
        result = metrics(log("QQQ", bars, *parts), "2024-03-07 21:00")
        assert result.change_1d.value[0] == 100.0 * (103.0 / close - 1.0)
    earlier = at("15m", "QQQ", {"2024-03-06 20:30": 100.0})
    assert metrics(log("QQQ", bars, earlier), "2024-03-07 21:00").change_1d.reasons.tolist() == ["no_previous_close"]


def test_a_close_that_became_known_later_never_hides_one_that_was_known_before() -> None:
    qqq = log(
        "QQQ",
        daily("QQQ", {"2024-03-05": 100.0}),
        at("15m", "QQQ", {"2024-03-06 20:45": 102.0, "2024-03-07 15:00": 104.04}),
    )
    before = metrics(qqq, "2024-03-07 15:15")
    late = daily("QQQ", {"2024-03-06": 999.0})
    late["bar_end"] += pd.Timedelta("1D")
    with_late = TickerLog(qqq.ticker, pd.concat([qqq.bars, late], ignore_index=True), qqq.actions)
    assert metrics(with_late, "2024-03-07 15:15").change_1d.value.tolist() == before.change_1d.value.tolist()
    assert before.change_1d.value[0] == pytest.approx(2.0)


def test_a_half_day_closes_at_one_oclock() -> None:
    # 2024-07-03 ends at 13:00 New York = 17:00 UTC.
    half = at("15m", "SPY", {"2024-07-03 16:45": 551.0})
    day = daily("SPY", {"2024-07-03": 551.46, "2024-07-05": 554.64})
    assert price(log("SPY", half, day), "2024-07-03 17:00") == 551.46
    result = metrics(log("SPY", half, daily("SPY", {"2024-07-05": 554.64})), "2024-07-05 20:00")
    assert result.change_1d.value[0] == 100.0 * (554.64 / 551.0 - 1.0)
    vix = log("VIX", daily("VIX", {"2024-07-03": 12.09}))
    assert metrics(vix, "2024-07-03 17:29").price.reasons.tolist() == ["no_bars"]  # 13:15 and the lag
    assert price(vix, "2024-07-03 17:30") == 12.09


def test_the_close_moves_with_the_clocks_of_new_york() -> None:
    spring = log("SPY", daily("SPY", {"2024-03-08": 511.0, "2024-03-11": 512.0}))
    assert math.isnan(price(spring, "2024-03-11 19:59"))
    assert price(spring, "2024-03-11 20:00") == 512.0  # 21:00 the Friday before
    assert price(spring, "2024-03-08 21:00") == 511.0
    autumn = log("SPY", daily("SPY", {"2024-11-01": 571.0, "2024-11-04": 570.0}))
    assert price(autumn, "2024-11-01 20:00") == 571.0
    assert price(autumn, "2024-11-04 21:00") == 570.0


def test_the_day_of_a_currency_never_gives_a_price() -> None:
    eur = log("EURUSD", daily("EURUSD", {"2024-03-05": 1.085, "2024-03-06": 1.086, "2024-03-07": 1.09}))
    assert metrics(eur, "2024-03-08 00:00", "2024-03-09 12:00").price.reasons.tolist() == ["no_bars", "no_bars"]


def test_the_close_of_a_currency_session_is_the_last_intraday_bar_and_not_noted() -> None:
    eur = log(
        "EURUSD",
        at("15m", "EURUSD", {"2024-03-06 21:45": 1.09, "2024-03-07 12:00": 1.10}),
        daily("EURUSD", {"2024-03-07": 1.6}),
    )
    result = metrics(eur, "2024-03-07 12:15")
    assert result.change_1d.value[0] == 100.0 * (1.10 / 1.09 - 1.0)
    assert result.notes.tolist() == [None]


def test_a_currency_close_without_intraday_is_the_next_day_row_once_that_is_complete() -> None:
    rows = daily("EURUSD", {"2024-03-07": 1.08, "2024-03-08": 1.09})
    # The session of 7 March ends at 22:00 UTC. The row of 8 March is its close, complete at 24:00 London of 8 March.
    before, after = (
        metrics(log("EURUSD", rows, at("15m", "EURUSD", {time: 1.10})), end)
        for time, end in (("2024-03-08 14:45", "2024-03-08 15:00"), ("2024-03-08 21:30", "2024-03-09 00:00"))
    )
    assert before.change_1d.reasons.tolist() == ["no_previous_close"]
    assert after.change_1d.value[0] == 100.0 * (1.10 / 1.09 - 1.0)
    assert after.notes.tolist() == ["approximate"]


def test_over_a_holiday_the_next_currency_day_is_the_next_session() -> None:
    # The session of 2024-12-24 is followed by the one of 2024-12-26; the row of 25 December is not asked.
    series = TickerSeries.prepare(log("EURUSD", daily("EURUSD", {"2024-12-26": 1.04, "2024-12-27": 1.05})))
    row = int(np.searchsorted(series.table.label, np.datetime64("2024-12-24")))
    assert series.closes.close[row] == 1.04
    assert series.closes.known_us[row] == us("2024-12-27 00:00")


# --- volatility -------------------------------------------------------------------------------------------------------


def _twenty_one_days() -> dict[str, float]:
    return {label: 100.0 * 1.01**i + i % 3 for i, label in enumerate(labels("QQQ", "2024-02-06", "2024-03-07"))}


def test_volatility_is_the_deviation_of_the_last_20_completed_returns() -> None:
    closes = list(_twenty_one_days().values())[-21:]
    expected = 100.0 * float(np.std(np.diff(np.log(closes)), ddof=1))
    result = metrics(log("QQQ", daily("QQQ", _twenty_one_days())), "2024-03-07 21:00", "2024-03-08 20:59")
    assert result.volatility.value == pytest.approx([expected, expected], rel=1e-13)


def test_the_running_session_is_not_in_the_volatility() -> None:
    days = {**_twenty_one_days(), "2024-03-08": 500.0}
    with_it, without = (metrics(log("QQQ", daily("QQQ", d)), "2024-03-08 20:59") for d in (days, _twenty_one_days()))
    assert with_it.volatility.value.tolist() == without.volatility.value.tolist()


def test_one_missing_close_removes_two_returns_and_18_of_20_are_enough() -> None:
    days = _twenty_one_days()
    window = list(days)[-21:]
    one_gap = {label: close for label, close in days.items() if label != window[10]}
    closes = np.log([days[label] for label in window])
    returns = np.delete(np.diff(closes), [9, 10])
    result = metrics(log("QQQ", daily("QQQ", one_gap)), "2024-03-07 21:00")
    assert result.volatility.value[0] == pytest.approx(100.0 * float(np.std(returns, ddof=1)), rel=1e-13)
    two_gaps = {label: close for label, close in one_gap.items() if label != window[15]}
    result = metrics(log("QQQ", daily("QQQ", two_gaps)), "2024-03-07 21:00")
    assert result.volatility.reasons.tolist() == ["16_of_20_returns"]


def test_volatility_is_fresh_only_with_the_last_sessions_close() -> None:
    days = _twenty_one_days()
    earlier = {label: close for label, close in days.items() if label != "2024-03-07"}
    assert metrics(log("QQQ", daily("QQQ", days)), "2024-03-08 12:00").volatility.counts.tolist() == [True]
    result = metrics(log("QQQ", daily("QQQ", earlier)), "2024-03-08 12:00")
    assert not result.volatility.is_null[0]
    assert result.volatility.counts.tolist() == [False]


def test_a_quiet_market_has_a_volatility_of_zero() -> None:
    flat = dict.fromkeys(_twenty_one_days(), 0.1)
    assert metrics(log("QQQ", daily("QQQ", flat)), "2024-03-07 21:00").volatility.value.tolist() == [0.0]


def test_an_empty_grid_gives_empty_metrics() -> None:
    result = TickerSeries.prepare(log("QQQ", walk("QQQ", "1d", "2024-03-01", "2024-03-08"))).at(
        observation_grid(0, 0, 30), LIMITS
    )
    assert len(result.price.value) == len(result.volatility.value) == len(result.notes) == 0
    assert no_bars().empty
