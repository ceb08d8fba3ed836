"""The API beside the smallest FastAPI endpoint, a year of history beside `read_sql`: `python -m benchmarks.api`.

Belongs here: the load, the limits and the table. Does not belong here: the API, making the log.

* throughput on one core: answers per second of the server's own CPU time, which no slow client changes. Both servers
  answer the same number of requests over the same number of kept connections, in turns; of each the best round counts.
  The reference sends a constant body of the same size and does nothing else.
* latency: requests at a steady rate, half of what the API can answer on this machine, each timed from when it was due:
  waiting for a slow answer before it counts, too.
* history: a year of half-hourly rows of every feature as an Arrow stream, received and made a frame, beside `read_sql`
  of the same table and columns.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.training_log import END, START, make_log
from benchmarks.training_set import Result
from market_assets.columns import feature_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "api.json"
REQUESTS = 8_000
CONNECTIONS = 16
ROUNDS = 5
LATENCY_SECONDS = 10.0

THROUGHPUT_LIMIT = 0.5
P99_LIMIT_MS = 50.0
HISTORY_LIMIT = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A server process and its CPU time."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, path: str) -> None:
        """Stand on a started process."""
        self.process, self.port, self.path = process, port, path

    def cpu_seconds(self) -> float:
        """Return what the process has computed so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def request(self) -> bytes:
        """The request as bytes."""
        return f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n".encode()


@contextmanager
def running(path: str, *command: str | Path, port: int, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server and wait until it answers."""
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                    answer.read()
                break
            except OSError:
                assert process.poll() is None, f"{command} has ended"
                time.sleep(0.1)
        yield Server(process, port, path)
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Connection:
    """One kept connection. It reads exactly one answer for each request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand on an open connection."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> int:
        """Send a request and read the answer; return the length of its body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return length

    def close(self) -> None:
        """Close."""
        self._writer.close()


async def load(server: Server, requests: int) -> None:
    """Send so many requests over CONNECTIONS connections, as fast as they are answered."""

    async def one() -> None:
        connection = await Connection.open(server.port)
        for _ in range(requests // CONNECTIONS):
            await connection.ask(server.request)
        connection.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def per_core(server: Server) -> tuple[float, float]:
    """Return answers per CPU second of the server, and per second of the clock."""
    cpu, began = server.cpu_seconds(), time.perf_counter()
    asyncio.run(load(server, REQUESTS))
    return REQUESTS / (server.cpu_seconds() - cpu), REQUESTS / (time.perf_counter() - began)


async def latencies(server: Server, rate: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the milliseconds of each request of a steady stream, counted from when it was due."""
    idle = [await Connection.open(server.port) for _ in range(CONNECTIONS)]
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in idle:
        free.put_nowait(connection)
    taken: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        await connection.ask(server.request)
        taken.append((time.perf_counter() - due) * 1000)
        free.put_nowait(connection)

    began = time.perf_counter()
    tasks = []
    for number in range(int(rate * LATENCY_SECONDS)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return np.array(taken)


def arrow_year(server: Server) -> pd.DataFrame:
    """Receive the year as an Arrow stream, and make it a frame."""
    query = f"start={START:%Y-%m-%d}&end={END:%Y-%m-%d}&basis=at_T&format=arrow"
    url = f"http://127.0.0.1:{server.port}/ml-features/history?{query}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        frame: pd.DataFrame = pa.ipc.open_stream(io.BytesIO(answer.read())).read_all().to_pandas()
        return frame


def plain_year(path: Path) -> pd.DataFrame:
    """Read the same columns with pandas."""
    columns = ", ".join(["observed_at", *feature_columns(), "feature_count", "core_count", "origin", "known_from"])
    connection = sqlite3.connect(path)
    frame = pd.read_sql(f"SELECT {columns} FROM ml_features ORDER BY observed_at", connection)  # noqa: S608
    connection.close()
    return frame.assign(
        observed_at=pd.to_datetime(frame["observed_at"], unit="us", utc=True),
        known_from=pd.to_datetime(frame["known_from"], unit="us", utc=True),
    )


def timed_both(server: Server, path: Path, rounds: int) -> tuple[float, float]:
    """Return the best seconds of the Arrow stream and of `read_sql`; both must hold the same bits."""
    ours, plain = arrow_year(server), plain_year(path)
    names = list(feature_columns())
    np.testing.assert_array_equal(ours[names].to_numpy(), plain[names].to_numpy(dtype=np.float64))
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        began = time.perf_counter()
        arrow_year(server)
        between = time.perf_counter()
        plain_year(path)
        best = [min(best[0], between - began), min(best[1], time.perf_counter() - between)]
    return best[0], best[1]


def measure(directory: Path) -> list[Result]:
    """Return the table."""
    path = directory / "market.db"
    make_log(path)
    ports = free_port(), free_port()
    environment = {"DATABASE_URL": f"sqlite:///{path}", "LOG_LEVEL": "INFO"}
    ours_command = (Path(sys.executable).with_name("market-assets"), "serve", "--port", str(ports[0]))
    with running("/ml-features", *ours_command, port=ports[0], environment=environment) as ours:
        with urllib.request.urlopen(f"http://127.0.0.1:{ours.port}/ml-features", timeout=30) as answer:
            body = answer.read()
        (directory / "body.json").write_bytes(body)
        body_file = str(directory / "body.json")
        plain_command = (sys.executable, "-m", "benchmarks.reference.plain_api", str(ports[1]), body_file)
        with running("/constant", *plain_command, port=ports[1]) as plain:
            rounds = [(per_core(ours), per_core(plain)) for _ in range(ROUNDS)]
            best = [max(one[side][0] for one in rounds) for side in (0, 1)]
            rate = max(one[0][1] for one in rounds) / 2
        milliseconds = asyncio.run(latencies(ours, rate))
        arrow, read_sql = timed_both(ours, path, ROUNDS)
    return [
        Result("bytes of the body", len(body), ""),
        Result("constant endpoint, answers per CPU second", best[1], ""),
        Result("GET /ml-features, answers per CPU second", best[0], ""),
        Result("  constant endpoint / GET /ml-features", best[1] / best[0], "x", 1 / THROUGHPUT_LIMIT),
        Result("steady rate, requests per second", rate, ""),
        Result("  p50", float(np.percentile(milliseconds, 50)), "ms"),
        Result("  p99", float(np.percentile(milliseconds, 99)), "ms", P99_LIMIT_MS),
        Result("read_sql of a year", read_sql, "s"),
        Result("history of a year as Arrow, through HTTP", arrow, "s"),
        Result("  ratio", arrow / read_sql, "x", HISTORY_LIMIT),
    ]


def main() -> int:
    """Measure, print and write the table; return 1 if a limit is broken."""
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory))
    for result in results:
        limit = "" if result.limit is None else f"   limit {result.limit:g}{'  BROKEN' if result.is_broken else ''}"
        print(f"  {result.name:<44}{result.value:10.3f} {result.unit:<2}{limit}")
    RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    return 1 if any(result.is_broken for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
