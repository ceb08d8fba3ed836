"""Tests of the venue calendars on fixed days, half days, holidays and in both DST weeks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from market_assets.calendars import (
    ALLOWED_INTERVALS,
    FIRST_DAY,
    LAST_DAY,
    US_PER_DAY,
    from_us,
    observation_grid,
    to_us,
    venue_calendar,
)
from market_assets.errors import CalendarRangeError, NaiveTimestampError
from market_assets.sources.base import Interval
from market_assets.universe import UNIVERSE

VENUES = ("XNYS", "FX", "CBOE_INDEX", "ICE_USDX", "UTC_24_7")
INTRADAY = (Interval.M15, Interval.H1)
NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> int:
    """Microseconds of an ISO time, UTC."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def new_york(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK))


def session(venue: str, label: str) -> tuple[str, str] | None:
    """New York wall-clock open and close of one session, or None."""
    day = date.fromisoformat(label)
    table = venue_calendar(venue).sessions(day, day)
    if not len(table.label):
        return None
    opened, closed = (from_us(int(column[0])).astimezone(NEW_YORK) for column in table[1:])
    return opened.strftime("%a %m-%d %H:%M"), closed.strftime("%a %m-%d %H:%M")


def bar_starts(venue: str, interval: Interval, start: str, end: str) -> list[str]:
    """New York wall-clock starts of the bars expected between two New York times."""
    starts, _ = venue_calendar(venue).expected_bars(interval, new_york(start), new_york(end))
    return [from_us(us).astimezone(NEW_YORK).strftime("%m-%d %H:%M") for us in starts.tolist()]


# --- instants and the grid -------------------------------------------------------------------------------------------


def test_microseconds_and_datetimes_convert_exactly_both_ways() -> None:
    instant = datetime(2026, 8, 28, 13, 30, 0, 123457, tzinfo=UTC)
    assert from_us(to_us(instant)) == instant
    assert to_us(instant.astimezone(NEW_YORK)) == to_us(instant)
    assert from_us(to_us(instant)).tzinfo is UTC


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(NaiveTimestampError, match="no time zone"):
        to_us(datetime(2026, 8, 28, 13, 30))  # noqa: DTZ001 - the naive value is the point


def test_the_observation_grid_is_counted_from_midnight_utc_and_half_open() -> None:
    grid = observation_grid(utc("2026-08-28 00:10"), utc("2026-08-28 02:00"), 30)
    assert [from_us(us).strftime("%H:%M") for us in grid.tolist()] == ["00:30", "01:00", "01:30"]
    assert observation_grid(utc("2026-08-28"), utc("2026-08-29"), 180)[:2].tolist() == [
        utc("2026-08-28 00:00"),
        utc("2026-08-28 03:00"),
    ]


def test_every_allowed_interval_has_the_same_grid_on_every_day() -> None:
    for minutes in ALLOWED_INTERVALS:
        one = observation_grid(utc("2026-03-08"), utc("2026-03-09"), minutes)
        other = observation_grid(utc("2026-03-09"), utc("2026-03-10"), minutes)
        assert len(one) == 1440 // minutes
        assert np.array_equal(one + US_PER_DAY, other)


@pytest.mark.parametrize(("start", "end"), [("2026-08-28", "2026-08-28"), ("2026-08-29", "2026-08-28")])
def test_an_empty_or_reversed_window_has_no_observation_times(start: str, end: str) -> None:
    assert observation_grid(utc(start), utc(end), 30).tolist() == []


def test_an_interval_that_does_not_divide_the_day_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"interval_minutes=45.*15, 30, 60"):
        observation_grid(0, 1, 45)


# --- registry and coverage -------------------------------------------------------------------------------------------


def test_every_ticker_has_a_calendar_and_it_is_built_once() -> None:
    for ticker in UNIVERSE:
        assert venue_calendar(ticker.venue).key == ticker.venue
        assert venue_calendar(ticker.venue) is venue_calendar(ticker.venue)


def test_an_unknown_venue_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"XLON.*XNYS, FX"):
        venue_calendar("XLON")


def test_the_calendars_reach_two_years_beyond_today() -> None:
    assert datetime.now(UTC).date() + timedelta(days=731) <= LAST_DAY


@pytest.mark.parametrize("venue", VENUES)
def test_a_question_about_a_time_outside_of_the_calendar_is_an_error_not_a_guess(venue: str) -> None:
    calendar = venue_calendar(venue)
    with pytest.raises(CalendarRangeError, match=rf"start=2014-12-31.*{venue}.*2015-01-01 to 2040-12-31"):
        calendar.sessions(FIRST_DAY - timedelta(days=1), FIRST_DAY)
    for outside in (utc("2014-12-01"), utc("2041-02-01")):
        with pytest.raises(CalendarRangeError, match=r"instant=20"):
            calendar.open_minutes(outside, utc("2020-01-01"))
        with pytest.raises(CalendarRangeError):
            calendar.is_open([utc("2020-01-01"), outside])
        with pytest.raises(CalendarRangeError):
            calendar.expected_bars("15m", outside, outside)


