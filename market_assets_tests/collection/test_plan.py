from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from market_assets.collection.days import DayRange
from market_assets.collection.plan import Limits, plan_requests
from market_assets.sources.base import FetchRequest, Interval
from market_assets.universe import UNIVERSE

NOW = datetime(2026, 11, 18, 14, 31, tzinfo=UTC)  # a Wednesday
TOMORROW = datetime(2026, 11, 19, tzinfo=UTC)
LIMITS = Limits(NOW - timedelta(days=60), NOW - timedelta(days=730))
TODAY = DayRange.of(NOW)
QQQ, BTC, VIX, DXY = (UNIVERSE[name] for name in ("QQQ", "BTC", "VIX", "DXY"))


def windows(requests: list[FetchRequest]) -> dict[str, tuple[date, datetime]]:
    return {request.interval.value: (request.start.date(), request.end) for request in requests}


def held(upto: datetime) -> dict[Interval, dict[date, datetime]]:
    days = {upto.date() - timedelta(days=back): upto for back in range(900)}
    return {Interval.D1: dict(days), Interval.M15: dict(days), Interval.H1: dict(days)}


def test_the_first_collection_loads_the_whole_look_back() -> None:
    planned = windows(plan_requests(QQQ, TODAY, NOW, {}, LIMITS))
    assert planned["1d"] == (date(2025, 10, 14), TOMORROW)
    # the limit rolls by the second: its first day, the 19th, is partial and left to 1h bars; the 20th is a Sunday
    assert planned["15m"] == (date(2026, 9, 21), TOMORROW)
    assert planned["1h"] == (date(2025, 10, 14), datetime(2026, 9, 20, tzinfo=UTC))


def test_an_ordinary_tick_asks_for_today_only_with_one_request_per_interval() -> None:
    fetched = held(NOW - timedelta(minutes=30))
    planned = windows(plan_requests(QQQ, TODAY, NOW, fetched, LIMITS))
    assert planned == {"1d": (NOW.date(), TOMORROW), "15m": (NOW.date(), TOMORROW)}


def test_the_first_tick_of_a_day_asks_for_the_end_of_the_day_before_too() -> None:
    midnight = datetime(2026, 11, 18, 0, 1, tzinfo=UTC)
    fetched = held(datetime(2026, 11, 17, 23, 31, tzinfo=UTC))
    planned = windows(plan_requests(BTC, DayRange.of(midnight), midnight, fetched, LIMITS))
    assert planned["15m"][0] == date(2026, 11, 17)
    assert planned["1d"][0] == date(2026, 11, 17)


def test_a_closed_venue_leaves_nothing_to_heal_at_midnight() -> None:
    midnight = datetime(2026, 11, 18, 0, 1, tzinfo=UTC)
    fetched = held(datetime(2026, 11, 17, 23, 31, tzinfo=UTC))
    planned = windows(plan_requests(QQQ, DayRange.of(midnight), midnight, fetched, LIMITS))
    assert planned["15m"][0] == date(2026, 11, 18)


def test_a_feed_that_lags_is_asked_again_until_its_last_bar_is_due() -> None:
    fetched = held(datetime(2026, 11, 17, 21, 20, tzinfo=UTC))  # VIX closed 21:15, published 21:30
    planned = windows(plan_requests(VIX, TODAY, NOW, fetched, LIMITS))
    assert planned["15m"][0] == date(2026, 11, 17)


def test_what_a_lagging_feed_has_published_by_midnight_does_not_wait_for_the_rest_of_its_day() -> None:
    # The dollar index trades at midnight: until 23:30 it is published at 00:00, until 24:00 half an hour later.
    midnight = datetime(2026, 7, 15, 0, 1, tzinfo=UTC)
    limits = Limits(midnight - timedelta(days=60), midnight - timedelta(days=730))
    for minutes, first in ((0, date(2026, 7, 14)), (30, date(2026, 7, 14)), (60, date(2026, 7, 15))):
        now = midnight + timedelta(minutes=minutes)
        planned = windows(plan_requests(DXY, DayRange.of(now), now, held(now - timedelta(minutes=30)), limits))
        assert planned["15m"][0] == first, now


def test_an_outage_of_three_days_is_asked_for_at_once() -> None:
    fetched = held(datetime(2026, 11, 14, 12, 0, tzinfo=UTC))
    planned = windows(plan_requests(BTC, TODAY, NOW, fetched, LIMITS))
    assert planned["15m"][0] == date(2026, 11, 14)


def test_a_backfill_beyond_730_days_asks_for_daily_bars_only() -> None:
    planned = windows(plan_requests(QQQ, DayRange(date(2020, 3, 2), date(2020, 3, 31)), NOW, {}, LIMITS))
    assert list(planned) == ["1d"]
    assert planned["1d"] == (date(2019, 1, 28), datetime(2020, 4, 1, tzinfo=UTC))


def test_a_range_across_the_60_day_limit_asks_1h_before_and_15m_after_it() -> None:
    days = DayRange(date(2026, 8, 1), date(2026, 10, 15))
    planned = windows(plan_requests(QQQ, days, NOW, held(NOW), LIMITS))
    assert planned["1h"] == (date(2026, 8, 1), datetime(2026, 9, 20, tzinfo=UTC))
    assert planned["15m"] == (date(2026, 9, 20), datetime(2026, 10, 16, tzinfo=UTC))


def test_days_once_held_in_15m_are_not_asked_again_in_1h_when_the_limit_has_moved_past_them() -> None:
    fetched = held(NOW - timedelta(minutes=30))
    fetched[Interval.H1] = {day: when for day, when in fetched[Interval.H1].items() if day < date(2026, 9, 10)}
    assert "1h" not in windows(plan_requests(QQQ, TODAY, NOW, fetched, LIMITS))
