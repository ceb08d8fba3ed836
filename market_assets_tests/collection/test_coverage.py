"""The state of every bar that the calendar expects, judged from what is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_assets.calendars import to_us, venue_calendar
from market_assets.collection.calendar_map import LEGEND, MARKS, calendar_map, shown_state, states_by_day
from market_assets.collection.coverage import (
    FAILED,
    HOLE,
    LATE,
    OK,
    PENDING,
    PRECEDENCE,
    REVISED,
    REVISED_VOLUME,
    Rules,
    StoredBars,
    bars_are_due,
    judge_days,
    late_after,
    with_holes_since,
    worst,
)
from market_assets.collection.days import DayRange
from market_assets.collection.holes import is_due
from market_assets.settings import Settings
from market_assets.sources.base import FetchRequest, Interval
from market_assets.store import DayState, LedgerEntry
from market_assets.universe import UNIVERSE

QQQ, VIX, BTC = UNIVERSE["QQQ"], UNIVERSE["VIX"], UNIVERSE["BTC"]
#: a Wednesday, the day of Thanksgiving, a half day, a Saturday
WEDNESDAY, HOLIDAY, HALF_DAY, SATURDAY = (date(2024, 11, day) for day in (27, 28, 29, 30))
RULES = Rules(timedelta(minutes=61), datetime(2024, 1, 1, tzinfo=UTC))
LATER = datetime(2024, 12, 10, tzinfo=UTC)
SETTINGS = Settings.load()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def stored(
    day: date, *, without: tuple[int, ...] = (), late: tuple[int, ...] = (), revised: dict[int, bool] | None = None
) -> StoredBars:
    """QQQ's 15m bars of a day; `revised` says by position whether a price was revised, or the volume only."""
    start = to_us(datetime(day.year, day.month, day.day, tzinfo=UTC))
    starts, ends = venue_calendar("XNYS").expected_bars(Interval.M15, start, start + 86_400_000_000)
    known = ends + 60_000_000
    known[list(late)] += 2 * 3_600_000_000
    changed = np.isin(np.arange(len(starts)), list(revised or {}))
    repriced = np.isin(np.arange(len(starts)), [at for at, price in (revised or {}).items() if price])
    kept = np.setdiff1d(np.arange(len(starts)), without)
    return StoredBars(starts[kept], known[kept], np.ones(len(kept), dtype=np.bool_), changed[kept], repriced[kept])


def judge(
    day: date,
    bars: StoredBars,
    *,
    asked: datetime | None = LATER,
    failure: str = "",
    now: datetime = LATER,
    rules: Rules = RULES,
) -> LedgerEntry:
    [entry] = judge_days(
        QQQ,
        Interval.M15,
        [day],
        bars,
        asked_at={} if asked is None else {day: asked},
        failure=failure,
        now=now,
        rules=rules,
    )
    return entry


# --- one day ----------------------------------------------------------------------------------------------------------


def test_a_whole_day_is_ok_a_half_day_too_and_a_holiday_is_closed() -> None:
    whole = judge(WEDNESDAY, stored(WEDNESDAY))
    assert (whole.state, whole.slots, whole.detail) == (DayState.OK, OK * 26, "")
    half = judge(HALF_DAY, stored(HALF_DAY))
    assert (half.state, half.slots) == (DayState.OK, OK * 14)
    for shut in (HOLIDAY, SATURDAY):
        closed = judge(shut, StoredBars.none())
        assert (closed.state, closed.slots) == (DayState.CLOSED, "")


def test_a_session_that_the_source_lost_is_a_hole_and_not_a_holiday() -> None:
    lost = judge(WEDNESDAY, StoredBars.none())
    assert (lost.state, lost.slots) == (DayState.HOLE_AT_SOURCE, HOLE * 26)
    assert lost.detail == "26 of 26 bars missing at the source"


def test_a_day_that_was_not_answered_since_its_bars_were_due_is_not_fetched() -> None:
    failed = judge(WEDNESDAY, stored(WEDNESDAY, without=(25,)), asked=utc("2024-11-27T20:31"), failure="timeout: slow")
    assert (failed.state, failed.slots) == (DayState.FETCH_FAILED, OK * 25 + FAILED)
    assert failed.detail == "1 of 26 bars not fetched: timeout: slow"
    never = judge(WEDNESDAY, StoredBars.none(), asked=None)
    assert (never.state, never.slots) == (DayState.FETCH_FAILED, FAILED * 26)
    assert never.detail == "26 of 26 bars not fetched: not asked for since they were due"


