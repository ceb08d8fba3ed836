"""The scenes of the torture: a database before a collection, the collection's instant, what the source does then.

Belongs here: preparing and copying databases, moving the market, and rehearsing: the undisturbed run that everything is
compared with. Does not belong here: disturbing it.
"""

from __future__ import annotations

import fcntl
import pickle
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from market_assets.clock import ManualClock
from market_assets.collection.catch_up import uncollected_days
from market_assets.columns import feature_columns
from market_assets.settings import Settings
from market_assets.sources.simulator import BadStyle, Fault, FaultKind, SimulatorServer
from market_assets.store import CollectionLock, Store
from market_assets.verify.served import Definitions
from market_assets_tests.databases import SQLITE, database_copy, permanent_database
from market_assets_tests.fakes import indicators_of, small_universe
from market_assets_tests.torture.invariants import broken_invariants, not_replayable
from market_assets_tests.torture.pictures import Camera, Picture
from market_assets_tests.torture.victim import Ended, Errand, Pauses, Victim, Way, collect_as_scheduled, collector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets.collection.days import DayRange
    from market_assets_tests.torture.events import Event

#: a share, the two bonds of the credit spread, one crypto reference: two venues, and an indicator
TICKERS = ("QQQ", "HYG", "LQD", "BTC")
#: the market forgets intraday bars sooner than Yahoo does: a fifth of the rows shows the same, in less time
FORGOTTEN = (("15m", datetime(2025, 10, 27, tzinfo=UTC)), ("1h", datetime(2025, 9, 15, tzinfo=UTC)))


def utc(text: str) -> datetime:
    """Return an instant of November 2025, such as `19 15:01`."""
    day, clock = text.split()
    return datetime.fromisoformat(f"2025-11-{day}T{clock}:00+00:00")


@dataclass(frozen=True, slots=True)
class Scene:
    """One collection to disturb."""

    name: str
    what: str
    #: when the database was collected into first; None: it is new
    before: datetime | None
    #: the collection that is disturbed
    at: datetime
    #: the next tick
    after: datetime
    way: Way = Way.PLAIN
    #: instant of a bar of HYG that the source revises, of one of LQD that it spoils and of one of BTC that it withdraws
    revised: datetime | None = None
    spoilt: datetime | None = None
    withdrawn: datetime | None = None
    #: ex-date of a split of QQQ
    split: date | None = None

    def faults(self) -> Iterator[Fault]:
        """Return what the source does wrong from `at` on, and goes on doing."""
        for symbol, kind, start in (
            ("HYG", FaultKind.REVISED_BARS, self.revised),
            ("LQD", FaultKind.BAD_BARS, self.spoilt),
            ("BTC-USD", FaultKind.MISSING_SESSION, self.withdrawn),
        ):
            if start is not None:
                end = start + timedelta(minutes=15)
                fault = Fault(kind=kind, symbol=symbol, interval="15m", start=start, end=end)
                yield replace(fault, style=BadStyle.HIGH_BELOW_LOW, factor=1.001)


FIRST = Scene("first", "the first collection of all", None, utc("19 15:31"), utc("19 16:01"), spoilt=utc("19 15:00"))
NIGHT = Scene(
    "night",
    "the first tick after two days of which one was collected in part: today's tick, then the days that were missed",
    utc("19 15:01"),
    utc("21 00:31"),
    utc("21 01:01"),
    revised=utc("19 14:30"),
    spoilt=utc("19 16:00"),
    withdrawn=utc("19 10:00"),
    split=date(2025, 11, 20),
)
DAGSTER = Scene(
    "dagster",
    "a tick as `run_collection` runs it",
    utc("19 15:01"),
    utc("19 15:31"),
    utc("19 16:01"),
    way=Way.DAGSTER,
    revised=utc("19 14:30"),
    spoilt=utc("19 15:15"),
    withdrawn=utc("19 10:00"),
)
SCENES = (FIRST, NIGHT, DAGSTER)

Ledger = dict[tuple[str, str, date], str]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What stands in the database after the next tick."""

    picture: Picture
    #: the status of each collection of that tick
    statuses: tuple[str, ...]
    ledger: Ledger
    still_to_collect: DayRange | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The undisturbed run: every state that a reader may ever see, and what the next tick leaves."""

    events: tuple[Event, ...]
    #: `states[n]` is what everybody sees after `n` commits
    states: tuple[Picture, ...]
    #: likewise for the next tick
    later: tuple[Picture, ...]
    seconds: float
    aftermath: Aftermath


