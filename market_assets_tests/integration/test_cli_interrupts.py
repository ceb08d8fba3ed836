"""Stopping a collection at any moment: it ends at once, says so, loses nothing and leaves no lock behind."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.clock import SystemClock
from market_assets.sources.simulator import Fault
from market_assets.store import CollectionLock
from market_assets_tests.integration.programs import (
    NO_YAHOO,
    Program,
    _real_time_simulator,
    program,
    quickstarted,
    wait_until,
    yahoo,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from market_assets.sources.simulator import SimulatorServer

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration

#: seconds between a signal and the end of the process: three, and two more for a machine that runs other tests
PROMPT = 20.0
SAID = "Interrupted. What had been stored is whole; the next collection goes on from there."


def stop(process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """Send a signal and return what the process said; fail unless it ended promptly with status 130."""
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert process.returncode == 130, err
    assert seconds < PROMPT, f"{seconds:.1f} s: {err}"
    assert "Traceback" not in err
    return err


def asked(yahoo: SimulatorServer) -> Callable[[], bool]:
    return lambda: any(request.symbol for request in yahoo.requests)


def test_a_collection_can_be_stopped_at_any_moment(program: Program, yahoo: SimulatorServer) -> None:
    # while the program is loading
    with program.started("collect") as process:
        time.sleep(0.3)
        assert stop(process).startswith("\nInterrupted.")
    assert program.lock() is None

    # while Dagster is loading
    with program.started("collect") as process:
        time.sleep(1.5)
        assert "Interrupted." in stop(process)
    assert program.lock() is None

    # while it waits for answers that never come
    hanging = yahoo.faults.add(Fault(kind="hang"))
    for number in (signal.SIGINT, signal.SIGTERM):
        yahoo.requests.clear()
        with program.started("collect") as process:
            wait_until(asked(yahoo), "a request")
            assert program.lock() is not None
            assert SAID in stop(process, number)
        assert program.lock() is None
    yahoo.faults.remove(hanging)

    # while it writes: every answer is there, and the steps store one ticker after the other
    yahoo.requests.clear()
    with program.started("collect") as process:
        wait_until(lambda: sum(one.status == 200 and one.symbol is not None for one in yahoo.requests) >= 19, "answers")
        assert SAID in stop(process)
    assert program.lock() is None

    done = program.run("collect")
    assert done.status == 0, done.err
    assert "waiting" not in done.err
    state = program.run("status", "--json").json()
    assert [one["status"] for one in state["collections"]][:4] == ["ok", *["interrupted"] * 3]
    assert state["healthy"]


def test_quickstart_is_stopped_with_its_own_simulator(quickstarted: tuple[Path, object], tmp_path: Path) -> None:
    here = Program(tmp_path, **NO_YAHOO)
    here.database.write_bytes((quickstarted[0] / "simulated.db").read_bytes())
    with here.started("quickstart") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Yahoo cannot be reached")
        time.sleep(1.0)
        assert "Interrupted." in stop(process)
    assert here.lock() is None


def test_a_collection_that_waits_for_another_one_can_be_stopped(program: Program) -> None:
    with program.store() as store, CollectionLock(store).acquire("someone else"):
        with program.started("collect") as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert "waiting up to 600 s for another collection: the collection lock is held by someone else" in said
            assert SAID in stop(process)
        held = program.lock()
        assert held is not None
        assert held.holder == "someone else"


def test_a_killed_collection_keeps_the_lock_for_its_lease_only(program: Program, yahoo: SimulatorServer) -> None:
    hanging = yahoo.faults.add(Fault(kind="hang"))
    with program.started("collect", COLLECTION_LEASE_SECONDS="6") as process:
        wait_until(asked(yahoo), "a request")
        process.kill()
    killed = program.lock()
    assert killed is not None
    assert killed.expires_at <= SystemClock().now() + timedelta(seconds=6)
    yahoo.faults.remove(hanging)
    done = program.run("collect", COLLECTION_LEASE_SECONDS="6")
    assert done.status == 0, done.err
    collections = program.run("status", "--json").json()["collections"]
    assert {one["run_id"]: one["status"] for one in collections}[killed.holder] == "interrupted"
    assert collections[0]["status"] == "ok"