def test_the_tables_handed_out_cannot_be_written_to() -> None:
    table = venue_calendar("XNYS").sessions(date(2026, 8, 28), date(2026, 8, 28))
    with pytest.raises(ValueError, match="read-only"):
        table.open_us[0] = 0


# --- fixed days ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "label", "expected"),
    [
        # a normal open day
        ("XNYS", "2026-08-28", ("Fri 08-28 09:30", "Fri 08-28 16:00")),
        ("CBOE_INDEX", "2026-08-28", ("Fri 08-28 09:30", "Fri 08-28 16:15")),
        ("FX", "2026-08-28", ("Thu 08-27 17:00", "Fri 08-28 17:00")),
        ("ICE_USDX", "2026-08-28", ("Thu 08-27 19:00", "Fri 08-28 17:00")),
        # half days: the day after Thanksgiving and 3 July
        ("XNYS", "2024-11-29", ("Fri 11-29 09:30", "Fri 11-29 13:00")),
        ("CBOE_INDEX", "2024-11-29", ("Fri 11-29 09:30", "Fri 11-29 13:15")),
        ("ICE_USDX", "2024-11-29", ("Thu 11-28 19:00", "Fri 11-29 17:00")),
        ("XNYS", "2025-07-03", ("Thu 07-03 09:30", "Thu 07-03 13:00")),
        ("CBOE_INDEX", "2025-07-03", ("Thu 07-03 09:30", "Thu 07-03 13:15")),
        # ad-hoc closure of NYSE
        ("XNYS", "2025-01-09", None),
        ("CBOE_INDEX", "2025-01-09", None),
        ("ICE_USDX", "2025-01-09", None),
        ("FX", "2025-01-09", ("Wed 01-08 17:00", "Thu 01-09 17:00")),
        # NYSE shut, ICE open: Yahoo has no daily row of the index, so it is no session
        ("XNYS", "2025-06-19", None),
        ("CBOE_INDEX", "2025-06-19", None),
        ("ICE_USDX", "2025-06-19", None),
        ("FX", "2025-06-19", ("Wed 06-18 17:00", "Thu 06-19 17:00")),
        ("ICE_USDX", "2025-06-20", ("Thu 06-19 19:00", "Fri 06-20 17:00")),
        # Monday
        ("ICE_USDX", "2026-08-31", ("Sun 08-30 18:00", "Mon 08-31 17:00")),
        ("FX", "2026-08-31", ("Sun 08-30 17:00", "Mon 08-31 17:00")),
        # 25 December and 1 January
        ("FX", "2025-12-24", ("Tue 12-23 17:00", "Wed 12-24 17:00")),
        ("FX", "2025-12-25", None),
        ("FX", "2025-12-26", ("Thu 12-25 17:00", "Fri 12-26 17:00")),
        ("FX", "2026-01-01", None),
        ("FX", "2026-01-02", ("Thu 01-01 17:00", "Fri 01-02 17:00")),
        # weekends
        ("FX", "2026-08-29", None),
        ("FX", "2026-08-30", None),
    ],
)
def test_a_session_opens_and_closes_at_the_venues_hours(
    venue: str, label: str, expected: tuple[str, str] | None
) -> None:
    assert session(venue, label) == expected


def test_every_utc_day_is_a_session_of_crypto() -> None:
    table = venue_calendar("UTC_24_7").sessions(date(2024, 2, 28), date(2024, 3, 1))
    assert table.label.astype(str).tolist() == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert table.open_us.tolist() == [utc("2024-02-28"), utc("2024-02-29"), utc("2024-03-01")]
    assert table.close_us.tolist() == [utc("2024-02-29"), utc("2024-03-01"), utc("2024-03-02")]


def test_currencies_are_shut_on_christmas_until_17_new_york() -> None:
    calendar = venue_calendar("FX")
    at = [new_york(f"2025-12-{text}") for text in ("24T16:59", "24T17:00", "25T16:59", "25T17:00")]
    assert calendar.is_open(at).tolist() == [True, False, False, True]
    assert calendar.open_minutes(at[1], at[3]) == 0.0
    assert calendar.open_minutes(new_york("2025-12-31T17:00"), new_york("2026-01-01T17:00")) == 0.0


