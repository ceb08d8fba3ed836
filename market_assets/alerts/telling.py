"""Where what is so differs from what people believe: the changes that are worth telling now.

Belongs here: the rules of telling, pure. Does not belong here: how it is said (messages.py).

The rules look at states, not at events: a failure that was held back is told when its reason to be held back is gone,
whatever happened in between. A state says what people believe (`told`); it is changed only together with a message.

* A failure is told once it is confirmed, is not explained by another that is open, and no further member of an incident
  that was just told.
* One that people believe open is told again only if it has become worse; a recovery is told at once.
* What fails again within the cool-down of its last message is held back. It is told when it has lasted as long as the
  cool-down, or when the damped cool-down is over, in one line with how often it came and went. While it goes on coming
  and going the damped cool-down doubles, up to a day; from then on its recoveries wait likewise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import ALERT_PATH, NOTHING_FETCHED, RUN_FAILED, rank
from market_assets.alerts.policy import INPUTS, SOURCE_WIDE, policy_of, same_cause
from market_assets.alerts.states import is_confirmed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from market_assets.store import AlertKey, AlertState

_LONGEST_COOLDOWN = timedelta(days=1)
#: the run whose failure explains what the tickers lack
_TICK = "tick"


class Turn(StrEnum):
    """What became of a check, as people are told."""

    BROKE = "broke"
    WORSE = "got worse"
    RECOVERED = "recovered"
    #: came and went without being told, and is well now
    FLAPPED = "came and went"
    RETIRED = "is no longer checked"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to tell: the state as it was before people were told."""

    turn: Turn
    state: AlertState


@dataclass(frozen=True, slots=True)
class Told:
    """What is told now, the states once it has been told, and those that need not be remembered any longer."""

    changes: tuple[Change, ...]
    states: tuple[AlertState, ...]
    forgotten: tuple[AlertKey, ...]


def tell(states: Mapping[AlertKey, AlertState], now: datetime, cooldown: timedelta, targets: Sequence[str]) -> Told:
    """Decide what to tell at `now`; without targets nothing is told, and nobody takes anything for told.

    Pure. Applied to its own result at the same instant it tells nothing.
    """
    view = _View(states, dict(states), now, cooldown, tuple(targets))
    changes: list[Change] = []
    after: list[AlertState] = []
    forgotten: list[AlertKey] = []
    # A failed run first: what it explains is not told beside it.
    for state in sorted(states.values(), key=lambda one: one.check != RUN_FAILED):
        turn = view.turn(state) if targets else None
        if turn is not None:
            changes.append(Change(turn, state))
            view.told[state.key] = _told(state, turn, now)
            after.append(view.told[state.key])
        elif not state.failing and not (state.told and targets) and not view.is_cooling(state):
            forgotten.append(state.key)
    return Told(tuple(changes), tuple(after), tuple(forgotten))


def _told(state: AlertState, turn: Turn, now: datetime) -> AlertState:
    level = state.level + 1 if state.flaps else 0
    told = state.severity if turn in {Turn.BROKE, Turn.WORSE} else ""
    loudest = max(state.loudest, told, key=rank)
    since = state.since if turn is Turn.BROKE else state.told_since
    return replace(state, told=told, told_at=now, told_since=since, loudest=loudest, flaps=0, level=level)


@dataclass(frozen=True, slots=True)
class _View:
    """What one decision looks at."""

    states: Mapping[AlertKey, AlertState]
    #: the same, with what has just been decided to be told
    told: dict[AlertKey, AlertState]
    now: datetime
    cooldown: timedelta
    targets: tuple[str, ...]

    def turn(self, state: AlertState) -> Turn | None:
        """Return what there is to tell of a state, if anything."""
        if not state.failing:
            return self._turn_of_what_is_well(state)
        if not is_confirmed(state) or policy_of(state.check, state.asset).quiet:
            return None
        if state.told:
            return Turn.WORSE if rank(state.severity) > rank(state.told) else None
        held = self._is_held(state) and rank(state.severity) <= rank(state.loudest)
        return None if held or self._has_a_reason(state) else Turn.BROKE

    def is_cooling(self, state: AlertState) -> bool:
        """Whether people were told of it so short a time ago that they need not hear of it again."""
        if state.told_at is None:
            return False
        damped: timedelta = self.cooldown * 2 ** min(state.level, 16)
        return self.now < state.told_at + min(damped, max(self.cooldown, _LONGEST_COOLDOWN))

    def _turn_of_what_is_well(self, state: AlertState) -> Turn | None:
        if state.told:
            return None if state.level and self._is_held(state) else Turn.RECOVERED
        return Turn.FLAPPED if state.flaps and not self.is_cooling(state) else None

    def _is_held(self, state: AlertState) -> bool:
        return self.is_cooling(state) and self.now < state.since + self.cooldown

    def _has_a_reason(self, state: AlertState) -> bool:
        """Whether there is a reason not to tell of a failure beside the others."""
        if state.check == ALERT_PATH:
            return not self._has_another_path(state)
        return self._is_explained(state) or self._is_further_member(state)

    def _is_explained(self, state: AlertState) -> bool:
        """Whether another failure is the reason for this one."""
        policy = policy_of(state.check, state.asset)
        if policy.explained_cause and state.cause != policy.explained_cause:
            return False
        for reason in policy.explained_by:
            if reason in {RUN_FAILED, NOTHING_FETCHED}:
                run = self.told.get((RUN_FAILED, _TICK))
                # A run that fails again and is held back would explain away for hours what nobody has been told of.
                if run is not None and run.failing and run.told and reason in {RUN_FAILED, run.cause}:
                    return True
            elif any(
                (reason, asset) in self.states and self.states[reason, asset].failing
                for asset in (state.asset, *INPUTS.get(state.asset, ()))
            ):
                return True
        return False

    def _is_further_member(self, state: AlertState) -> bool:
        """Whether it is one more asset that an incident reaches which people were told of within the cool-down."""
        cause = same_cause(state.cause)
        return cause in SOURCE_WIDE and any(
            other.check == state.check
            and other.failing
            and other.told
            and same_cause(other.cause) == cause
            and other.told_at is not None
            and self.now < other.told_at + self.cooldown
            for other in self.states.values()
        )

    def _has_another_path(self, state: AlertState) -> bool:
        """Whether there is a target that works, to be told of the one that does not."""
        broken = {asset for check, asset in self.states if check == ALERT_PATH and self.states[check, asset].failing}
        return any(target != state.asset and target not in broken for target in self.targets)