def test_a_bar_that_is_hardly_due_is_pending_and_neither_missing_nor_late() -> None:
    now = utc("2024-11-27T15:00")
    running = judge(WEDNESDAY, stored(WEDNESDAY, without=tuple(range(1, 26))), asked=now, now=now)
    assert (running.state, running.slots) == (DayState.OK, OK + PENDING * 25)
    missing = judge(WEDNESDAY, StoredBars.none(), asked=now, now=now)
    assert (missing.state, missing.slots) == (DayState.HOLE_AT_SOURCE, HOLE + PENDING * 25)
    before = judge(WEDNESDAY, StoredBars.none(), asked=utc("2024-11-27T14:31"), now=utc("2024-11-27T14:31"))
    assert (before.state, before.detail) == (DayState.CLOSED, "none of 26 bars is due yet")


def test_late_and_revised_bars_are_told_and_revised_comes_first() -> None:
    entry = judge(WEDNESDAY, stored(WEDNESDAY, late=(3, 4), revised={4: True, 5: False}))
    assert entry.slots == OK * 3 + LATE + REVISED + REVISED_VOLUME + OK * 20
    assert (entry.state, entry.detail) == (DayState.REVISED, "2 revised, 1 late")
    volumes = judge(WEDNESDAY, stored(WEDNESDAY, revised={0: False}))
    assert (volumes.state, volumes.detail) == (DayState.REVISED, "1 revised in their volume")
    assert shown_state(volumes) is DayState.OK
    assert shown_state(entry) is DayState.REVISED


def test_what_a_backfill_brings_is_not_late() -> None:
    early = Rules(timedelta(minutes=61), LATER)
    assert judge(WEDNESDAY, stored(WEDNESDAY, late=(3, 4)), rules=early).state is DayState.OK
    assert judge(WEDNESDAY, stored(WEDNESDAY, late=(3,)), rules=Rules(RULES.late_after, None)).state is DayState.OK
    assert judge(WEDNESDAY, stored(WEDNESDAY, late=(3,))).state is DayState.LATE


def test_a_withdrawn_bar_is_a_hole() -> None:
    whole = stored(WEDNESDAY)
    whole.held[7] = False
    assert judge(WEDNESDAY, whole).slots == OK * 7 + HOLE + OK * 18


def test_a_feed_lag_delays_what_is_due() -> None:
    def first_due(now: str) -> str | None:
        entries = judge_days(
            VIX,
            Interval.M15,
            [WEDNESDAY],
            StoredBars.none(),
            asked_at={WEDNESDAY: utc(now)},
            failure="",
            now=utc(now),
            rules=RULES,
        )
        return entries[0].slots

    assert first_due("2024-11-27T15:14") == PENDING * 27
    assert first_due("2024-11-27T15:15") == HOLE + PENDING * 26