@pytest.mark.parametrize(
    ("venue", "label", "before", "after"),
    [
        # New York springs forward on 2026-03-08, London on 2026-03-29
        ("XNYS", "2026-03-06", ("14:30", "21:00"), None),
        ("XNYS", "2026-03-09", None, ("13:30", "20:00")),
        ("FX", "2026-03-06", ("22:00", "22:00"), None),
        ("FX", "2026-03-09", None, ("21:00", "21:00")),
        ("ICE_USDX", "2026-03-06", ("00:00", "22:00"), None),
        ("ICE_USDX", "2026-03-09", None, ("22:00", "21:00")),
        # London falls back on 2025-10-26, New York on 2025-11-02
        ("XNYS", "2025-10-31", ("13:30", "20:00"), None),
        ("XNYS", "2025-11-03", None, ("14:30", "21:00")),
        ("FX", "2025-10-31", ("21:00", "21:00"), None),
        ("FX", "2025-11-03", None, ("22:00", "22:00")),
        ("ICE_USDX", "2025-10-31", ("23:00", "21:00"), None),
        ("ICE_USDX", "2025-11-03", None, ("23:00", "22:00")),
    ],
)
def test_sessions_follow_new_york_through_both_dst_weeks(
    venue: str, label: str, before: tuple[str, str] | None, after: tuple[str, str] | None
) -> None:
    day = date.fromisoformat(label)
    table = venue_calendar(venue).sessions(day, day)
    hours = tuple(from_us(int(column[0])).strftime("%H:%M") for column in table[1:])
    assert hours == (before or after)


def test_the_ex_date_begins_at_midnight_of_the_venue() -> None:
    assert venue_calendar("XNYS").day_start_us(date(2026, 1, 15)) == utc("2026-01-15 05:00")
    assert venue_calendar("XNYS").day_start_us(date(2026, 7, 15)) == utc("2026-07-15 04:00")
    assert venue_calendar("UTC_24_7").day_start_us(date(2026, 7, 15)) == utc("2026-07-15 00:00")


def test_sessions_between_two_instants_are_those_that_overlap_the_half_open_window() -> None:
    calendar = venue_calendar("XNYS")
    opened, closed = new_york("2026-08-28T09:30"), new_york("2026-08-28T16:00")
    assert len(calendar.sessions_between_us(opened - 1, opened).label) == 0
    assert len(calendar.sessions_between_us(opened, opened + 1).label) == 1
    assert len(calendar.sessions_between_us(closed - 1, closed).label) == 1
    assert len(calendar.sessions_between_us(closed, closed + 1).label) == 0
    assert len(calendar.sessions_between_us(opened + 5, opened + 5).label) == 0
    assert len(calendar.sessions_between_us(closed, opened).label) == 0


# --- expected bars ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "interval", "day", "expected"),
    [
        ("XNYS", Interval.H1, "2026-08-28", "09:30 10:30 11:30 12:30 13:30 14:30 15:30"),
        ("XNYS", Interval.H1, "2024-11-29", "09:30 10:30 11:30 12:30"),
        ("CBOE_INDEX", Interval.H1, "2026-08-28", "10:00 11:00 12:00 13:00 14:00 15:00 16:00"),
        ("CBOE_INDEX", Interval.H1, "2025-07-03", "10:00 11:00 12:00 13:00"),
        ("XNYS", Interval.M15, "2025-01-09", ""),
        ("CBOE_INDEX", Interval.M15, "2025-06-19", ""),
    ],
)
def test_hourly_bars_begin_where_the_source_begins_them(
    venue: str, interval: Interval, day: str, expected: str
) -> None:
    starts = bar_starts(venue, interval, f"{day}T00:00", f"{day}T23:59")
    assert [text[6:] for text in starts] == expected.split()


def test_the_last_bar_of_a_session_ends_at_the_close_however_short_it_is() -> None:
    day = ("2026-08-28T00:00", "2026-08-28T23:00")
    for venue, interval, last_start, close in (
        ("XNYS", Interval.H1, "15:30", "16:00"),
        ("XNYS", Interval.M15, "15:45", "16:00"),
        ("CBOE_INDEX", Interval.H1, "16:00", "16:15"),
        ("CBOE_INDEX", Interval.M15, "16:00", "16:15"),
    ):
        starts, ends = venue_calendar(venue).expected_bars(interval, *(new_york(text) for text in day))
        assert starts[-1] == new_york(f"2026-08-28T{last_start}")
        assert ends[-1] == new_york(f"2026-08-28T{close}")


def test_quarter_hour_bars_of_the_vix_run_from_the_open_to_quarter_past_four() -> None:
    starts = bar_starts("CBOE_INDEX", Interval.M15, "2026-08-28T00:00", "2026-08-29T00:00")
    assert (len(starts), starts[0], starts[-1]) == (27, "08-28 09:30", "08-28 16:00")


