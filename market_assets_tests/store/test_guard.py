"""The deletion guard: refusal, confirmation, and what does not need any."""

from __future__ import annotations

from datetime import timedelta

from market_assets.store import Scope, Store
from market_assets_tests.store.builders import DAY, FETCHED, HOUR, at, closes, write_bars

FULL = [float(number) for number in range(1, 11)]
SCOPE = Scope("QQQ", "15m", DAY)


def test_deleting_more_than_a_fifth_of_a_closed_day_is_refused_and_reported(store: Store) -> None:
    write_bars(store, FULL)
    report = write_bars(store, FULL[:7], fetched_at=FETCHED + HOUR)
    assert [refused.scope for refused in report.refused] == [SCOPE]
    assert (report.refused[0].stored, report.refused[0].incoming) == (10, 7)
    assert "3 of 10 bars of a closed day" in report.refused[0].reason
    assert "--accept-deletions" in report.refused[0].reason
    assert report.known_from is None
    assert report.changed_days == set()
    assert closes(store) == FULL


def test_deleting_a_fifth_is_not_refused(store: Store) -> None:
    write_bars(store, FULL)
    assert write_bars(store, FULL[:8], fetched_at=FETCHED + HOUR).refused == []
    assert closes(store) == FULL[:8]


def test_the_running_day_may_lose_any_bar(store: Store) -> None:
    write_bars(store, FULL, fetched_at=at(20))
    assert write_bars(store, FULL[:1], fetched_at=at(21)).refused == []
    assert closes(store) == FULL[:1]


def test_the_only_daily_bar_of_a_closed_day_is_guarded_too(store: Store) -> None:
    write_bars(store, [1.0], interval="1d")
    assert len(write_bars(store, [], interval="1d", fetched_at=FETCHED + HOUR).refused) == 1
    assert closes(store) == [1.0]


def test_a_refused_scope_does_not_hold_up_the_others(store: Store) -> None:
    other = Scope("QQQ", "15m", DAY + timedelta(days=1))
    write_bars(store, FULL)
    report = write_bars(store, FULL[:2], scopes=[SCOPE, other], fetched_at=FETCHED + HOUR)
    assert [refused.scope for refused in report.refused] == [SCOPE]
    assert store.covered_days("QQQ", "15m", DAY, DAY + timedelta(days=9)) == {DAY, other.day}


def test_a_refused_fetch_does_not_count_as_stored_so_an_older_good_one_still_writes(store: Store) -> None:
    write_bars(store, FULL)
    write_bars(store, [], fetched_at=FETCHED + 2 * HOUR)
    revised = [*FULL[:9], 99.0]
    assert write_bars(store, revised, fetched_at=FETCHED + HOUR).skipped == []
    assert closes(store) == revised


def test_two_further_fetches_an_hour_apart_that_agree_are_believed(store: Store) -> None:
    write_bars(store, FULL)
    for hours in (1, 2):
        assert len(write_bars(store, FULL[:3], fetched_at=FETCHED + hours * HOUR).refused) == 1
    accepted = write_bars(store, FULL[:3], fetched_at=FETCHED + 3 * HOUR)
    assert accepted.refused == []
    assert accepted.tables["market_bars"].removed == 7
    assert closes(store) == FULL[:3]


def test_confirmations_closer_than_an_hour_count_once(store: Store) -> None:
    write_bars(store, FULL)
    for minutes in (60, 90, 119, 120, 150):
        assert len(write_bars(store, FULL[:3], fetched_at=FETCHED + timedelta(minutes=minutes)).refused) == 1
    assert write_bars(store, FULL[:3], fetched_at=FETCHED + timedelta(minutes=180)).refused == []


def test_a_fetch_that_leaves_other_bars_starts_the_count_again(store: Store) -> None:
    write_bars(store, FULL)
    for hours, kept in ((1, 3), (2, 3), (3, 4), (4, 3), (5, 3)):
        assert len(write_bars(store, FULL[:kept], fetched_at=FETCHED + hours * HOUR).refused) == 1
    assert write_bars(store, FULL[:3], fetched_at=FETCHED + 6 * HOUR).refused == []


def test_revised_values_do_not_start_the_count_again(store: Store) -> None:
    write_bars(store, FULL)
    for hours in (1, 2, 3):
        report = write_bars(store, [100.0 + hours], fetched_at=FETCHED + hours * HOUR)
    assert report.refused == []
    assert closes(store) == [103.0]


def test_a_complete_fetch_in_between_forgets_the_refusals(store: Store) -> None:
    write_bars(store, FULL)
    for hours, kept in ((1, 3), (2, 3), (3, 10), (4, 3), (5, 3)):
        write_bars(store, FULL[:kept], fetched_at=FETCHED + hours * HOUR)
    assert closes(store) == FULL


def test_deletions_that_a_person_accepts_are_carried_out_at_once_and_the_refusal_is_forgotten(store: Store) -> None:
    write_bars(store, FULL)
    write_bars(store, FULL[:3], fetched_at=FETCHED + HOUR)
    assert write_bars(store, FULL[:3], fetched_at=FETCHED + HOUR, accept_deletions=True).refused == []
    assert closes(store) == FULL[:3]
    write_bars(store, FULL, fetched_at=FETCHED + 2 * HOUR)
    assert len(write_bars(store, FULL[:3], fetched_at=FETCHED + 3 * HOUR).refused) == 1
    assert len(write_bars(store, FULL[:3], fetched_at=FETCHED + 4 * HOUR).refused) == 1


def test_an_older_fetch_does_not_confirm_a_newer_refusal(store: Store) -> None:
    write_bars(store, FULL)
    write_bars(store, FULL[:3], fetched_at=FETCHED + 9 * HOUR)
    for hours in (7, 8):
        assert len(write_bars(store, FULL[:3], fetched_at=FETCHED + hours * HOUR).refused) == 1
    assert closes(store) == FULL
