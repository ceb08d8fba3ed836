"""The parts put together: what the sensors and `market-assets watch` call.

Belongs here: one method per occasion. Does not belong here: rules, wording, posting, SQL, Dagster.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.delivery import Delivered, deliver
from market_assets.alerts.evaluations import ALERT_PATH, FinishedRun
from market_assets.alerts.heartbeat import HEARTBEAT, compose_heartbeat, heartbeat_due
from market_assets.alerts.messages import Links, compose, names, note_of
from market_assets.alerts.policy import policy_of
from market_assets.alerts.posting import ApprisePoster, Poster
from market_assets.alerts.states import bookkept, observe, observe_run, retired
from market_assets.alerts.targets import Masker, hider_of, targets_of
from market_assets.alerts.telling import Change, Turn, tell
from market_assets.alerts.ticks import (
    LAST_READ,
    TICK,
    EndedTick,
    TickState,
    ended_ticks,
    judge_reading,
    judge_ticks,
    tick_state,
    unread_tick,
)
from market_assets.store import NO_CHECK, AlertKey, AlertMessage, AlertState, Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from market_assets.clock import Clock
    from market_assets.settings import Settings
    from market_assets.store import Store

_LOG = logging.getLogger(__name__)
#: done messages are kept as a log for so long
_KEPT = timedelta(days=90)
#: assets named in the note of a run over past days
_NAMED = 80


class Alerts:
    """Alerts of one collector. Safe to use from several processes at once: decisions are made in the store."""

    def __init__(self, store: Store, settings: Settings, clock: Clock, poster: Poster | None = None) -> None:
        """Take the parts; nothing is read or posted yet."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self.targets = targets_of(settings)
        self._names = [target.name for target in self.targets]
        self._hide = hider_of(settings)
        self._poster = poster or ApprisePoster(Masker.of(settings))
        self._cooldown = timedelta(minutes=settings.alert_cooldown_minutes)
        self._links = Links.of(settings)

    def run_finished(self, run: FinishedRun) -> AlertMessage | None:
        """Take in what a finished run found, and put what is to be told of it into the outbox. Safe to repeat.

        Raises:
            StoreError: the database cannot be read or written; call it again for the same run.
        """
        return self._decide(self._without_secrets(run))

    def review(self) -> AlertMessage | None:
        """Look at ticks, cool-downs and the daily message, and put what is to be told now into the outbox."""
        return self._decide(None)

    def deliver(self) -> Delivered:
        """Post what waits; see `delivery.deliver`."""
        if not self.targets:
            return Delivered()
        delivered = deliver(self._store.alerts, self.targets, self._poster, self._clock.now())
        for post in delivered.posts:
            if not post.ok:
                _LOG.warning("an alert could not be posted to %s: %s", post.target, post.error)
        return delivered

    def _without_secrets(self, run: FinishedRun) -> FinishedRun:
        """Return `run` without the passwords and URLs that an error's text may have."""
        return replace(
            run,
            failure=self._hide(run.failure),
            evaluations=tuple(replace(one, description=self._hide(one.description)) for one in run.evaluations),
        )

    def _decide(self, run: FinishedRun | None) -> AlertMessage | None:
        now = self._clock.now()
        ticks = tick_state(self._store, self._settings, now)
        ended = ended_ticks(self._store, self._settings, now)
        alive = None
        asked_for = self.targets and self._settings.alert_heartbeat_hour is not None
        if asked_for and heartbeat_due(self._store.alerts.noted_at(HEARTBEAT), self._settings, now):
            alive = self._store.runs.collections_since(now - timedelta(days=1))

        def work(states: Mapping[AlertKey, AlertState], waiting: Sequence[AlertMessage]) -> Decision:
            view = dict(states)
            changed = self._observed(view, ticks, ended, run, now)
            gone = retired(view.values(), run) if run is not None else []
            for state in gone:
                changed[state.key] = None
                del view[state.key]
            told = tell(
                {key: state for key, state in view.items() if key[0] != NO_CHECK}, now, self._cooldown, self._names
            )
            changed |= {state.key: state for state in told.states}
            changed |= dict.fromkeys(told.forgotten)
            view |= {state.key: state for state in told.states}
            retirements = [Change(Turn.RETIRED, state) for state in gone if state.told and self.targets]
            notes = [one for one in waiting if one.kind == "note"]
            messages: list[AlertMessage] = []
            message = compose([*told.changes, *retirements], notes, now, self._links)
            if message is not None:
                messages.append(message)
            # Another process may have made it meanwhile.
            if alive is not None and heartbeat_due(_instant_of(states, HEARTBEAT), self._settings, now):
                rest = [] if message is not None else notes
                messages.append(compose_heartbeat(view.values(), alive, ticks, rest, now))
                changed[HEARTBEAT] = bookkept(HEARTBEAT, now)
            updated = [replace(note, done_at=now) for note in notes] if messages else []
            fresh = self._note(run, now) if run is not None and self.targets else None
            return Decision(
                states=[state for state in changed.values() if state is not None],
                forgotten=[key for key, state in changed.items() if state is None],
                messages=[*messages, *([fresh] if fresh is not None else [])],
                updated=updated,
                looked_at=now,
                prune_before=now - _KEPT if messages else None,
            )

        decision = self._store.alerts.decide(work)
        told = [one for one in decision.messages if one.kind != "note"]
        for message in told:
            _LOG.info("to be told: %s", message.title)
        return told[0] if told else None

    def _observed(
        self,
        view: dict[AlertKey, AlertState],
        ticks: TickState | None,
        ended: Sequence[EndedTick],
        run: FinishedRun | None,
        now: datetime,
    ) -> dict[AlertKey, AlertState | None]:
        """Take the run and the ticks into `view`, and return what has changed by them."""
        changed: dict[AlertKey, AlertState | None] = {}
        if run is not None:
            changed |= observe_run(view, run)
        read = _instant_of(view, LAST_READ)
        if run is not None and run.kind == TICK and (read is None or read < run.at):
            read, changed[LAST_READ] = run.at, bookkept(LAST_READ, run.at)
        unread = unread_tick(ended, read)
        judged = [judge_reading(unread, now, by_reader=run is not None)]
        if ticks is not None:
            judged.append(judge_ticks(ticks, now, self._settings.interval))
        for evaluation in judged:
            after = observe(view.get(evaluation.key), evaluation, now)
            if after != view.get(evaluation.key):
                changed[evaluation.key] = after
        # A target that is not configured any more is nobody's trouble.
        changed |= {key: None for key in view if key[0] == ALERT_PATH and key[1] not in self._names}
        for key, state in changed.items():
            if state is None:
                view.pop(key, None)
            else:
                view[key] = state
        return changed

    def _note(self, run: FinishedRun, now: datetime) -> AlertMessage | None:
        """Return the one line that a run over past days gets, if anything in it failed."""
        told_as_a_run = run.run_evaluation is not None and run.succeeded is False
        if run.is_current or told_as_a_run:
            return None
        # What is never told by itself is not told in passing either, night after night.
        failed = _told_checks(run)
        count = sum(map(len, failed.values()))
        if not count and run.succeeded is not False:
            return None
        if not count:
            return note_of(f"the {run.kind} run of {run.label} failed", run.run_id, now)
        found = "; ".join(f"{check}: {names(assets, _NAMED)}" for check, assets in failed.items())
        return note_of(f"the {run.kind} run of {run.label} found {count} failed checks ({found})", run.run_id, now)


def _instant_of(states: Mapping[AlertKey, AlertState], key: AlertKey) -> datetime | None:
    state = states.get(key)
    return None if state is None else state.evaluated_at


def _told_checks(run: FinishedRun) -> dict[str, list[str]]:
    """Return the assets whose checks failed, by check, of the checks that are told."""
    failed: dict[str, list[str]] = {}
    for one in run.evaluations:
        if one.conclusive and not one.passed and not policy_of(*one.key).quiet:
            failed.setdefault(one.check, []).append(one.asset)
    return {check: sorted(assets) for check, assets in sorted(failed.items())}
