"""Two collections at once, forced to interleave statement by statement.

Belongs here: the stories, and what must be true afterwards. Does not belong here: who moves when (`turns.py`), killing
(`kills.py`).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from market_assets.store.tables import COLLECTION_LOCK
from market_assets_tests.torture.events import Event, Place, committed
from market_assets_tests.torture.kills import check_aftermath
from market_assets_tests.torture.pictures import scopes
from market_assets_tests.torture.stage import NIGHT, aftermath_of, lease_runs_out
from market_assets_tests.torture.turns import LONGEST, PATIENCE, alternate, patience, step
from market_assets_tests.torture.victim import Ended, Pauses, Victim
from market_assets_tests.torture.watching import Onlooker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from market_assets.store import Store
    from market_assets_tests.torture.pictures import Camera, Picture, Row
    from market_assets_tests.torture.stage import Opened, Rehearsal, Scene, Stage

#: seconds between two looks of the witness
_PAUSE = 0.1
_WAIT = timedelta(seconds=60)
#: seconds after which the database's locks are taken to be held
_LOOK = 1.0
#: commits of the second from which the first wakes up: the lock, the log, the tickers, and what is derived from them
_FIRST_COMMITS = 12
#: the least that the settings allow; what is paused loses it in real time
_SHORT_LEASE = timedelta(seconds=5)


class Story(StrEnum):
    """What two collections do to each other."""

    REFUSED = "the second finds the lock held, and gives up"
    WAITING = "the second waits for the lock while the first goes on"
    ROBBED = "the first loses its lease unawares, and both go on at once"
    PAUSED = "the first is stopped (SIGSTOP) until its lease has ended and the second is done, and then wakes up"


@dataclass(frozen=True, slots=True)
class Crossed:
    """What one crossing showed."""

    story: Story
    #: the event of the first at which the second began
    met: Event
    #: how often the word passed from one to the other
    turns: int
    #: how the first ended: its statuses, or what it raised
    first: str
    glances: int
    seconds: float


def cross(stage: Stage, kind: str, story: Story, seed: str, scene: Scene = NIGHT) -> Crossed:
    """Run the tick of a scene and the next one into each other; raise AssertionError if anything is not as it must be.

    The first collection's fetch is the older one.
    """
    rehearsal = stage.rehearsal(kind, scene)
    chance = random.Random(seed)  # noqa: S311 - no secret
    met = chance.choice(_meetings(story, rehearsal))
    began = time.monotonic()
    with stage.database(kind, scene) as url, stage.opened(scene, url) as opened:
        lease = _SHORT_LEASE if story is Story.PAUSED else timedelta(seconds=60)
        # Each is two collections, and takes the lock twice.
        wait = _WAIT if story is Story.WAITING else timedelta(0)
        one = Victim(replace(stage.tick(scene, url), pauses=Pauses.ALWAYS, lease=lease, wait=wait))
        pauses = Pauses.NEVER if story is Story.PAUSED else Pauses.ALWAYS
        wait = timedelta(0) if story is Story.REFUSED else _WAIT
        two = Victim(replace(stage.next(scene, url), pauses=pauses, wait=wait))
        witness = Witness(opened.camera, rehearsal)
        try:
            _walk_to(one, met)
            turns = _act(story, one, two, opened, chance)
        finally:
            one.kill()
            two.kill()
            witness.stop()
        assert one.ended is not None
        assert two.ended is not None
        _check_ends(story, one.ended, two.ended, seed)
        if story is Story.REFUSED:
            aftermath = stage.next_tick(scene, url, opened)
        else:
            aftermath = aftermath_of(scene, opened, two.ended.statuses)
        check_aftermath(aftermath, rehearsal)
        if story is Story.REFUSED:
            # It never happened: even the stamps are those of the undisturbed run.
            assert not (lines := aftermath.picture.differences(rehearsal.aftermath.picture)), lines
    told = one.ended.error or ", ".join(one.ended.statuses)
    return Crossed(story, met, turns, told, witness.glances, time.monotonic() - began)


def _meetings(story: Story, rehearsal: Rehearsal) -> list[Event]:
    """Return the events of the first at which the second may begin: while the first holds the lock."""
    writing = committed(rehearsal.events)
    inside = [event for event in rehearsal.events if event.commits >= 1][:-4]
    if story in {Story.PAUSED, Story.REFUSED}:
        # Standing inside of a write it would hold the database's own locks, and nobody could go past it.
        return [event for event in inside if event.transaction not in writing or event.place is Place.AFTER_COMMIT]
    return inside


def _walk_to(victim: Victim, met: Event) -> None:
    """Let a program go on until it stands at `met`."""
    victim.go_on()
    while (told := victim.told(LONGEST)) != met:
        assert told is not None, f"the program does not come to {met}"
        assert not isinstance(told, Ended), told
        victim.go_on()


def _act(story: Story, one: Victim, two: Victim, opened: Opened, chance: random.Random) -> int:
    """Let the story happen; return how often the word passed."""
    if story is Story.REFUSED:
        two.go_on()
        return alternate([], chance, (two,)) + alternate([one], chance)
    if story is Story.WAITING:
        two.go_on()
        return alternate([one], chance, (two,), seldom=two)
    if story is Story.PAUSED:
        pid = _stop_between_writes(one, opened.store)
        one.go_on()
        two.go_on()
        two.to_its_end()
        os.kill(pid, signal.SIGCONT)
        return 2 + alternate([], chance, (one,))
    _rob(one, two, opened.store, commits=chance.randrange(1, _FIRST_COMMITS))
    return alternate([one, two], chance)


def _stop_between_writes(victim: Victim, store: Store) -> int:
    """Stop a program where none of its threads holds the database's locks; return its process's number.

    The thread that renews the lease writes when it likes. Stopped inside of a write it keeps everybody out, for as long
    as the database lets it: that is another story.
    """
    pid = victim.process.pid
    assert pid is not None
    lock = sa.select(store.schema.plain(COLLECTION_LOCK)).with_for_update()
    while True:
        os.kill(pid, signal.SIGSTOP)
        look = threading.Thread(target=store.database.write, args=(lambda connection: connection.execute(lock),))
        look.start()
        look.join(_LOOK)
        if not look.is_alive():
            return pid
        os.kill(pid, signal.SIGCONT)
        look.join()


def _rob(one: Victim, two: Victim, store: Store, commits: int) -> None:
    """End the lease of `one` behind its back, let `two` take the lock and make some `commits`.

    Wherever `one` keeps them from it, inside of a write, it goes on until it lets go.
    """
    robber = threading.Thread(target=lease_runs_out, args=(store,), daemon=True)
    robber.start()
    robber.join(PATIENCE)
    while robber.is_alive():
        step(one)
        robber.join(PATIENCE)
    two.go_on()
    while True:
        told = two.told(patience(two))
        assert not isinstance(told, Ended), told
        if told is None:
            step(one)
        elif told.commits >= commits:
            return
        else:
            two.go_on()


def _check_ends(story: Story, one: Ended, two: Ended, seed: str) -> None:
    """Raise AssertionError unless both ended as the story says."""
    if story is Story.REFUSED:
        assert two.error.startswith("CollectionBusyError: the collection lock is held by tick-"), two
        assert (one.error, set(one.statuses)) == ("", {"ok"}), one
        return
    assert (two.error, set(two.statuses)) == ("", {"ok"}), (seed, two)
    if story is Story.WAITING:
        assert (one.error, set(one.statuses)) == ("", {"ok"}), (seed, one)
    elif not one.error:
        # Robbed when everything but the states of its days was written, it says that it failed.
        assert one.statuses in {("ok",), ("ok", "ok"), ("ok", "failed"), ("failed",)}, (seed, one)
    else:
        # It notices at its next step, or when it asks for the lock again, for its second collection. What Dagster tells
        # of a failure is its message alone.
        assert one.error.startswith(("LeaseLostError", "CollectionBusyError", "RuntimeError")), (seed, one)
        assert "collection lock" in one.error, (seed, one)


class Witness(Onlooker):
    """A scope holds what one of the undisturbed runs left in it, the older or the newer, whole."""

    def __init__(self, camera: Camera, rehearsal: Rehearsal) -> None:
        """Begin to look."""
        self._allowed = _ever(rehearsal)
        super().__init__(camera, _PAUSE)

    def stop(self) -> None:
        """Stop looking, and judge what was seen."""
        for picture in self.developed():
            for scope, rows in scopes(picture).items():
                assert rows in self._allowed[scope], f"a reader saw {len(rows)} rows of {scope} that no run ever left"


def _ever(rehearsal: Rehearsal) -> Mapping[tuple[str, ...], set[frozenset[Row]]]:
    """Return, by scope, every set of rows that the undisturbed runs ever showed in it."""
    allowed: dict[tuple[str, ...], set[frozenset[Row]]] = defaultdict(set)
    distinct: Iterable[Picture] = (*rehearsal.states, *rehearsal.later)
    for picture in distinct:
        for scope, rows in scopes(picture).items():
            allowed[scope].add(rows)
    return allowed
