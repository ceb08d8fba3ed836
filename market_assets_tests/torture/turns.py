"""Who moves when: programs that ask before they leave any of their events go on in turns, drawn from a seed.

Belongs here: directing programs that stand at events. Does not belong here: what they do, and why they meet.

One that does not come to its next event is blocked by the other, inside of the database: then the other goes on.
"""

from __future__ import annotations

from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING

from market_assets_tests.torture.events import Event, Place
from market_assets_tests.torture.victim import Ended

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from market_assets_tests.torture.victim import Victim

#: seconds after which a program that talks to the database is taken to be blocked
PATIENCE = 0.05
#: seconds after which a program that does anything else is given up
LONGEST = 120.0
#: how likely the same program moves again: bursts of some statements
_AGAIN = 0.6
#: how likely it is the turn of one that only looks whether the lock is free, again and again
_LOOKS = 0.05


def step(victim: Victim) -> None:
    """Let a program that stands at an event go on to its next one, or to its end."""
    if victim.ended is None:
        victim.go_on()
        assert victim.told(LONGEST) is not None, "the program does not go on"


def patience(victim: Victim) -> float:
    """Return how long a moving program is waited for: one that talks to the database may be blocked by the other."""
    talks = victim.last is None or victim.last.place in {Place.BEFORE_STATEMENT, Place.BEFORE_COMMIT}
    return PATIENCE if talks else LONGEST


def alternate(
    standing: Sequence[Victim], chance: random.Random, moving: Sequence[Victim] = (), seldom: Victim | None = None
) -> int:
    """Let programs that stand at an event, and those that move already, go on in turns to their ends.

    One moves only `seldom` while another one can. Returns how often the word passed from one to another.
    """
    ready = [victim for victim in standing if victim.ended is None]
    under_way = list(moving)
    turns = 0
    last: Victim | None = None
    while ready or under_way:
        _hear(under_way, ready)
        if not ready:
            continue
        chosen = _chosen(ready, last, chance, seldom)
        turns += last is not None and chosen is not last
        last = chosen
        chosen.go_on()
        ready.remove(chosen)
        under_way.append(chosen)
    for victim in {*standing, *moving}:
        victim.process.join(60)
    return turns


def _hear(under_way: list[Victim], ready: list[Victim]) -> None:
    """Wait for everybody who can come to an event: who moves next is drawn, and not a matter of speed."""
    for victim in list(under_way):
        if not ready:
            wait_for([one.wire for one in under_way], LONGEST)
        told = victim.told(0.0 if not ready or victim.blocked else patience(victim))
        victim.blocked = told is None
        if told is None:
            continue
        under_way.remove(victim)
        if isinstance(told, Event):
            ready.append(victim)
        if isinstance(told, Ended) or told.place is Place.AFTER_COMMIT:
            # Whoever waited for this may have its chance now.
            for other in under_way:
                other.blocked = False


def _chosen(ready: list[Victim], last: Victim | None, chance: random.Random, seldom: Victim | None) -> Victim:
    if seldom in ready and len(ready) > 1:
        others = [victim for victim in ready if victim is not seldom]
        return seldom if seldom is not None and chance.random() < _LOOKS else others[0]
    return last if last in ready and last is not None and chance.random() < _AGAIN else chance.choice(ready)