def test_bars_belong_to_the_window_that_holds_their_start() -> None:
    calendar = venue_calendar("XNYS")
    start = new_york("2026-08-28T10:30")
    assert calendar.expected_bars("1h", start, start + 1)[0].tolist() == [start]
    assert calendar.expected_bars("1h", start + 1, start + 2)[0].tolist() == []
    assert calendar.expected_bars("1h", start, start)[0].tolist() == []
    assert calendar.expected_bars("1d", start, start - US_PER_DAY)[0].tolist() == []


def test_an_interval_without_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="30m"):
        venue_calendar("XNYS").expected_bars("30m", utc("2026-01-01"), utc("2026-01-02"))


@pytest.mark.parametrize(
    ("sunday", "first"),
    [
        ("2026-08-30", "08-30 19:00"),  # both in summer time
        ("2026-01-11", "01-11 19:00"),  # both in winter time
        ("2026-03-15", "03-15 20:00"),  # New York already in summer time, London not yet
        ("2025-10-26", "10-26 20:00"),  # London already in winter time, New York not yet
    ],
)
def test_currency_bars_of_a_monday_begin_at_midnight_in_london(sunday: str, first: str) -> None:
    monday = (date.fromisoformat(sunday) + timedelta(days=1)).isoformat()
    for interval in INTRADAY:
        starts = bar_starts("FX", interval, f"{sunday}T00:00", f"{monday}T17:00")
        assert starts[0] == first
    assert session("FX", monday) == (f"Sun {sunday[5:]} 17:00", f"Mon {monday[5:]} 17:00")


def test_currency_bars_resume_at_17_new_york_on_christmas_day() -> None:
    assert bar_starts("FX", Interval.H1, "2025-12-24T15:30", "2025-12-25T18:30") == [
        "12-24 16:00",
        "12-25 17:00",
        "12-25 18:00",
    ]


def test_a_daily_currency_row_is_a_london_day_that_is_not_shut() -> None:
    starts, ends = venue_calendar("FX").expected_bars("1d", utc("2026-03-26"), utc("2026-04-01"))
    utc_starts = [from_us(us).strftime("%m-%d %H:%M") for us in starts.tolist()]
    assert utc_starts == ["03-26 00:00", "03-27 00:00", "03-29 23:00", "03-30 23:00", "03-31 23:00"]
    # 23 hours would be wrong: the day on which the clock changes is a Sunday
    assert set((ends - starts).tolist()) == {US_PER_DAY}
    labels = [from_us(us + US_PER_DAY // 2).date().isoformat() for us in starts.tolist()]
    assert labels == ["2026-03-26", "2026-03-27", "2026-03-30", "2026-03-31", "2026-04-01"]
    assert len(venue_calendar("FX").expected_bars("1d", utc("2025-12-25"), utc("2025-12-26"))[0]) == 0


@pytest.mark.parametrize("venue", ["XNYS", "CBOE_INDEX", "ICE_USDX", "UTC_24_7"])
def test_a_daily_bar_spans_its_session(venue: str) -> None:
    calendar = venue_calendar(venue)
    starts, ends = calendar.expected_bars("1d", utc("2015-02-01"), utc("2040-12-01"))
    table = calendar.sessions_between_us(utc("2015-02-01"), utc("2040-12-01"))
    inside = table.open_us >= utc("2015-02-01")
    assert np.array_equal(starts, table.open_us[inside])
    assert np.array_equal(ends, table.close_us[inside])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # a normal Wednesday: 19:00 to 17:00, nothing in the two hours after the close
        ("2026-08-26T15:00", "2026-08-26T20:00", ["08-26 15:00", "08-26 16:00", "08-26 19:00"]),
        # Thanksgiving: nothing from Wednesday's close, not even in Thursday's evening; Friday keeps NYSE's half day
        (
            "2024-11-27T16:00",
            "2024-12-01T19:00",
            ["11-27 16:00", "11-29 09:30", "11-29 10:30", "11-29 11:30", "11-29 12:30", "12-01 18:00"],
        ),
        # Christmas Eve: the evening before and NYSE's half day
        (
            "2024-12-23T22:30",
            "2024-12-26T01:00",
            ["12-23 23:00", "12-24 09:30", "12-24 10:30", "12-24 11:30", "12-24 12:30", "12-26 00:00"],
        ),
        # Labor Day, a Monday: nothing from Friday's close to Tuesday 00:00
        ("2026-09-04T16:00", "2026-09-08T01:30", ["09-04 16:00", "09-08 00:00", "09-08 01:00"]),
    ],
)
def test_dollar_index_bars_are_expected_when_the_source_has_them(start: str, end: str, expected: list[str]) -> None:
    assert bar_starts("ICE_USDX", Interval.H1, start, end) == expected