@dataclass(frozen=True, slots=True)
class Opened:
    """A database to look at: over the store, and past it."""

    store: Store
    camera: Camera
    definitions: Definitions


class Market:
    """A simulator that stands at one instant of a scene at a time."""

    def __init__(self) -> None:
        """Start the simulator."""
        self._clock = ManualClock(SCENES[0].at)
        self.server = SimulatorServer(self._clock).start()
        market = self.server.market
        self._instruments = [market.instrument(symbol) for symbol in market.symbols]

    def at(self, scene: Scene, instant: datetime) -> None:
        """Move to `instant` of `scene`."""
        self._clock.set(instant)
        self.server.faults.clear()
        for interval, end in FORGOTTEN:
            self.server.faults.add(Fault(kind=FaultKind.MISSING_SESSION, interval=interval, end=end))
        for instrument in self._instruments:
            if instrument is not None:
                self.server.market.add_instrument(instrument)  # without a split of another scene
        if instant >= scene.at:
            for fault in scene.faults():
                self.server.faults.add(fault)
            if scene.split is not None:
                self.server.market.add_split("QQQ", scene.split, 2.0)


class Stage:
    """Databases of every kind in the state in which a scene begins, and a market at each of its two instants."""

    def __init__(self, directory: Path, *, shared: Path | None = None, dagster_goes_on: bool = True) -> None:
        """`directory` takes files. Rehearsals are `shared` with the other processes of a test session.

        `dagster_goes_on`: whether the tick after a run of Dagster's is one too, or only calls the same functions.
        """
        self._directory = directory
        self._shared = shared
        self._dagster_goes_on = dagster_goes_on
        self._now, self._later = Market(), Market()
        self._bases: dict[tuple[str, datetime | None], str] = {}
        self._rehearsals: dict[tuple[str, str], Rehearsal] = {}

    def close(self) -> None:
        """Stop both markets."""
        self._now.server.stop()
        self._later.server.stop()

    def tick(self, scene: Scene, url: str) -> Errand:
        """Return the errand of the collection that is disturbed."""
        self._now.at(scene, scene.at)
        return self._errand(scene, url, scene.at, self._now, "tick")

    def next(self, scene: Scene, url: str) -> Errand:
        """Return the errand of the tick after it; it waits for a lock that a killed one has left."""
        self._later.at(scene, scene.after)
        errand = self._errand(scene, url, scene.after, self._later, "next")
        way = scene.way if self._dagster_goes_on else Way.PLAIN
        return replace(errand, way=way, wait=timedelta(seconds=30))

    def _errand(self, scene: Scene, url: str, at: datetime, market: Market, called: str) -> Errand:
        # Dagster's resources take the lease from the settings, where five seconds are the least.
        lease = timedelta(seconds=5 if scene.way is Way.DAGSTER else 60)
        home = self._directory / "dagster"
        return Errand(url, market.server.url, at, TICKERS, scene.way, called, lease, dagster_home=str(home))

    @contextmanager
    def database(self, kind: str, scene: Scene) -> Iterator[str]:
        """Copy the database in which the scene begins; the copy is dropped at the end."""
        with database_copy(kind, self._base(kind, scene), Path(tempfile.mkdtemp(dir=self._directory))) as url:
            yield url

    def _base(self, kind: str, scene: Scene) -> str:
        key = (kind, scene.before)
        if key not in self._bases:
            url = permanent_database(kind, self._directory)
            at = scene.before or scene.at
            self._now.at(scene, at)
            with collector_for(self._errand(scene, url, at, self._now, "base")) as collector:
                if scene.before is not None:
                    assert collect_as_scheduled(collector) == ["ok"]
            self._bases[key] = url
        return self._bases[key]

    # --- the undisturbed run ------------------------------------------------------------------------------------------

    def rehearsal(self, kind: str, scene: Scene) -> Rehearsal:
        """Return the undisturbed run of a scene on one kind of database; it is made once."""
        key = (kind, scene.name)
        if key not in self._rehearsals:
            self._rehearsals[key] = self._shared_rehearsal(kind, scene)
        return self._rehearsals[key]

    def _shared_rehearsal(self, kind: str, scene: Scene) -> Rehearsal:
        if self._shared is None:
            return self._rehearse(kind, scene)
        kept = self._shared / f"{kind}-{scene.name}.pickle"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_bytes(pickle.dumps(self._rehearse(kind, scene)))
        rehearsal: Rehearsal = pickle.loads(kept.read_bytes())  # noqa: S301 - written by this test session
        return rehearsal

    def _rehearse(self, kind: str, scene: Scene) -> Rehearsal:
        with self.database(kind, scene) as url, self.opened(scene, url) as opened:
            states = [opened.camera.picture()]
            ended, seconds = _walk(Victim(replace(self.tick(scene, url), pauses=Pauses.COMMITS)), opened, states)
            later = [states[-1]]
            following, _ = _walk(Victim(replace(self.next(scene, url), pauses=Pauses.COMMITS)), opened, later)
            for state in (*states, *later):
                assert not (broken := broken_invariants(state)), broken
            return Rehearsal(
                ended.events, tuple(states), tuple(later), seconds, aftermath_of(scene, opened, following.statuses)
            )

    @contextmanager
    def opened(self, scene: Scene, url: str) -> Iterator[Opened]:
        """Open a database of the scene for looking at it."""
        universe = small_universe(TICKERS)
        indicators = indicators_of(universe)
        store = Store.connect(url, feature_columns=feature_columns(universe, indicators))
        unpredictable = ("run_id",) if scene.way is Way.DAGSTER else ()
        try:
            with Camera(url, store.schema, unpredictable=unpredictable) as camera:
                yield Opened(store, camera, Definitions(universe, indicators))
        finally:
            store.close()

    def next_tick(self, scene: Scene, url: str, opened: Opened) -> Aftermath:
        """Run the tick after the scene's, and look at what it leaves.

        Raises AssertionError if it fails, an invariant is broken afterwards, or a row cannot be replayed.
        """
        following = Victim(self.next(scene, url))
        following.go_on()
        ended = following.to_its_end()
        assert not ended.error, ended.error
        return aftermath_of(scene, opened, ended.statuses)


