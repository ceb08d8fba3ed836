"""Whether people would be told: for `status`, and for anything else that asks.

Belongs here: one plain function over the store. Does not belong here: printing, HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from market_assets.alerts.evaluations import ALERT_PATH, rank
from market_assets.alerts.policy import policy_of
from market_assets.alerts.states import is_confirmed
from market_assets.alerts.targets import targets_of
from market_assets.alerts.ticks import (
    LAST_READ,
    UNATTENDED_AFTER,
    EndedTick,
    TickState,
    ended_ticks,
    judge_reading,
    tick_state,
    unread_tick,
)

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.settings import Settings
    from market_assets.store import AlertState, Store


@dataclass(frozen=True, slots=True)
class AlertHealth:
    """How alerts stand. Nothing in it is secret."""

    #: names of the targets, empty if nobody is told
    targets: tuple[str, ...]
    #: targets that did not take their last post, with what was said, and since when
    broken: tuple[AlertState, ...]
    #: confirmed failures of checks, worst and oldest first
    open: tuple[AlertState, ...]
    #: messages that not every target has taken, and when the oldest was made
    waiting: int
    waiting_since: datetime | None
    #: when a sensor or `watch` last looked
    looked_at: datetime | None
    ticks: TickState | None
    #: a tick whose checks nobody has read
    unread: EndedTick | None
    now: datetime

    @property
    def attended(self) -> bool:
        """Whether anything has looked lately."""
        return self.looked_at is not None and self.now - self.looked_at <= UNATTENDED_AFTER

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the alerts themselves, and missed ticks, in sentences."""
        found = []
        if self.ticks is not None and self.ticks.alarming:
            found.append(
                f"{self.ticks.missed} ticks were missed: none has succeeded since {self.ticks.since:%Y-%m-%d %H:%M} UTC"
            )
        found += [
            f"alerts cannot be posted to {state.asset} since {state.since:%Y-%m-%d %H:%M} UTC ({state.detail})"
            for state in self.broken
        ]
        if self.targets and self.unread is not None:
            found.append(judge_reading(self.unread, self.now, by_reader=False).description)
        began = self.looked_at or (None if self.ticks is None else self.ticks.newest_start)
        # Before the first collection there is nothing to look for.
        if self.targets and began is not None and not self.attended and self.now - began > UNATTENDED_AFTER:
            since = "yet" if self.looked_at is None else f"since {self.looked_at:%Y-%m-%d %H:%M} UTC"
            found.append(f"nothing has looked for alerts {since}: neither Dagster's sensors nor market-assets watch")
        return tuple(found)

    @property
    def telling(self) -> tuple[AlertState, ...]:
        """What is open and worth telling: without the checks that only inform."""
        return tuple(state for state in self.open if not policy_of(state.check, state.asset).quiet)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "healthy": not self.problems,
            "problems": list(self.problems),
            "targets": list(self.targets),
            "broken": [_plain(state) for state in self.broken],
            "open": [_plain(state) for state in self.open],
            "waiting": self.waiting,
            "waiting_since": _text(self.waiting_since),
            "looked_at": _text(self.looked_at),
            "attended": self.attended,
            "unread_since": None if self.unread is None else _text(self.unread.finished_at),
            "ticks_missed": 0 if self.ticks is None else self.ticks.missed,
            "last_good_tick": _text(self.ticks.since) if self.ticks is not None and self.ticks.was_ever_good else None,
        }


def alert_health(store: Store, settings: Settings, now: datetime) -> AlertHealth:
    """Return how alerts stand at `now` (UTC), from the store alone.

    Raises:
        StoreError: the database cannot be read.
    """
    states = store.alerts.states()
    waiting = store.alerts.waiting()
    targets = tuple(target.name for target in targets_of(settings))
    failing = [state for state in states.values() if is_confirmed(state) and state.check != ALERT_PATH]
    return AlertHealth(
        targets=targets,
        broken=tuple(
            state for state in states.values() if state.check == ALERT_PATH and state.failing and state.asset in targets
        ),
        open=tuple(sorted(failing, key=lambda one: (-rank(one.severity), one.since, one.key))),
        waiting=len(waiting),
        waiting_since=waiting[0].created_at if waiting else None,
        looked_at=store.alerts.looked_at(),
        ticks=tick_state(store, settings, now),
        unread=unread_tick(ended_ticks(store, settings, now), store.alerts.noted_at(LAST_READ)),
        now=now,
    )


def _plain(state: AlertState) -> dict[str, Any]:
    return {
        "check": state.check,
        "asset": state.asset,
        "severity": state.severity,
        "says": policy_of(state.check, state.asset).says,
        "since": _text(state.since),
        "observed": state.observed,
        "threshold": state.threshold,
        "detail": state.detail,
        "run_id": state.run_id,
        "told_at": _text(state.told_at) if state.told else None,
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds").replace("+00:00", "Z")
