"""Kills a collection at a seeded moment, looks at what is left, and lets the next tick go on from there.

Belongs here: drawing moments, one kill and everything that must be true after it. Does not belong here: two collections
at once (`crossings.py`).
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import CollectionBusyError
from market_assets.store import CollectionLock
from market_assets_tests.torture.events import Moment, Place, committed
from market_assets_tests.torture.invariants import broken_invariants, not_replayable
from market_assets_tests.torture.pictures import foreign_versions, unexplained
from market_assets_tests.torture.stage import lease_runs_out, wait_until_gone
from market_assets_tests.torture.victim import Victim, Way
from market_assets_tests.torture.watching import Onlooker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.store import Store
    from market_assets_tests.torture.pictures import Camera, Picture
    from market_assets_tests.torture.stage import Aftermath, Rehearsal, Scene, Stage

#: no statement here takes as long: a death this much later at most still lies in it, or just behind it
_LATEST = 0.004
#: between two looks
_PAUSE = 0.05


class Sort(StrEnum):
    """Sorts of moments."""

    IN_A_WRITE = "in a writing transaction, between two statements"
    IN_A_STATEMENT = "in a writing transaction, while a statement runs"
    AT_A_COMMIT = "just before a commit, or while it runs"
    AFTER_A_COMMIT = "just after a commit"
    BY_THE_CLOCK = "by the clock, from outside"
    ANYWHERE = "at any statement, reading ones too"


#: the order in which moments are drawn, over and over: the first four are what a short run sees
_ORDER = (
    Sort.IN_A_WRITE,
    Sort.AT_A_COMMIT,
    Sort.BY_THE_CLOCK,
    Sort.IN_A_STATEMENT,
    Sort.AFTER_A_COMMIT,
    Sort.IN_A_WRITE,
    Sort.AT_A_COMMIT,
    Sort.IN_A_STATEMENT,
    Sort.IN_A_WRITE,
    Sort.ANYWHERE,
)


def draw(rehearsal: Rehearsal, count: int, seed: str) -> list[tuple[Sort, Moment]]:
    """Draw `count` moments of the rehearsed run; the same seed draws the same ones."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [(sort, _moment(sort, rehearsal, chance)) for sort in (_ORDER[n % len(_ORDER)] for n in range(count))]


def _moment(sort: Sort, rehearsal: Rehearsal, chance: random.Random) -> Moment:
    if sort is Sort.BY_THE_CLOCK:
        return Moment(None, chance.uniform(0.0, rehearsal.seconds))
    writing = committed(rehearsal.events)
    places = {
        Sort.IN_A_WRITE: {Place.BEFORE_STATEMENT, Place.AFTER_STATEMENT},
        Sort.IN_A_STATEMENT: {Place.BEFORE_STATEMENT},
        Sort.AT_A_COMMIT: {Place.BEFORE_COMMIT},
        Sort.AFTER_A_COMMIT: {Place.AFTER_COMMIT},
    }.get(sort, set(Place))
    chosen = [
        event
        for event in rehearsal.events
        if event.place in places and (sort is Sort.ANYWHERE or event.transaction in writing)
    ]
    late = sort is Sort.IN_A_STATEMENT or (sort is Sort.AT_A_COMMIT and chance.random() < 2 / 3)
    return Moment(chance.choice(chosen), chance.uniform(0.0, _LATEST) if late else None)


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill showed."""

    sort: Sort
    moment: Moment
    #: commits that the victim had made, of those of the whole run
    commits: int
    of: int
    #: pictures that were taken while it lived, and how many different states they showed
    glances: int
    states_seen: int
    #: whether it died with the lock in its hands
    held_the_lock: bool
    seconds: float


def kill(stage: Stage, kind: str, scene: Scene, sort: Sort, moment: Moment) -> Killed:
    """Kill the scene's collection at `moment`; raise AssertionError if anything is not as it must be."""
    rehearsal = stage.rehearsal(kind, scene)
    began = time.monotonic()
    with stage.database(kind, scene) as url, stage.opened(scene, url) as opened:
        victim = Victim(replace(stage.tick(scene, url), moment=moment))
        watcher = Watcher(opened.camera, rehearsal.states)
        try:
            victim.go_on()
            _await_death(victim, moment)
        finally:
            victim.kill()
            watcher.stop()
        assert victim.process.exitcode == -signal.SIGKILL, (victim.process.exitcode, victim.ended)
        wait_until_gone(kind, url, besides=1)  # the camera's

        left = opened.camera.picture()
        possible = _possible(moment, rehearsal)
        commits = watcher.place(left, since=possible.start)
        assert commits in possible, f"killed {moment}, and {commits} commits are there, not {possible}"
        assert not (broken := broken_invariants(left)), broken
        assert not (divergent := not_replayable(opened.store, opened.definitions)), divergent
        held = _dead_hand(opened.store, scene)

        check_aftermath(stage.next_tick(scene, url, opened), rehearsal)
    taken = time.monotonic() - began
    return Killed(sort, moment, commits, len(rehearsal.states) - 1, watcher.glances, len(watcher.seen), held, taken)


