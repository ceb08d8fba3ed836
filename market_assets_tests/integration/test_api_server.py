"""`market-assets serve` as a process: slow and vanishing clients, an orderly end, a collection of its own, fuzzing."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pyarrow as pa
import pytest

from market_assets.clock import ManualClock, SystemClock
from market_assets.sources.simulator import SimulatorServer
from market_assets.store import Replacement, Store
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.api.test_operation import good_tick
from market_assets_tests.stocked import feature_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

TOKEN = "a token of these tests"  # noqa: S105
PROGRAMS = Path(sys.executable).parent
#: two years of half-hourly rows: 20 MB as CSV, more than any buffer on the way
ROWS = 35_040


@pytest.fixture(scope="module")
def long_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "market.db"
    now = datetime.now(UTC)
    newest = now.replace(minute=now.minute // 30 * 30, second=0, microsecond=0)
    store = Store.connect(f"sqlite:///{path}", clock=ManualClock(now))
    store.migrate()
    frame = feature_frame(ROWS, until=newest)
    days = sorted({at.date() for at in frame["observed_at"]})
    scopes = [ML_FEATURES.scope("", day) for day in days]
    store.replace([Replacement(ML_FEATURES, frame)], scopes=scopes, fetched_at=now)
    store.close()
    good_tick(path, now - timedelta(minutes=1))
    return path


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def streams(self) -> float:
        """How many requests are being answered, this one not counted."""
        text = httpx2.get(f"{self.url}/metrics").text
        (line,) = [line for line in text.splitlines() if line.startswith("market_assets_http_requests_under_way ")]
        return float(line.split()[1]) - 1


@contextmanager
def serving(directory: Path, **environment: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / "serve.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [PROGRAMS / "market-assets", "serve", "--port", str(port)],
            cwd=directory,
            env={
                "PATH": f"{PROGRAMS}:/usr/bin:/bin",
                "HOME": str(directory),
                "DAGSTER_HOME": str(directory / "dagster"),
                "API_TOKEN": TOKEN,
                **environment,
            },
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, port, log)
    try:
        limit = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            try:
                httpx2.get(f"{server.url}/health")
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield server
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def server(long_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serving"), DATABASE_URL=f"sqlite:///{long_database}") as running:
        yield running


def whole(form: str) -> str:
    return f"/ml-features/history?start=2017-01-01&format={form}"


def slow_client(server: Server) -> socket.socket:
    """Ask for everything, and read almost nothing of it."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"GET {whole('csv')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.recv(1024).startswith(b"HTTP/1.1 200 OK")
    return client


def test_slow_clients_hold_up_nobody_and_memory_does_not_grow_with_what_they_ask_for(server: Server) -> None:
    httpx2.get(f"{server.url}/ml-features")
    before = resident(server.process.pid)
    slow = [slow_client(server) for _ in range(6)]
    try:
        took = time.monotonic()
        for _ in range(20):
            assert httpx2.get(f"{server.url}/ml-features").status_code == 200
        assert time.monotonic() - took < 5
        # a whole answer of them is 20 MB, in memory more
        assert resident(server.process.pid) - before < 120 * 1024
    finally:
        for client in slow:
            client.close()
    wait_for_no_streams(server)


def test_a_client_that_vanishes_in_mid_stream_leaves_nothing_behind(server: Server) -> None:
    for _ in range(12):
        client = slow_client(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # with a reset
    wait_for_no_streams(server)
    # as many are allowed as before
    assert httpx2.get(f"{server.url}{whole('csv')}", timeout=60).status_code == 200
    assert "Traceback" not in server.log.read_text()


def wait_for_no_streams(server: Server) -> None:
    limit = time.monotonic() + 20
    while server.streams():
        assert time.monotonic() < limit, server.log.read_text()
        time.sleep(0.05)


def resident(pid: int) -> int:
    """Return a process's resident memory, KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_every_row_of_two_years_comes_through_as_arrow(server: Server) -> None:
    content = httpx2.get(f"{server.url}{whole('arrow')}", timeout=60).content
    table = pa.ipc.open_stream(io.BytesIO(content)).read_all()
    assert table.num_rows == ROWS
    times = table["observed_at"].to_pandas()
    assert times.is_monotonic_increasing
    assert times.is_unique


def test_a_server_that_is_asked_to_stop_finishes_what_it_sends(long_database: Path, tmp_path: Path) -> None:
    with serving(tmp_path, DATABASE_URL=f"sqlite:///{long_database}") as server:
        with httpx2.stream("GET", f"{server.url}{whole('csv')}", timeout=60) as answer:
            parts = answer.iter_bytes()
            begun = next(parts)
            server.process.send_signal(signal.SIGTERM)
            lines = (begun + b"".join(parts)).count(b"\n")
        assert lines == ROWS + 1
        assert server.process.wait(30) == 0
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{server.url}/health")


def test_a_port_that_is_taken_is_one_sentence(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAMS / "market-assets", "serve", "--port", str(server.port)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_collection_that_the_api_starts_on_its_own_machine_ends_well(tmp_path: Path) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with SimulatorServer(SystemClock()) as simulator:
        environment = {"YAHOO_BASE_URL": simulator.url, "YFINANCE_REQUEST_DELAY": "0"}
        with serving(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}", **environment) as server:
            assert httpx2.get(f"{server.url}/ml-features").status_code == 503
            run = httpx2.post(f"{server.url}/collect", headers=bearer).json()
            assert httpx2.post(f"{server.url}/collect", headers=bearer).json() == run | {"already_running": True}
            limit = time.monotonic() + 120
            seen = set()
            while (told := httpx2.get(f"{server.url}{run['status_url']}").json())["status"] in {"queued", "running"}:
                seen.add(told["status"])
                assert time.monotonic() < limit, told
                time.sleep(0.1)
            assert told["status"] == "ok", server.log.read_text()
            assert "running" in seen
            assert len(told["tickers"]) == 19
            row = httpx2.get(f"{server.url}/ml-features").json()
            assert row["feature_count"] >= 35
            assert httpx2.get(f"{server.url}/ready").json()["ready"] is True


def test_fuzzing_finds_nothing(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            PROGRAMS / "schemathesis",
            "run",
            f"{server.url}/openapi.json",
            "--max-examples=25",
            "--seed=1",
            "--generation-database=none",
            f"--header=Authorization: Bearer {TOKEN}x",
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert not [line for line in server.lines() if line.get("level") == "ERROR"]
