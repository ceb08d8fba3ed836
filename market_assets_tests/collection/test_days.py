from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from market_assets.collection.days import DayRange, whole_days
from market_assets.errors import NaiveTimestampError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_range_counts_both_ends() -> None:
    days = DayRange(date(2026, 2, 27), date(2026, 3, 1))
    assert list(days) == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)]
    assert len(days) == 3
    assert days.end == at("2026-03-02")


def test_a_range_is_split_from_its_first_day_on_and_nothing_is_lost() -> None:
    days = DayRange(date(2026, 2, 25), date(2026, 3, 3))
    parts = days.split(3)
    assert [(one.first.day, one.last.day) for one in parts] == [(25, 27), (28, 2), (3, 3)]
    assert [day for one in parts for day in one] == list(days)
    assert days.split(7) == days.split(400) == [days]


def test_a_reversed_range_is_refused() -> None:
    with pytest.raises(ValueError, match="swap them"):
        DayRange(date(2026, 3, 1), date(2026, 2, 28))


def test_the_first_day_of_a_rolling_limit_is_partial_and_no_scope() -> None:
    days = whole_days(at("2026-01-01T09:30:01"), at("2026-01-04"), at("2026-01-10"))
    assert days == [date(2026, 1, 2), date(2026, 1, 3)]


def test_today_counts_up_to_the_start_of_the_request() -> None:
    fetched_at = at("2026-01-03T14:31:07")
    assert whole_days(at("2026-01-02"), fetched_at, fetched_at) == [date(2026, 1, 2), date(2026, 1, 3)]


def test_a_window_that_ends_before_the_request_leaves_its_last_day_out() -> None:
    assert whole_days(at("2026-01-02"), at("2026-01-03T10:00"), at("2026-01-03T14:31")) == [date(2026, 1, 2)]


def test_naive_instants_are_refused() -> None:
    with pytest.raises(NaiveTimestampError, match="time zone"):
        whole_days(datetime(2026, 1, 1), at("2026-01-02"), at("2026-01-03"))  # noqa: DTZ001 - the point
