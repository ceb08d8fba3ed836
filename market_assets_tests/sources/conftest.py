"""A simulator and sources that ask it, for the tests of the Yahoo source."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from market_assets.clock import ManualClock
from market_assets.sources.simulator import SimulatorServer
from market_assets.sources.yahoo import YahooSource

if TYPE_CHECKING:
    from collections.abc import Iterator

#: a Wednesday in the middle of the New York morning
NOW = datetime(2026, 3, 4, 15, 31, 5, tzinfo=UTC)


class MakeSource(Protocol):
    """Makes a source that asks the simulator."""

    def __call__(self, *, timeout: timedelta = ..., base_url: str | None = ...) -> YahooSource: ...


@contextmanager
def byte_server(answer: bytes) -> Iterator[str]:
    """Serve `answer` to every request, byte for byte, for what no HTTP server would send; yield the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture(scope="package")
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(scope="package")
def running_simulator(clock: ManualClock) -> Iterator[SimulatorServer]:
    with SimulatorServer(clock) as server:
        yield server


@pytest.fixture
def simulator(running_simulator: SimulatorServer, clock: ManualClock) -> Iterator[SimulatorServer]:
    """The package's simulator, as new: no faults, nothing played, nothing recorded, at NOW, without latency."""
    yield running_simulator
    running_simulator.faults.clear()
    running_simulator.stop_playing()
    running_simulator.requests.clear()
    running_simulator.latency = timedelta(0)
    running_simulator.in_flight_peak = 0
    clock.set(NOW)


@pytest.fixture
def make_source(simulator: SimulatorServer, clock: ManualClock) -> MakeSource:
    def make(*, timeout: timedelta = timedelta(seconds=5), base_url: str | None = None) -> YahooSource:
        return YahooSource(clock=clock, base_url=base_url or simulator.url, timeout=timeout)

    return make


@pytest.fixture
def source(make_source: MakeSource) -> YahooSource:
    return make_source()
