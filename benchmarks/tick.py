"""The cost of a tick beside a plain script that does the same work: `python -m benchmarks.tick` (`make bench`).

Belongs here: the set-up, the rounds, the limits, the table and `results.json`. Does not belong here: the programs
measured (`collect.py`, `unchecked.py`, `empty.py`, `reference/plain_tick.py`).

The simulator runs as a third process with 100 ms latency and a clock that stands still on a Wednesday afternoon. Both
programs load their look-back first; then a round runs each of them once, whole process against whole process, on a copy
of its own loaded database, in turn which goes first. Their feature rows must agree to 1e-9. Ratios are of medians. Each
round ends with the same tick without its asset checks: the difference of the smallest figures is what they cost.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import math
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.programs import Usage, run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results.json"
#: 18:01 and 18:31 UTC on a Wednesday: New York, Chicago and the currencies trade. At 21:31 every session of the day has
#: closed: the heaviest tick, because each crypto correlation of the day is computed
LOADED_AT, TICK_AT, LATE_TICK_AT = (f"2025-06-11T{clock}:00+00:00" for clock in ("18:01", "18:31", "21:31"))
LATENCY_MS = 100
MIN_ROUNDS, MAX_ROUNDS = 3, 7
#: no further round begins that would end after this
SECONDS = 70.0
TOLERANCE = 1e-9

RATIO_LIMIT = 5.0
#: part of a tick that all of its checks together may take
CHECKS_LIMIT = 1 / 3
TICK_MIB_LIMIT = 350.0
FIRST_MIB_LIMIT = 450.0


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; without a limit it is for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    #: by program: seconds or MiB; medians, unless the name says otherwise
    medians: dict[str, float] = field(default_factory=dict)
    runs: dict[str, list[float]] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        """Whether the value reaches the limit."""
        return self.limit is not None and self.value >= self.limit


class Bench:
    """A temporary directory with the databases of both programs, and the simulator they ask."""

    def __init__(self, directory: Path, url: str) -> None:
        """Stand on an empty directory and a running simulator."""
        self.directory = directory
        self._url = url
        # What may be set for the collector proper must not change what is compared.
        self._environment = {
            "COLLECTION_INTERVAL_MINUTES": "30",
            "CRYPTO_PRICES_TABLE": "",
            "LOG_LEVEL": "INFO",
            "YAHOO_BASE_URL": url,
            "YFINANCE_REQUEST_DELAY": "0",
            "DAGSTER_HOME": str(directory / "dagster"),
        }

    def plain(self, database: str, now: str, *, history_days: int = 0) -> tuple[Usage, dict[str, float | None]]:
        """Run the plain script; return its usage and its latest feature row."""
        options = ["--database", str(self._path(database)), "--base-url", self._url, "--now", now]
        options += ["--cache", str(self.directory / "yfinance"), "--history-days", str(history_days)]
        usage, output = self._run("plain", ["-m", "benchmarks.reference.plain_tick", *options])
        return usage, json.loads(output)

    def ours(self, database: str, now: str) -> tuple[Usage, dict[str, float | None]]:
        """Run a collection; return its usage and its latest feature row."""
        usage, _ = self._run("ours", ["-m", "benchmarks.collect", "--now", now], database)
        return usage, _latest_features(self._path(database))

    def unchecked(self, database: str, now: str) -> Usage:
        """Run a collection whose graph has no checks; return its usage."""
        return self._run("unchecked", ["-m", "benchmarks.unchecked", "--now", now], database)[0]

    def worker(self, database: str, now: str) -> Usage:
        """Run the same collection as Dagster's own worker process does, its console log included."""
        tags = json.dumps({"dagster/partition": now[:10], "market_assets/kind": "tick"})
        arguments = ["-m", "dagster", "job", "execute", "-m", "benchmarks.location", "-j", "collect", "--tags", tags]
        return self._run("worker", arguments, database, BENCHMARK_NOW=now)[0]

    def empty(self, now: str) -> Usage:
        """Run the graph with empty bodies."""
        return self._run("empty", ["-m", "benchmarks.empty", "--now", now])[0]

    def copy(self, source: str, target: str) -> str:
        """Copy a database, what is still in its write-ahead log included; return `target`."""
        for suffix in ("", "-wal", "-shm"):
            self._path(target + suffix).unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(self._path(source))) as old,
            contextlib.closing(sqlite3.connect(self._path(target))) as new,
        ):
            old.backup(new)
        return target

    def set_clock(self, now: str) -> None:
        """Move the simulator's clock."""
        body = json.dumps({"now": now}).encode()
        request = urllib.request.Request(f"{self._url}/__simulator__/clock", data=body, method="POST")  # noqa: S310 - loopback
        # without the proxies of the environment
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            answer.read()

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _run(self, name: str, arguments: list[str], database: str = "none.db", **more: str) -> tuple[Usage, str]:
        environment = {**self._environment, "DATABASE_URL": f"sqlite:///{self._path(database)}", **more}
        return run(arguments, environment, self.directory / f"{name}.log")


def _latest_features(database: Path) -> dict[str, float | None]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM ml_features ORDER BY observed_at DESC LIMIT 1").fetchone()
    return dict(row)


def check_equal(ours: dict[str, float | None], plain: dict[str, float | None]) -> int:
    """Return how many features of the two rows agree; raise SystemExit naming those that do not."""
    wrong = []
    for column, expected in plain.items():
        value = ours[column]
        if value is None or expected is None or not math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            wrong.append(f"{column}: {value} and {expected}")
    if wrong or not plain:
        raise SystemExit("the two programs do not compute the same feature row:\n" + "\n".join(wrong))
    return len(plain)


