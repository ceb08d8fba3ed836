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
    from collections.abc import Iterator

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
        copy = self._directory / f"{len(self._made)}.db"
        shutil.copyfile(self.prepared(universe or small_universe(), at)[0], copy)
        collector = self.new(self._url(copy), universe, **options)
        self.simulator.requests.clear()
        return collector.at(at)

    def close(self) -> None:
        for made in self._made:
            made.close()

    def prepared(self, universe: Universe, at: datetime = FIRST_TICK) -> tuple[Path, dict[str, Any]]:
        """Return the database file of a first collection and what its run did (`Collected.facts`).

        It is made by whichever process needs it first.
        """
        tickers = "-".join(ticker.name for ticker in universe) if len(universe) < len(UNIVERSE) else "all"
        name = f"{tickers}-{at:%Y%m%d%H%M}"
        prepared, facts = self._shared / f"{name}.db", self._shared / f"{name}.json"
        with (self._shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not prepared.exists():
                making = Path(tempfile.mkdtemp(dir=self._shared)) / "making.db"
                with Collector(self.simulator, self.clock, self._url(making), universe=universe) as collector:
                    first = collector.at(at).collect()
                    assert first.success, first.failed_steps
                assert [one.name for one in making.parent.iterdir()] == [making.name], "a closed database is one file"
                facts.write_text(json.dumps(first.facts()))
                making.rename(prepared)
        return prepared, json.loads(facts.read_text())

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
