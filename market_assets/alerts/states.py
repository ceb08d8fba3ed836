"""How an evaluation changes the state of its check.

Belongs here: pure functions from state and evaluation to state. Does not belong here: what people are told of it
(telling.py).

Only what fails, or what people were told of not long ago, has a state. A state is left alone by an evaluation that is
older than its own, by the same run a second time, and by one that had nothing to judge.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import ALERT_PATH, MISSED_TICKS, RUN_FAILED, RUNS_UNREAD, Evaluation, FinishedRun
from market_assets.alerts.policy import policy_of
from market_assets.store import AlertKey, AlertState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

#: a check that whole runs have not evaluated for so long does not exist any more
RETIRED_AFTER = timedelta(days=7)
#: what is judged outside of runs
_OUTSIDE_RUNS = frozenset({RUN_FAILED, RUNS_UNREAD, MISSED_TICKS, ALERT_PATH})


def observe(state: AlertState | None, evaluation: Evaluation, at: datetime, run_id: str = "") -> AlertState | None:
    """Return the state after `evaluation` at `at` (UTC); None if there is nothing to remember."""
    if state is not None and (at < state.evaluated_at or (run_id and run_id == state.run_id)):
        return state
    if not evaluation.conclusive:
        return None if state is None else replace(state, evaluated_at=at, run_id=run_id)
    if evaluation.passed:
        return _passed(state, evaluation, at, run_id)
    failures = state.failures + 1 if state is not None and state.failing else 1
    begun = evaluation.since or at
    policy = policy_of(evaluation.check, evaluation.asset)
    if state is None:
        state = AlertState(
            evaluation.check, evaluation.asset, failing=True, severity="", failures=0, since=begun, evaluated_at=at
        )
    # Failures that people hear nothing of are counted from when they would have heard of them.
    comes_again = state.told_at is not None and failures == policy.confirm(evaluation.severity)
    return replace(
        state,
        failing=True,
        severity=evaluation.severity.value,
        failures=failures,
        since=state.since if state.failing else begun,
        evaluated_at=at,
        run_id=run_id,
        cause=evaluation.cause,
        observed=evaluation.observed,
        threshold=evaluation.threshold,
        detail=evaluation.description,
        flaps=state.flaps + comes_again,
    )


def _passed(state: AlertState | None, evaluation: Evaluation, at: datetime, run_id: str) -> AlertState | None:
    if state is None or (state.told_at is None and not state.told):
        return None
    ended = state.failing
    return replace(
        state,
        failing=False,
        failures=0,
        since=at if ended else state.since,
        evaluated_at=at,
        run_id=run_id,
        observed=evaluation.observed,
        threshold=evaluation.threshold,
        detail=state.detail if evaluation.description == "" else evaluation.description,
    )


def observe_run(states: Mapping[AlertKey, AlertState], run: FinishedRun) -> dict[AlertKey, AlertState | None]:
    """Return what changes by a finished run: states by key, None where one is to be forgotten.

    The checks count only if the run was about the current day; whether it succeeded counts for every unattended kind.
    """
    changed: dict[AlertKey, AlertState | None] = {}
    whole = run.run_evaluation
    counted = [*(run.evaluations if run.is_current else ()), *([whole] if whole is not None else [])]
    for evaluation in counted:
        before = changed.get(evaluation.key, states.get(evaluation.key))
        after = observe(before, evaluation, run.at, run.run_id)
        if after != before:
            changed[evaluation.key] = after
    return changed


def retired(states: Iterable[AlertState], run: FinishedRun) -> list[AlertState]:
    """Return the failing states of checks that no run evaluates any more, such as those of a ticker that left."""
    if not (run.whole and run.is_current):
        return []
    evaluated = {evaluation.key for evaluation in run.evaluations}
    return [
        state
        for state in states
        if state.failing
        and state.check not in _OUTSIDE_RUNS
        and state.key not in evaluated
        and run.at - state.evaluated_at > RETIRED_AFTER
    ]


def is_confirmed(state: AlertState) -> bool:
    """Whether the check has failed often enough in a row to be told of."""
    return state.failing and state.failures >= policy_of(state.check, state.asset).confirm(state.severity)


def bookkept(key: AlertKey, at: datetime) -> AlertState:
    """Return a row of bookkeeping, which is no check's state, of the instant `at`."""
    return AlertState(*key, failing=False, severity="", failures=0, since=at, evaluated_at=at)