def measure(bench: Bench, rounds: int, began: float) -> list[Result]:
    """Load both databases, run the rounds, and return the results."""
    # Two at a time where only CPU and memory are taken; the rounds below run one program at a time.
    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(bench.ours, "ours.db", LOADED_AT)
        plain_loaded, _ = bench.plain("plain.db", LOADED_AT, history_days=400)
        loaded, _ = loading.result()
        bench.set_clock(LATE_TICK_AT)
        late, _ = bench.ours(bench.copy("ours.db", "late.db"), LATE_TICK_AT)
        bench.set_clock(TICK_AT)
        working = pool.submit(bench.worker, bench.copy("ours.db", "worker.db"), TICK_AT)
        empty = bench.empty(TICK_AT)
        worker = working.result()
    ours: list[Usage] = []
    plain: list[Usage] = []
    unchecked: list[Usage] = []
    longest_round = 0.0
    while len(ours) < MIN_ROUNDS or (len(ours) < rounds and time.monotonic() - began + longest_round < SECONDS):
        round_began = time.monotonic()
        for program in ("ours", "plain") if len(ours) % 2 else ("plain", "ours"):
            copy = bench.copy(f"{program}.db", f"{program}-tick.db")
            if program == "ours":
                usage, our_row = bench.ours(copy, TICK_AT)
                ours.append(usage)
            else:
                usage, plain_row = bench.plain(copy, TICK_AT)
                plain.append(usage)
        unchecked.append(bench.unchecked(bench.copy("ours.db", "unchecked-tick.db"), TICK_AT))
        equal = check_equal(our_row, plain_row)
        longest_round = max(longest_round, time.monotonic() - round_began)

    def seconds(usages: list[Usage], kind: str) -> list[float]:
        return [round(getattr(usage, f"{kind}_seconds"), 3) for usage in usages]

    results = []
    for kind in ("wall", "cpu"):
        runs = {"ours": seconds(ours, kind), "plain": seconds(plain, kind)}
        medians = {name: median(values) for name, values in runs.items()}
        ratio = medians["ours"] / medians["plain"]
        results.append(Result(f"tick, {kind} time against the plain script", ratio, "x", RATIO_LIMIT, medians, runs))
    cpu = median(seconds(ours, "cpu"))
    bare = seconds(unchecked, "cpu")
    # A difference of two medians would be mostly noise; what others do on the machine only ever adds.
    least = {"ours": min(seconds(ours, "cpu")), "unchecked": min(bare)}
    peaks = {"ordinary tick": max(usage.peak_mib for usage in ours), "tick after all closes": late.peak_mib}
    return [
        *results,
        Result(
            "all checks of a tick, least CPU time",
            1 - least["unchecked"] / least["ours"],
            "",
            CHECKS_LIMIT,
            least,
            {"unchecked": bare},
        ),
        Result("tick, peak memory", max(peaks.values()), "MiB", TICK_MIB_LIMIT, peaks),
        Result("first collection, peak memory", loaded.peak_mib, "MiB", FIRST_MIB_LIMIT),
        Result("plain script, peak memory", max(usage.peak_mib for usage in plain), "MiB"),
        Result("same graph with empty bodies, CPU time", empty.cpu_seconds, "s", None, {"ours": cpu}),
        Result("tick in Dagster's own worker, CPU time", worker.cpu_seconds, "s", None, {"ours": cpu}),
        Result("tick after all closes, CPU time", late.cpu_seconds, "s", None, {"ours": cpu}),
        Result("first collection, CPU time", loaded.cpu_seconds, "s", None, {"plain": plain_loaded.cpu_seconds}),
        Result("features that agree to 1e-9", equal, ""),
    ]


@contextlib.contextmanager
def simulator(now: str) -> Iterator[str]:
    """Run the simulator as a process of its own; yield its URL."""
    arguments = [sys.executable, "-m", "benchmarks.serve", "--now", now, "--latency-ms", str(LATENCY_MS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout is not None else ""
            if not url:
                raise SystemExit("the simulator did not start")
            yield url
        finally:
            server.terminate()


def report(results: list[Result]) -> None:
    """Print the table."""
    for result in results:
        limit = "" if result.limit is None else f"< {result.limit:g} {result.unit}".rstrip()
        verdict = "" if result.limit is None else "MISSED" if result.missed else "ok"
        beside = ", ".join(f"{name} {value:.2f}" for name, value in result.medians.items())
        print(f"{result.name:44} {result.value:8.2f} {result.unit:4} {limit:9} {verdict:7} {beside}".rstrip())


def main() -> None:
    """Measure, print, write `results.json`; exit with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description="Measure a tick beside a plain script.")
    parser.add_argument("--rounds", type=int, default=MAX_ROUNDS, help="at most; fewer when the minute is over")
    rounds = parser.parse_args().rounds
    began = time.monotonic()
    # As `make` leaves it: imports without bytecode would be measured otherwise (PYTHONDONTWRITEBYTECODE may be set).
    for package in ("market_assets", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=1)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, simulator(LOADED_AT) as url:
        results = measure(Bench(Path(directory), url), rounds, began)
    report(results)
    print(f"{time.monotonic() - began:.0f} s in all; every run is in {RESULTS.relative_to(ROOT)}")
    RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    if any(result.missed for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
