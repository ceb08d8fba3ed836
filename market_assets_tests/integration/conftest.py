"""Fixtures of the integration tests: one simulator per process, collectors on copies of prepared databases."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.clock import ManualClock
from market_assets.sources.simulator import SimulatorServer
from market_assets.universe import UNIVERSE, Universe
from market_assets_tests.fakes import Collector, TimedRequests, small_universe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: a Wednesday, half an hour after New York opened
FIRST_TICK = datetime(2025, 11, 19, 15, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def clock() -> ManualClock:
    return ManualClock(FIRST_TICK)


@pytest.fixture(scope="session")
def running_simulator(clock: ManualClock) -> Iterator[SimulatorServer]:
    with SimulatorServer(clock) as server:
        yield server


@pytest.fixture
def simulator(running_simulator: SimulatorServer, clock: ManualClock) -> Iterator[SimulatorServer]:
    """The process's simulator, as new: the usual market, no faults, no latency, nothing recorded, at FIRST_TICK."""
    clock.set(FIRST_TICK)
    running_simulator.requests = TimedRequests()
    running_simulator.in_flight_peak = 0
    market = running_simulator.market
    instruments = [market.instrument(symbol) for symbol in market.symbols]
    yield running_simulator
    for instrument in instruments:
        if instrument is not None:
            market.add_instrument(instrument)  # without the splits that the test gave it
    running_simulator.faults.clear()
    running_simulator.stop_playing()
    running_simulator.latency = timedelta(0)


#: when `a_week_of_ticks` is over: a Tuesday, after the nightly runs
WEEK_ENDS = datetime(2024, 12, 3, 2, 41, tzinfo=UTC)


def a_week_of_ticks(collector: Collector) -> list[dict[str, Any]]:
    """Live from Wednesday, 27 November 2024 to the Tuesday after: a holiday, a half day, an outage over the weekend.

    Every run is one that a schedule asked for. Returns the facts of each, with the schedule's instant and, for ticks,
    the values of the row as it was served.
    """
    facts = []
    for schedule, days in [
        ("collect_tick", {27: ["20:31", "21:01"]}),
        ("collect_tick", {28: ["00:01", "00:31", "15:01"]}),  # Thanksgiving
        ("collect_tick", {29: ["00:01", "14:31", "15:01", "17:31", "18:01", "18:31"]}),  # closes at 18:00
        ("collect_tick", {32: ["00:31", "01:01"]}),  # 2 December, after two and a half days without a tick
        ("settle", {32: ["02:10"]}),
        ("collect_tick", {32: ["14:31", "21:01"], 33: ["00:01"]}),
    ]:
        for day, times in days.items():
            for clock in times:
                at = datetime.fromisoformat(f"2024-11-01T{clock}:00+00:00") + timedelta(days=day - 1)
                for run in collector.run_schedule(schedule, at):
                    assert run.success, (at, run.failed_steps)
                    fact = run.facts() | {"at": at.isoformat(), "kind": run.record.kind if run.record else ""}
                    if fact["kind"] == "tick":
                        row = collector.row(at.replace(minute=at.minute // 30 * 30))
                        fact["served"] = {name: row[name] for name in [*collector.columns, "origin", "ages"]}
                    facts.append(fact)
    return facts


class Workshop:
    """Makes collectors on the test's simulator and closes them at the end."""

    def __init__(self, simulator: SimulatorServer, clock: ManualClock, directory: Path, shared: Path) -> None:
        self.simulator = simulator
        self.clock = clock
        self._directory = directory
        self._shared = shared
        self._made: list[Collector] = []

    def new(self, database_url: str | None = None, universe: Universe | None = None, **options: Any) -> Collector:
        """Return a collector on an empty (or the given) database; `options` are settings or `indicators`."""
        url = database_url or self._url(self._directory / f"{len(self._made)}.db")
        made = Collector(self.simulator, self.clock, url, universe=universe or small_universe(), **options)
        self._made.append(made)
        return made

    def bootstrapped(self, universe: Universe | None = None, *, at: datetime = FIRST_TICK, **options: Any) -> Collector:
        """Return a collector whose first collection was at `at`; it is made once and copied."""
        database, _ = self.prepared(universe or small_universe(), at)
        return self.copy_of(database, universe, **options).at(at)

    def after_the_week(self, **options: Any) -> tuple[Collector, list[dict[str, Any]]]:
        """Return a collector that has lived through `a_week_of_ticks`, and what each of its runs did."""
        database, runs = self.made_once("week", small_universe(), a_week_of_ticks)
        return self.copy_of(database, **options).at(WEEK_ENDS), runs

    def copy_of(self, database: Path, universe: Universe | None = None, **options: Any) -> Collector:
        """Return a collector on a copy of a prepared database."""
        copy = self._directory / f"{len(self._made)}.db"
        shutil.copyfile(database, copy)
        collector = self.new(self._url(copy), universe, **options)
        self.simulator.requests.clear()
        return collector

    def close(self) -> None:
        # the last one first: Dagster keeps its instances in a stack
        for made in reversed(self._made):
            made.close()

    def prepared(self, universe: Universe, at: datetime = FIRST_TICK) -> tuple[Path, dict[str, Any]]:
        """Return the database file of a first collection at `at` and what its run did (`Collected.facts`)."""

        def first_collection(collector: Collector) -> list[dict[str, Any]]:
            first = collector.at(at).collect()
            assert first.success, first.failed_steps
            return [first.facts()]

        tickers = "-".join(ticker.name for ticker in universe) if len(universe) < len(UNIVERSE) else "all"
        database, facts = self.made_once(f"{tickers}-{at:%Y%m%d%H%M}", universe, first_collection)
        return database, facts[0]

    def made_once(
        self, name: str, universe: Universe, recipe: Callable[[Collector], list[dict[str, Any]]]
    ) -> tuple[Path, list[dict[str, Any]]]:
        """Return the database and the facts that `recipe` makes; whichever process needs them first runs it."""
        database, facts = self._shared / f"{name}.db", self._shared / f"{name}.json"
        with (self._shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not database.exists():
                making = Path(tempfile.mkdtemp(dir=self._shared)) / "making.db"
                with Collector(self.simulator, self.clock, self._url(making), universe=universe) as collector:
                    facts.write_text(json.dumps(recipe(collector)))
                assert [one.name for one in making.parent.iterdir()] == [making.name], "a closed database is one file"
                making.rename(database)
        return database, json.loads(facts.read_text())

    @staticmethod
    def _url(path: Path) -> str:
        return f"sqlite:///{path}"


@pytest.fixture
def workshop(
    simulator: SimulatorServer, clock: ManualClock, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each worker a directory of its own inside of the session's
    made = Workshop(simulator, clock, tmp_path, base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    yield made
    made.close()
