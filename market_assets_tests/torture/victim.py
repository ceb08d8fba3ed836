"""The program that is tortured: one collection in a process of its own.

Belongs here: what runs in the other process, and how it obeys. Does not belong here: deciding when it dies, and looking
at what it leaves.

The processes are forked from a server that has imported everything (`multiprocessing`'s forkserver): each is a process
like any other, with memory, threads and connections of its own, but starts in milliseconds. They are killed by SIGKILL,
which no process can catch: no handler, no `finally`, no rollback of its own runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from market_assets import definitions
from market_assets.clock import ManualClock
from market_assets.collection.catch_up import uncollected_days
from market_assets.collection.days import DayRange
from market_assets.run import run_collection
from market_assets_tests.fakes import small_universe
from market_assets_tests.torture.events import Event, Moment, Place, Tap
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["market_assets_tests.torture.victim", "yfinance", "market_assets.sources.yahoo"])
_FOR_EVER = 600.0


class Way(StrEnum):
    """How a collection is driven."""

    #: the functions of a run, called one after the other
    PLAIN = "plain"
    #: `market_assets.run.run_collection`: Dagster, its resources and its IO manager
    DAGSTER = "dagster"


class Pauses(StrEnum):
    """At which events the program asks whether it may go on."""

    NEVER = "never"
    COMMITS = "commits"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Errand:
    """What a victim is to do. Plain values: it travels to the other process."""

    database_url: str
    yahoo_url: str
    #: the simulated instant; it stands still
    at: datetime
    tickers: tuple[str, ...]
    way: Way = Way.PLAIN
    called: str = "tick"
    lease: timedelta = timedelta(seconds=60)
    #: for another collection that holds the lock
    wait: timedelta = timedelta(0)
    moment: Moment | None = None
    pauses: Pauses = Pauses.NEVER
    #: where Dagster keeps its runs
    dagster_home: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a victim that came to its end has to tell."""

    #: status of each collection, in order
    statuses: tuple[str, ...]
    #: what it raised, `Type: message`
    error: str
    events: tuple[Event, ...] = field(repr=False)
    seconds: float


def collect_as_scheduled(collector: LiveCollector) -> list[str]:
    """Collect today and then, as `collect_tick` does, the days that were missed; return what became of both."""
    statuses = [collector.collect().status]
    missed = uncollected_days(collector.store, collector.clock.now(), collector.settings)
    if missed is not None:
        statuses.append(collector.collect(missed.first, missed.last, kind="catch_up").status)
    return statuses


def collector_for(errand: Errand) -> LiveCollector:
    """Open the collector of an errand."""
    return LiveCollector(
        errand.yahoo_url,
        ManualClock(errand.at),
        errand.database_url,
        universe=small_universe(errand.tickers),
        called=errand.called,
        lease=errand.lease,
        wait=errand.wait,
        collection_lease_seconds=errand.lease.total_seconds(),
        collection_lock_wait_seconds=errand.wait.total_seconds(),
    )


class Victim:
    """A started process and the wire to it."""

    def __init__(self, errand: Errand) -> None:
        """Start it; it waits for the first `go_on`."""
        self.errand = errand
        self.wire, theirs = _CONTEXT.Pipe()
        self.process: ForkServerProcess = _CONTEXT.Process(target=_run, args=(errand, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.ended: Ended | None = None
        #: the event that it told of last
        self.last: Event | None = None
        #: whether it was waited for in vain
        self.blocked = False

    def go_on(self) -> None:
        """Let it leave the event that it waits at."""
        self.wire.send("go on")

    def told(self, seconds: float) -> Event | Ended | None:
        """Wait for what it tells next; None if it tells nothing in time. EOFError: it is dead."""
        if not self.wire.poll(seconds):
            return None
        told: Event | Ended = self.wire.recv()
        if isinstance(told, Ended):
            self.ended = told
        else:
            self.last = told
        return told

    def to_its_end(self, seconds: float = 120.0) -> Ended:
        """Wait for what it tells at its end."""
        told = self.told(seconds)
        assert isinstance(told, Ended), f"expected the end of {self.errand.called}, was told {told}"
        self.process.join(seconds)
        return told

    def kill(self) -> None:
        """Kill it, if it is alive, and wait until it is gone."""
        self.process.kill()
        self.process.join(60)
        self.wire.close()


def _run(errand: Errand, wire: Connection) -> None:
    """Be the victim."""
    # A killed program may be in the middle of a line.
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the process's life
    os.environ["DAGSTER_HOME"] = errand.dagster_home
    events: list[Event] = []
    conduct = _Conduct(errand, wire, events)
    statuses: list[str] = []
    error = ""
    began = time.monotonic()
    try:
        with collector_for(errand) as collector:
            wire.recv()
            began = time.monotonic()
            Tap(collector.store.database.engine, conduct.at)
            run = _with_dagster if errand.way is Way.DAGSTER else collect_as_scheduled
            statuses += run(collector)
    except Exception as raised:  # noqa: BLE001 - it is told, whatever it is
        error = f"{type(raised).__name__}: {raised}"
    wire.send(Ended(tuple(statuses), error, tuple(events), time.monotonic() - began))
    if errand.moment is not None:
        # It came to its end before its hour: whoever kills it by the clock still does.
        time.sleep(_FOR_EVER)


def _with_dagster(collector: LiveCollector) -> list[str]:
    """Run the collect job as the command line does, on the collector's store, universe and clock."""
    build = definitions.build_definitions
    definitions.build_definitions = partial(build, universe=collector.universe, indicators=collector.indicators)
    today = DayRange.of(collector.clock.now())
    done = run_collection(collector.settings, collector.store, days=today, kind="tick", clock=collector.clock)
    if done.failure:
        raise RuntimeError(done.failure)
    return [done.record.status if done.record else ""]


class _Conduct:
    """What the victim does at each event: note it, ask, die."""

    def __init__(self, errand: Errand, wire: Connection, events: list[Event]) -> None:
        self._wire = wire
        self._events = events
        self._pauses = errand.pauses
        self._moment = errand.moment if errand.moment and errand.moment.event else None
        self._doomed = False

    def at(self, event: Event) -> None:
        self._events.append(event)
        if self._doomed:
            # It never comes as far as its next event.
            time.sleep(_FOR_EVER)
        if self._pauses is Pauses.ALWAYS or (self._pauses is Pauses.COMMITS and event.place is Place.AFTER_COMMIT):
            self._wire.send(event)
            self._wire.recv()
        moment = self._moment
        if moment is None or moment.event is None or moment.event.number != event.number:
            return
        if moment.event != event:
            raise RuntimeError(f"the run is not the one that was rehearsed: expected {moment.event}, got {event}")
        if moment.after is None:
            _die()
        self._doomed = True
        threading.Thread(target=_die, args=(moment.after,), daemon=True).start()


def _die(seconds: float = 0.0) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
