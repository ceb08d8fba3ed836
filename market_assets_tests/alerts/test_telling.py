"""What people are told of one check's ups and downs, and of failures that belong together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_assets.alerts.evaluations import NOTHING_FETCHED, RUN_FAILED, Evaluation, FinishedRun, Severity
from market_assets.alerts.policy import policy_of
from market_assets.alerts.states import observe_run, retired
from market_assets.alerts.telling import Turn, tell
from market_assets.collection.days import DayRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from market_assets.store import AlertKey, AlertState

BEGAN = datetime(2026, 3, 2, 0, 1, tzinfo=UTC)
TICK = timedelta(minutes=30)
COOLDOWN = timedelta(minutes=180)
FETCHED = "bars_were_fetched"


def fails(check: str, name: str, severity: Severity = Severity.ERROR, cause: str = "") -> Evaluation:
    return Evaluation(check, name, passed=False, severity=severity, cause=cause, observed="1")


def passes(check: str, name: str) -> Evaluation:
    return Evaluation(check, name, passed=True, observed="0")


class Watched:
    """Ticks of one collector, and what a person hears of them."""

    def __init__(self, targets: Sequence[str] = ("slack",)) -> None:
        self.states: dict[AlertKey, AlertState] = {}
        self.targets = targets
        self.now = BEGAN
        self.runs = 0
        self.heard: list[tuple[int, str, str]] = []

    def tick(
        self,
        *evaluations: Evaluation,
        kind: str = "tick",
        succeeded: bool = True,
        cause: str = "",
        days: DayRange | None = None,
    ) -> list[str]:
        """Let one run end and return what is told of it, as `turn check asset`."""
        run = FinishedRun(
            f"run-{self.runs}",
            kind,
            self.now,
            days or DayRange.of(self.now),
            tuple(evaluations),
            succeeded=succeeded,
            failure_cause=cause,
            whole=True,
        )
        for key, state in observe_run(self.states, run).items():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
        told = self.look()
        self.runs += 1
        self.now += TICK
        return told

    def look(self) -> list[str]:
        told = tell(self.states, self.now, COOLDOWN, self.targets)
        self.states |= {state.key: state for state in told.states}
        for key in told.forgotten:
            del self.states[key]
        again = tell(self.states, self.now, COOLDOWN, self.targets)
        assert not again.changes, "nothing is told twice"
        turns = [(change.turn.value, *change.state.key) for change in told.changes]
        self.heard += [(self.runs, turn, check) for turn, check, _ in turns]
        return [" ".join(turn) for turn in turns]

    def fetches(self, name: str, pattern: str, cause: str = "empty") -> list[str]:
        """Let `name` be fetched (.) or not (x), tick by tick; return everything that is told."""
        told = []
        for mark in pattern:
            told += self.tick(passes(FETCHED, name) if mark == "." else fails(FETCHED, name, cause=cause))
        return told


# --- one check --------------------------------------------------------------------------------------------------------


def test_a_fetch_that_fails_once_and_recovers_wakes_nobody() -> None:
    watched = Watched()
    assert watched.fetches("ticker/TLT", "..x..x.x..") == []
    assert watched.states == {}


def test_a_check_that_fails_48_times_a_day_is_told_once_and_its_recovery_once() -> None:
    watched = Watched()
    assert watched.fetches("ticker/TLT", "x" * 48) == [f"broke {FETCHED} ticker/TLT"]
    assert watched.heard == [(1, "broke", FETCHED)]
    assert watched.fetches("ticker/TLT", ".." * 24) == [f"recovered {FETCHED} ticker/TLT"]
    assert watched.states == {}


def test_a_run_that_fails_is_told_at_once() -> None:
    watched = Watched()
    assert watched.tick(succeeded=False) == ["broke run_failed tick"]
    assert watched.tick(succeeded=False) == []
    assert watched.tick() == ["recovered run_failed tick"]


def test_a_canceled_run_is_neither_a_failure_nor_a_recovery() -> None:
    watched = Watched()
    watched.tick(succeeded=False)
    run = FinishedRun("canceled", "tick", watched.now, DayRange.of(watched.now), succeeded=None)
    assert observe_run(watched.states, run) == {}


def test_a_warning_that_becomes_an_error_is_told_again_at_once_and_the_way_back_is_not() -> None:
    watched = Watched()
    warn, error = (fails("bars_are_fresh", "ticker/TLT", one) for one in (Severity.WARN, Severity.ERROR))
    assert watched.tick(warn) == []
    assert watched.tick(warn) == ["broke bars_are_fresh ticker/TLT"]
    assert watched.tick(error) == ["got worse bars_are_fresh ticker/TLT"]
    assert watched.tick(warn) + watched.tick(error) == []
    assert watched.tick(passes("bars_are_fresh", "ticker/TLT")) == ["recovered bars_are_fresh ticker/TLT"]


def test_what_comes_and_goes_is_told_of_less_and_less_often() -> None:
    watched = Watched()
    for number in range(48):
        watched.tick(succeeded=number % 2 == 1)
    assert watched.heard == [
        (0, "broke", RUN_FAILED),
        (1, "recovered", RUN_FAILED),
        (7, "came and went", RUN_FAILED),  # after a cool-down of three hours
        (19, "came and went", RUN_FAILED),  # six hours
        (43, "came and went", RUN_FAILED),  # twelve hours
    ]


def test_what_fails_again_within_the_cool_down_and_stays_so_is_told_when_it_is_over() -> None:
    watched = Watched()
    told = watched.fetches("ticker/TLT", "xx.xxxxxxxx")
    assert told == [
        f"broke {FETCHED} ticker/TLT",
        f"recovered {FETCHED} ticker/TLT",
        f"broke {FETCHED} ticker/TLT",
    ]
    assert [number for number, _, _ in watched.heard] == [1, 2, 8]
    state = watched.states[FETCHED, "ticker/TLT"]
    assert state.level == 1
    # told as flapping: it has to stay well for a cool-down now
    assert watched.fetches("ticker/TLT", "......") == []
    assert watched.fetches("ticker/TLT", "..") == [f"recovered {FETCHED} ticker/TLT"]


def test_a_worse_failure_within_the_cool_down_is_told_at_once() -> None:
    watched = Watched()
    for severity in (Severity.WARN, Severity.WARN):
        watched.tick(fails("bars_are_fresh", "ticker/TLT", severity))
    watched.tick(passes("bars_are_fresh", "ticker/TLT"))
    watched.tick(fails("bars_are_fresh", "ticker/TLT"))
    assert watched.tick(fails("bars_are_fresh", "ticker/TLT")) == ["broke bars_are_fresh ticker/TLT"]


def test_without_targets_nothing_counts_as_told_and_whoever_comes_later_hears_what_is_open() -> None:
    watched = Watched(targets=())
    assert watched.fetches("ticker/TLT", "xxxx") == []
    watched.targets = ("slack",)
    assert watched.look() == [f"broke {FETCHED} ticker/TLT"]


def test_an_evaluation_that_had_nothing_to_judge_is_no_recovery_and_no_failure() -> None:
    watched = Watched()
    watched.fetches("ticker/TLT", "xx")
    nothing = Evaluation(FETCHED, "ticker/TLT", passed=True, conclusive=False)
    unknown = Evaluation("served_equals_replayed", "ml_features", passed=False, conclusive=False)
    assert watched.tick(nothing, unknown) == []
    assert set(watched.states) == {(FETCHED, "ticker/TLT")}
    assert watched.fetches("ticker/TLT", ".") == [f"recovered {FETCHED} ticker/TLT"]


def test_a_check_that_only_informs_is_never_told_by_itself() -> None:
    watched = Watched()
    failing = fails("correlation_within_threshold", "crypto_correlations", Severity.WARN)
    assert [watched.tick(failing) for _ in range(100)] == [[]] * 100
    assert watched.states["correlation_within_threshold", "crypto_correlations"].failing


def test_the_same_run_taken_in_twice_counts_once_and_an_older_one_not_at_all() -> None:
    states: dict[AlertKey, AlertState] = {}
    run = FinishedRun("a", "tick", BEGAN + TICK, DayRange.of(BEGAN), (fails(FETCHED, "ticker/TLT"),))
    changed = observe_run(states, run)
    states |= {key: state for key, state in changed.items() if state is not None}
    assert observe_run(states, run) == {}
    older = FinishedRun("b", "tick", BEGAN, DayRange.of(BEGAN), (passes(FETCHED, "ticker/TLT"),))
    assert observe_run(states, older) == {}
    assert states[FETCHED, "ticker/TLT"].failures == 1


# --- what belongs together --------------------------------------------------------------------------------------------


def test_a_storm_that_no_ticker_escapes_is_one_alert_and_one_recovery() -> None:
    watched = Watched()
    names = [f"ticker/{number}" for number in range(19)]
    storm = [fails(FETCHED, name, cause="rate_limited") for name in names]
    assert watched.tick(*storm, succeeded=False, cause=NOTHING_FETCHED) == ["broke run_failed tick"]
    for _ in range(10):
        assert watched.tick(*storm, succeeded=False, cause=NOTHING_FETCHED) == []
    well = [passes(FETCHED, name) for name in names]
    assert watched.tick(*well) == ["recovered run_failed tick"]


def test_what_is_still_broken_when_the_storm_ends_is_told_with_the_recovery() -> None:
    watched = Watched()
    both = [fails(FETCHED, f"ticker/{name}", cause="rate_limited") for name in ("QQQ", "TLT")]
    for _ in range(3):
        watched.tick(*both, succeeded=False, cause=NOTHING_FETCHED)
    told = watched.tick(passes(FETCHED, "ticker/QQQ"), both[1])
    assert sorted(told) == [f"broke {FETCHED} ticker/TLT", "recovered run_failed tick"]


def test_a_run_that_fails_for_a_reason_of_its_own_hides_no_ticker() -> None:
    watched = Watched()
    watched.tick(succeeded=False)
    gone = fails(FETCHED, "ticker/TLT", cause="symbol_not_found")
    assert watched.tick(gone, succeeded=False) + watched.tick(gone, succeeded=False) == [f"broke {FETCHED} ticker/TLT"]


def test_tickers_that_the_same_storm_reaches_later_are_not_told_one_by_one() -> None:
    watched = Watched()
    first = fails(FETCHED, "ticker/QQQ", cause="rate_limited")
    later = fails(FETCHED, "ticker/TLT", cause="batch_stopped")
    other = fails(FETCHED, "ticker/GLD", cause="symbol_not_found")
    watched.tick(first)
    assert watched.tick(first) == [f"broke {FETCHED} ticker/QQQ"]
    assert watched.tick(first, later, other) == []
    assert watched.tick(first, later, other) == [f"broke {FETCHED} ticker/GLD"]
    # the first one is well again: those that are not are told now
    well = passes(FETCHED, "ticker/QQQ")
    told = watched.tick(well, later, other) + watched.tick(well, later, other)
    assert sorted(told) == [f"broke {FETCHED} ticker/TLT", f"recovered {FETCHED} ticker/QQQ"]


def test_what_follows_from_a_fetch_that_fails_is_not_told_beside_it() -> None:
    watched = Watched()
    failing = [
        fails(FETCHED, "ticker/TLT", cause="symbol_not_found"),
        fails("bars_are_fresh", "ticker/TLT"),
        fails("bars_are_complete", "ticker/TLT"),
        fails("values_are_plausible", "indicator/flight_to_quality", Severity.WARN),
        fails("values_are_plausible", "indicator/dollar_strength", Severity.WARN),
    ]
    watched.tick(*failing)
    assert watched.tick(*failing) == [
        f"broke {FETCHED} ticker/TLT",
        "broke values_are_plausible indicator/dollar_strength",  # TLT is none of its inputs
    ]
    # the fetch is back, the bars are not
    told = watched.tick(passes(FETCHED, "ticker/TLT"), *failing[1:])
    assert sorted(told) == ["broke bars_are_fresh ticker/TLT", f"recovered {FETCHED} ticker/TLT"]


@pytest.mark.parametrize("kind", ["settle", "catch_up", "backfill", "rebuild"])
def test_days_that_are_not_today_change_no_state(kind: str) -> None:
    watched = Watched()
    past = DayRange.of(BEGAN - timedelta(days=3))
    failing = fails(FETCHED, "ticker/TLT")
    assert [watched.tick(failing, kind=kind, days=past) for _ in range(5)] == [[]] * 5
    assert [watched.tick(failing, kind=kind) for _ in range(5)] == [[]] * 5
    assert watched.states == {}


def test_a_person_who_materializes_past_days_changes_no_state_and_todays_partition_does() -> None:
    watched = Watched()
    failing = fails(FETCHED, "ticker/TLT")
    past = DayRange(BEGAN.date() - timedelta(days=3), BEGAN.date())
    assert watched.tick(failing, kind="ad_hoc", days=past) == []
    assert watched.states == {}
    watched.tick(failing, kind="ad_hoc", succeeded=False)
    assert set(watched.states) == {(FETCHED, "ticker/TLT")}


def test_the_nightly_proof_is_about_yesterday_and_told_at_once() -> None:
    watched = Watched()
    broken = fails("served_equals_replayed", "ml_features")
    yesterday = DayRange.of(BEGAN).before
    assert watched.tick(broken, kind="replay", days=yesterday.widened(20)) == []
    assert watched.tick(broken, kind="replay", days=yesterday) == ["broke served_equals_replayed ml_features"]


def test_the_nightly_runs_are_told_of_when_they_fail_and_a_catch_up_only_the_second_time() -> None:
    watched = Watched()
    past = DayRange.of(BEGAN).before
    assert watched.tick(kind="settle", succeeded=False, days=past) == ["broke run_failed settle"]
    assert watched.tick(kind="catch_up", succeeded=False, days=past) == []
    assert watched.tick(kind="catch_up", succeeded=False, days=past) == ["broke run_failed catch_up"]
    assert watched.tick(kind="backfill", succeeded=False, days=past) == []


def test_a_check_that_no_run_evaluates_any_more_is_retired() -> None:
    watched = Watched()
    watched.fetches("ticker/OLD", "xx")
    run = FinishedRun("later", "tick", watched.now + timedelta(days=8), DayRange.of(watched.now + timedelta(days=8)))
    assert retired(watched.states.values(), run) == []
    whole = FinishedRun("whole", "tick", run.at, run.days, whole=True)
    assert [state.asset for state in retired(watched.states.values(), whole)] == ["ticker/OLD"]


# --- under any sequence -----------------------------------------------------------------------------------------------

_CHECKS = st.sampled_from([(FETCHED, "ticker/TLT"), ("no_lookahead", "ml_features"), ("bars_are_fresh", "ticker/QQQ")])
_OUTCOMES = st.lists(st.sampled_from(["ok", "warn", "error", "nothing"]), min_size=1, max_size=120)


def _heard_of(outcomes: Iterable[str], check: str, asset: str) -> Watched:
    watched = Watched()
    for outcome in outcomes:
        if outcome == "nothing":
            watched.tick(Evaluation(check, asset, passed=True, conclusive=False))
        else:
            severity = Severity.WARN if outcome == "warn" else Severity.ERROR
            watched.tick(passes(check, asset) if outcome == "ok" else fails(check, asset, severity))
    return watched


@settings(max_examples=300, deadline=None)
@given(_CHECKS, _OUTCOMES)
def test_a_recovery_follows_what_broke_and_nothing_breaks_twice_without_recovering(
    check: tuple[str, str], outcomes: list[str]
) -> None:
    open_ = False
    worse = False
    for _, turn, _ in _heard_of(outcomes, *check).heard:
        if turn == Turn.BROKE:
            assert not open_
            open_, worse = True, False
        elif turn == Turn.WORSE:
            assert open_
            assert not worse, "there are two severities"
            worse = True
        elif turn == Turn.RECOVERED:
            assert open_
            open_ = False
        else:
            assert turn == Turn.FLAPPED
            assert not open_


@settings(max_examples=300, deadline=None)
@given(_CHECKS, _OUTCOMES, st.booleans())
def test_a_day_after_it_has_settled_people_believe_what_is_so(
    check: tuple[str, str], outcomes: list[str], well: bool
) -> None:
    watched = _heard_of([*outcomes, *(["ok"] if well else ["error"]) * 48], *check)
    state = watched.states.get(check)
    assert (state is not None and bool(state.told)) == (not well)


@settings(max_examples=300, deadline=None)
@given(_CHECKS, _OUTCOMES)
def test_no_check_is_told_of_more_than_ten_times_within_a_day(check: tuple[str, str], outcomes: list[str]) -> None:
    heard = [number for number, _, _ in _heard_of(outcomes, *check).heard]
    assert all(sum(1 for one in heard if start <= one < start + 48) <= 10 for start in heard)


def test_every_policy_confirms_within_three_evaluations() -> None:
    for check in ("anything_new", FETCHED, "no_lookahead"):
        policy = policy_of(check, "ticker/TLT")
        assert 1 <= policy.confirm_error <= policy.confirm_warn <= 3
