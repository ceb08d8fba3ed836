"""Whether the collector still collects, and whether anybody reads what its checks find, as the logs tell it.

Belongs here: the two judgements, pure over the log of collections. Does not belong here: starting anything.

The schedule runs around the clock, so a tick is always due; before the first collection of all, none is. It does not
matter who collects: a collection of the current day that stored what it could is a good tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import MISSED_TICKS, RUNS_UNREAD, Evaluation
from market_assets.alerts.policy import NO_RUNS, RUNS_FAIL
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.store import NO_CHECK, AlertKey
from market_assets.store.types import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from market_assets.settings import Settings
    from market_assets.store import Store

#: not a check: when the newest tick began whose checks were read
LAST_READ: AlertKey = (NO_CHECK, "last_read")
#: the sensor that reads what the checks of finished runs found
READER = "alert_on_finished_runs"
#: it looks every minute; after so long nobody does
UNATTENDED_AFTER = timedelta(minutes=10)
COLLECTOR = "collect"
#: kind of the scheduled collections of the current day
TICK = "tick"
#: from when a tick is due to its end, the rests after a 429 included
PATIENCE = timedelta(minutes=10)
#: ticks that may fail before it is told
TOLERATED = 2


@dataclass(frozen=True, slots=True)
class TickState:
    """How the ticks stand at one instant."""

    #: start of the last good tick, or of the first collection if none was good
    since: datetime
    #: ticks that were due since and have not succeeded
    missed: int
    #: start of the newest collection of any kind
    newest_start: datetime
    was_ever_good: bool

    @property
    def alarming(self) -> bool:
        """Whether two intervals have passed without a good tick."""
        return self.missed >= TOLERATED

    @property
    def runs_start(self) -> bool:
        """Whether collections begin nevertheless."""
        return self.newest_start > self.since


def tick_state(store: Store, settings: Settings, now: datetime) -> TickState | None:
    """Return how the ticks stand at `now`; None before the first collection of all.

    A tick counts as missed once `PATIENCE` and the settle minutes have passed since its observation time.
    """
    newest = store.runs.last_collections(1)
    if not newest:
        return None
    good = store.runs.last_current(GOOD_STATUSES)
    since = good.started_at if good is not None else store.runs.collection_began() or newest[0].started_at
    interval = settings.interval
    last_done = (since - EPOCH) // interval
    last_due = (now - PATIENCE - timedelta(minutes=settings.settle_minutes) - EPOCH) // interval
    return TickState(since, max(0, last_due - last_done), newest[0].started_at, good is not None)


def judge_ticks(state: TickState, now: datetime, interval: timedelta) -> Evaluation:
    """Return the evaluation of `missed_ticks` at `now`."""
    stretch = now - state.newest_start
    cause = RUNS_FAIL if state.runs_start and stretch < 2 * interval + PATIENCE else NO_RUNS
    since = f"{state.since:%Y-%m-%d %H:%M} UTC"
    began = f"since the tick of {since}" if state.was_ever_good else f"ever; the first collection began {since}"
    why = (
        f"collections begin, the last one {state.newest_start:%H:%M} UTC, and do not succeed"
        if cause == RUNS_FAIL
        else "no collection begins: is the scheduler running?"
    )
    return Evaluation(
        MISSED_TICKS,
        COLLECTOR,
        passed=not state.alarming,
        description="" if not state.alarming else f"no tick has succeeded {began}: {why}",
        observed=f"{state.missed} ticks missed",
        threshold=f"{TOLERATED}",
        cause="" if not state.alarming else cause,
        since=state.since,
    )


@dataclass(frozen=True, slots=True)
class EndedTick:
    """A tick that ended long enough ago for its checks to be read."""

    started_at: datetime
    finished_at: datetime


def ended_ticks(store: Store, settings: Settings, now: datetime) -> tuple[EndedTick, ...]:
    """Return the scheduled collections of about the last interval that ended `UNATTENDED_AFTER` ago, oldest first.

    While ticks go on there is always one, and when they stop that is told. What the command line collects is none of
    them: whoever started it sees what its checks found.
    """
    since = now - settings.interval - UNATTENDED_AFTER - PATIENCE
    ended = (
        EndedTick(run.started_at, run.finished_at)
        for run in store.runs.collections_since(since)
        if run.kind == TICK and run.finished_at is not None and run.finished_at <= now - UNATTENDED_AFTER
    )
    return tuple(sorted(ended, key=lambda tick: tick.started_at))


def unread_tick(ended: Sequence[EndedTick], read: datetime | None) -> EndedTick | None:
    """Return the first of the ended ticks that began after `read`, when the last one began that was read."""
    return next((tick for tick in ended if read is None or tick.started_at > read), None)


def judge_reading(unread: EndedTick | None, now: datetime, *, by_reader: bool) -> Evaluation:
    """Return the evaluation of `runs_not_read` at `now`; only the reader itself shows that it reads again."""
    if unread is None:
        return Evaluation(RUNS_UNREAD, READER, passed=True, observed="read", threshold="read", conclusive=by_reader)
    ended = unread.finished_at
    return Evaluation(
        RUNS_UNREAD,
        READER,
        passed=False,
        description=f"what the checks of the tick of {unread.started_at:%Y-%m-%d %H:%M} UTC found has not been read "
        f"since it ended at {ended:%H:%M}: does the sensor {READER} run?",
        observed=f"{(now - ended) // timedelta(minutes=1)} min unread",
        threshold=f"{UNATTENDED_AFTER // timedelta(minutes=1)} min",
        since=ended,
    )
