"""The command line as a program of its own, on a simulator in this process that follows the real clock.

Belongs here: starting `market-assets`, a prepared database, and the fixtures for both (import them into a test module).
Does not belong here: tests.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.clock import SystemClock
from market_assets.sources.simulator import SimulatorServer
from market_assets.store import CollectionLock, LockState, Store
from market_assets_tests.fakes import TimedRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SCRIPT = Path(sys.executable).with_name("market-assets")
#: no answer, at once, whatever the machine's network is
NO_YAHOO = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
_LONGEST = 120.0


@dataclass(frozen=True)
class Done:
    """What a program did."""

    status: int
    out: str
    err: str
    seconds: float
    #: CPU seconds: what a busy machine does not change
    cpu: float

    def json(self) -> Any:
        """Return its standard output as JSON."""
        return json.loads(self.out)


class Program:
    """`market-assets` in a directory of its own, with nothing of this process's environment."""

    def __init__(self, directory: Path, **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "YFINANCE_REQUEST_DELAY": "0",
            "YAHOO_ATTEMPTS": "1",
            **environment,
        }

    @property
    def database(self) -> Path:
        """The database where the program keeps simulated rows."""
        return self.directory / "simulated.db"

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run a command to its end; no traceback is ever expected."""
        began, used = time.monotonic(), _children_cpu()
        with self.started(*arguments, **environment) as process:
            out, err = process.communicate(timeout=_LONGEST)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err, time.monotonic() - began, _children_cpu() - used)

    def shell(self, line: str, **environment: str) -> Done:
        """Run a line of shell where the program runs; no traceback is ever expected."""
        began, used = time.monotonic(), _children_cpu()
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began, _children_cpu() - used)

    @contextmanager
    def started(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; it is killed at the latest when the block ends."""
        process = subprocess.Popen(
            [str(_SCRIPT), *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def python(self, code: str, **environment: str) -> str:
        """Run Python code where the program runs and return what it prints."""
        environment = {**self.environment, **environment}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.directory,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the program's database."""
        store = Store.connect(f"sqlite:///{self.database}")
        try:
            yield store
        finally:
            store.close()

    def lock(self) -> LockState | None:
        """Return who holds the collection lock."""
        with self.store() as store:
            return CollectionLock(store).describe()


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until `holds()` is true; fail the test, naming `what`, if it does not become so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def _real_time_simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(SystemClock()) as server:
        yield server


@pytest.fixture
def yahoo(_real_time_simulator: SimulatorServer) -> Iterator[SimulatorServer]:
    """A simulator at the real time: no faults, no latency, nothing recorded."""
    _real_time_simulator.requests = TimedRequests()
    _real_time_simulator.in_flight_peak = 0
    yield _real_time_simulator
    _real_time_simulator.faults.clear()
    _real_time_simulator.latency = timedelta(0)


@pytest.fixture(scope="session")
def quickstarted(_real_time_simulator: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """The directory in which a first `quickstart` ran against the simulator, and what it did; made once per session."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each worker a directory of its own inside of the session's
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quickstarted"
    shared.mkdir(exist_ok=True)
    facts = shared / "done.json"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not facts.exists():
            done = Program(shared / "run", YAHOO_BASE_URL=_real_time_simulator.url).run("quickstart")
            facts.write_text(json.dumps([done.status, done.out, done.err, done.seconds, done.cpu]))
    return shared / "run", Done(*json.loads(facts.read_text()))


@pytest.fixture
def program(quickstarted: tuple[Path, Done], yahoo: SimulatorServer, tmp_path: Path) -> Program:
    """`market-assets` on a copy of the database that the first quickstart made."""
    prepared, done = quickstarted
    assert done.status == 0, done.err
    # Dagster's own tables are made once
    made = Program(tmp_path / "here", YAHOO_BASE_URL=yahoo.url, DAGSTER_HOME=str(prepared / ".dagster"))
    shutil.copy(prepared / "simulated.db", made.database)
    return made