def _walk(victim: Victim, opened: Opened, states: list[Picture]) -> tuple[Ended, float]:
    """Let the victim run to its end, and add a picture after each of its commits; return its own seconds too."""
    looking = 0.0
    victim.go_on()
    while not isinstance(told := victim.told(120.0), Ended):
        assert told is not None, "the rehearsed run has stopped"
        began = time.monotonic()
        states.append(opened.camera.picture())
        looking += time.monotonic() - began
        victim.go_on()
    victim.process.join(60)
    assert not told.error, told.error
    assert set(told.statuses) == {"ok"}, told.statuses
    return told, told.seconds - looking


def aftermath_of(scene: Scene, opened: Opened, statuses: tuple[str, ...]) -> Aftermath:
    """Look at what stands in the database when nobody collects any more; raise AssertionError if it is not sound."""
    assert CollectionLock(opened.store).describe() is None, "the lock is still held"
    picture = opened.camera.picture()
    assert not (broken := broken_invariants(picture)), broken
    assert not (divergent := not_replayable(opened.store, opened.definitions)), divergent
    missed = uncollected_days(opened.store, scene.after, Settings.load())
    return Aftermath(picture, statuses, ledger_states(opened.store), missed)


def ledger_states(store: Store) -> Ledger:
    """Return the state of every (ticker, interval, day) that was ever recorded."""
    entries = store.runs.states(date(2017, 1, 1), date(2100, 1, 1))
    return {(entry.ticker, entry.interval, entry.day): entry.state.value for entry in entries}


def lease_runs_out(store: Store) -> None:
    """Let the time of a lease pass, for the lock alone: the database's clock cannot be moved."""
    # Both stamps, as if it had been taken long ago.
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    table = store.schema.metadata.tables["collection_lock"]
    aged = sa.update(table).values(acquired_at=long_ago, expires_at=long_ago)
    store.database.write(lambda connection: connection.execute(aged))


def wait_until_gone(kind: str, url: str, *, besides: int, seconds: float = 20.0) -> None:
    """Wait until the server has noticed the death of its clients: then nothing of theirs is under way any more.

    `besides` connections of others are left.
    """
    if kind == SQLITE:
        return  # the file's locks went with the process
    name = sa.make_url(url).database
    views = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()",
        "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = %s AND id <> connection_id()",
    }
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            others = connection.exec_driver_sql(views[engine.dialect.name], (name,)).scalar_one()
        if others <= besides:
            return
        assert time.monotonic() < deadline, f"{others} connections to {name} are left, and {besides} are expected"
        time.sleep(0.01)