@settings(max_examples=60, deadline=None)
@given(
    held=st.sets(st.integers(0, 25)),
    late=st.sets(st.integers(0, 25)),
    revised=st.dictionaries(st.integers(0, 25), st.booleans()),
    asked=st.one_of(st.none(), st.datetimes(datetime(2024, 11, 26), datetime(2024, 11, 29), timezones=st.just(UTC))),  # noqa: DTZ001
    wait=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_every_expected_bar_has_exactly_one_state_and_the_day_the_worst_of_them(
    held: set[int], late: set[int], revised: dict[int, bool], asked: datetime | None, wait: timedelta
) -> None:
    missing = tuple(sorted(set(range(26)) - held))
    now = (asked or utc("2024-11-27T14:30")) + wait
    bars = stored(WEDNESDAY, without=missing, late=tuple(late), revised=revised)
    entry = judge(WEDNESDAY, bars, asked=asked, now=now)
    assert entry.slots is not None
    assert len(entry.slots) == 26
    for position, letter in enumerate(entry.slots):
        assert (letter in {OK, LATE, REVISED, REVISED_VOLUME}) == (position in held)
    states = {OK: DayState.OK, LATE: DayState.LATE, REVISED: DayState.REVISED, REVISED_VOLUME: DayState.REVISED}
    states |= {HOLE: DayState.HOLE_AT_SOURCE, FAILED: DayState.FETCH_FAILED}
    assert entry.state is worst(states[letter] for letter in entry.slots if letter != PENDING)


# --- holes ------------------------------------------------------------------------------------------------------------


def hole(since: str, asked: str, day: date = WEDNESDAY) -> LedgerEntry:
    return LedgerEntry("QQQ", "15m", day, DayState.HOLE_AT_SOURCE, "", HOLE, utc(asked), utc(since))


@pytest.mark.parametrize(
    ("since", "asked", "now", "due"),
    [
        # seen while the day ran: the waits count from its end
        ("2024-11-27T15:01", "2024-11-27T23:31", "2024-11-28T00:31", False),
        ("2024-11-27T15:01", "2024-11-27T23:31", "2024-11-28T01:01", True),
        ("2024-11-27T15:01", "2024-11-28T01:01", "2024-11-28T01:31", False),
        ("2024-11-27T15:01", "2024-11-28T02:10", "2024-11-28T23:31", False),
        ("2024-11-27T15:01", "2024-11-28T02:10", "2024-11-29T00:01", True),
        ("2024-11-27T15:01", "2024-11-29T00:01", "2024-12-04T23:31", False),
        ("2024-11-27T15:01", "2024-12-04T02:10", "2024-12-05T00:01", True),
        ("2024-11-27T15:01", "2024-12-05T00:01", "2025-06-01T00:01", False),
        # an outage of the collector: one look does for all waits that have passed
        ("2024-11-27T15:01", "2024-11-28T00:01", "2024-12-07T00:01", True),
        # first seen by the night's run of a later day
        ("2024-11-29T02:10", "2024-11-29T02:10", "2024-11-29T03:01", False),
        ("2024-11-29T02:10", "2024-11-29T02:10", "2024-11-29T03:31", True),
        # seen by a backfill, long after
        ("2025-02-01T02:10", "2025-02-01T02:10", "2025-02-02T02:31", False),
    ],
)
def test_a_hole_is_asked_for_again_after_an_hour_a_day_and_a_week(since: str, asked: str, now: str, due: bool) -> None:
    assert is_due(hole(since, asked), utc(now), SETTINGS) is due


def test_a_hole_keeps_the_instant_at_which_it_was_first_seen_until_it_is_filled() -> None:
    found = judge(WEDNESDAY, stored(WEDNESDAY, without=(3,)))
    [first] = with_holes_since([found], {}, utc("2024-11-27T20:31"))
    assert first.hole_since == utc("2024-11-27T20:31")
    [again] = with_holes_since([found], {("QQQ", "15m", WEDNESDAY): first}, utc("2024-11-28T02:10"))
    assert again.hole_since == first.hole_since
    [filled] = with_holes_since([judge(WEDNESDAY, stored(WEDNESDAY))], {("QQQ", "15m", WEDNESDAY): again}, LATER)
    assert filled.hole_since is None
    assert not is_due(filled, LATER, SETTINGS)


def test_bars_are_due_once_they_should_long_have_been_there() -> None:
    days = DayRange(WEDNESDAY, WEDNESDAY)
    window = (FetchRequest(QQQ, Interval.M15, days.start, days.end),)
    assert not bars_are_due(QQQ, window, days, utc("2024-11-27T14:59"))
    assert bars_are_due(QQQ, window, days, utc("2024-11-27T15:00"))
    assert not bars_are_due(QQQ, window, DayRange(HOLIDAY, HOLIDAY), LATER)


def test_late_is_what_two_ticks_could_have_had() -> None:
    assert late_after(SETTINGS) == timedelta(minutes=61)
    assert late_after(Settings.load(collection_interval_minutes=60)) == timedelta(minutes=121)


# --- the calendar -----------------------------------------------------------------------------------------------------


def test_the_calendar_shows_weeks_of_marks_the_worst_interval_of_a_day() -> None:
    entries = [
        LedgerEntry("QQQ", "15m", WEDNESDAY, DayState.OK),
        LedgerEntry("QQQ", "1d", WEDNESDAY, DayState.HOLE_AT_SOURCE),
        LedgerEntry("QQQ", "15m", HOLIDAY, DayState.CLOSED),
        LedgerEntry("QQQ", "15m", HALF_DAY, DayState.FETCH_FAILED),
        LedgerEntry("QQQ", "15m", date(2024, 12, 2), DayState.LATE),
    ]
    assert calendar_map(states_by_day(entries), date(2024, 12, 3), weeks=2).splitlines() == [
        "week of     M T W T F S S",
        "2024-11-25      □ · x",
        "2024-12-02  l",
    ]


def test_every_state_has_a_mark_of_its_own_and_a_place_in_the_order() -> None:
    assert set(MARKS) == set(PRECEDENCE) == set(DayState)
    assert len(set(MARKS.values())) == len(MARKS)
    assert all(f"{mark} " in LEGEND for mark in MARKS.values())