def check_aftermath(aftermath: Aftermath, rehearsal: Rehearsal) -> None:
    """Raise AssertionError unless the next tick left what it leaves after an undisturbed run."""
    wanted = rehearsal.aftermath
    assert not (lines := unexplained(aftermath.picture, wanted.picture)), lines
    assert not (lines := foreign_versions(aftermath.picture, [*rehearsal.states, *rehearsal.later])), lines
    assert aftermath.ledger == wanted.ledger, set(aftermath.ledger.items()) ^ set(wanted.ledger.items())
    assert set(aftermath.statuses) == {"ok"}, aftermath.statuses
    assert aftermath.still_to_collect == wanted.still_to_collect


def _await_death(victim: Victim, moment: Moment) -> None:
    if moment.event is None:
        # By the clock, and from outside: wherever it is just then.
        victim.process.join(moment.after)
        return
    victim.process.join(60)
    assert not victim.process.is_alive(), f"it lives, though it was to die {moment}: {victim.told(0)}"


def _possible(moment: Moment, rehearsal: Rehearsal) -> range:
    """Return how many commits there may be: only one that was under way may or may not have come through."""
    if moment.event is None:
        return range(len(rehearsal.states))
    first = moment.event.commits
    under_way = moment.after is not None and moment.event.place is Place.BEFORE_COMMIT
    return range(first, first + 1 + under_way)


def _dead_hand(store: Store, scene: Scene) -> bool:
    """Check that a lock which the victim held is still its own until the lease ends; then let it end."""
    lock = CollectionLock(store)
    held = lock.describe()
    if held is None:
        return False
    with pytest.raises(CollectionBusyError, match="a process that died loses the lock"):
        lock.acquire("too early")
    if scene.way is Way.PLAIN:
        lease_runs_out(store)
    # Dagster's next run waits for the end of the lease, in real time.
    return True


class Watcher(Onlooker):
    """Each thing it sees is a state that the undisturbed run left."""

    def __init__(self, camera: Camera, states: Sequence[Picture]) -> None:
        """Begin to look."""
        self._states = states
        self.seen: set[int] = set()
        super().__init__(camera, _PAUSE)

    def stop(self) -> None:
        """Stop looking, and place every picture: raise AssertionError for one that is none of the states."""
        latest = 0
        for picture in self.developed():
            # Some commits (the lock's) change nothing that is looked at: any of these will do, but none goes back.
            latest = self.place(picture, since=latest)
            self.seen.add(latest)

    def place(self, picture: Picture, since: int = 0) -> int:
        """Return after how many commits the undisturbed run looked like this."""
        for commits in range(since, len(self._states)):
            if self._states[commits] == picture:
                return commits
        nearest = min((picture.differences(state) for state in self._states), key=len)
        raise AssertionError(f"a reader saw what no commit of the undisturbed run left: {nearest}")
