"""A training set of a million rows beside `merge_asof` on ready-made frames: `python -m benchmarks.training_set`.

Belongs here: the rounds, the limits and the table. Does not belong here: the client, making the log.

`merge_asof` gets the entities sorted and the features in one frame, in memory. The client gets the entities and a
database: a year of half-hourly rows of every feature. Its first call reads the log, later ones over the same rows do
not (the log up to a watermark never changes). The results of both must be equal to the bit. Calls take turns in
changing order, and of each the fastest counts: what else a machine does only adds to it.

* in any order: `merge_asof` takes sorted entities only; its time is shown with the sorting and, to compare, without.
* with correlations: those of each symbol too; `merge_asof` joins a second ready-made frame, by symbol.
* first call: beside `read_sql` of the same table and columns with a `merge_asof` after it, and, for information, beside
  `merge_asof` on ready-made frames alone.
* memory: the peak of what Python and numpy allocate, and what the process grows by, in bytes per byte of the result.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.training_log import END, START, make_log, ready_correlations, ready_rows
from market_assets import FeatureStore
from market_assets.calendars import to_us
from market_assets.columns import CORRELATION_COLUMNS, feature_columns
from market_assets.maths.arrays import utc_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Call = Callable[[], object]

RESULTS = Path(__file__).parent / "training_set.json"
ENTITIES = 1_000_000
ROUNDS = 9

RATIO_LIMIT = 1.5
MEMORY_LIMIT = 2.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; without a limit it is for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the limit is missed."""
        return self.limit is not None and self.value > self.limit


def make_entities(count: int) -> pd.DataFrame:
    """Return entities of two symbols with a label, anywhere in the year, in no order."""
    rng = np.random.default_rng(7)
    times = utc_index(rng.integers(to_us(START), to_us(END), count))
    return pd.DataFrame({"timestamp": times, "symbol": rng.choice(["BTC", "ETH"], count), "label": rng.random(count)})


def timed(function: Call) -> float:
    """Return the seconds a call takes; its result is let go of."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Contest:
    """The calls that are compared."""

    def __init__(self, path: Path, count: int) -> None:
        """Open the database and make the frames ready."""
        self.url = f"sqlite:///{path}"
        self.path = path
        self.client = FeatureStore(self.url)
        self.rows = ready_rows(self.client)
        self.correlations = ready_correlations(path, self.client)
        self.any_order = make_entities(count)
        self.in_order = self.any_order.sort_values("timestamp", ignore_index=True)
        self.names = [*feature_columns(), *CORRELATION_COLUMNS]

    def plain(self) -> pd.DataFrame:
        """Join the features with pandas."""
        return pd.merge_asof(self.in_order, self.rows, on="timestamp")

    def plain_sorting(self) -> pd.DataFrame:
        """Join them to entities in any order, which are sorted before; the result stays sorted."""
        return pd.merge_asof(self.any_order.sort_values("timestamp"), self.rows, on="timestamp")

    def plain_with_correlations(self) -> pd.DataFrame:
        """Join features, then correlations."""
        return pd.merge_asof(self.plain(), self.correlations, on="timestamp", by="symbol")

    def plain_reading(self) -> pd.DataFrame:
        """Read the rows with pandas, then join them."""
        names = ", ".join(feature_columns())
        query = f"SELECT observed_at AS timestamp, {names} FROM ml_features ORDER BY observed_at"  # noqa: S608
        connection = sqlite3.connect(self.path)
        rows = pd.read_sql(query, connection)
        connection.close()
        rows["timestamp"] = pd.to_datetime(rows["timestamp"], unit="us", utc=True).astype("datetime64[us, UTC]")
        return pd.merge_asof(self.in_order, rows, on="timestamp")

    def first_call(self) -> float:
        """Return the seconds that the first call of a new client takes."""
        with FeatureStore(self.url) as fresh:
            return timed(lambda: fresh.training_set(self.in_order))

    def check(self) -> None:
        """Fail unless both give the same bits."""
        expected = self.plain_with_correlations()
        frame = self.client.training_set(self.in_order, features=self.names)
        np.testing.assert_array_equal(frame[self.names].to_numpy(), expected[self.names].to_numpy())
        del frame, expected
        names, expected = list(feature_columns()), self.plain_sorting()
        frame = self.client.training_set(self.any_order).sort_values("timestamp")
        np.testing.assert_array_equal(frame[names].to_numpy(), expected[names].to_numpy())

    def times(self, rounds: int) -> list[Result]:
        """Run all calls in turns and return their times and ratios."""
        client = self.client
        calls: dict[str, Call] = {
            "plain": self.plain,
            "in order": lambda: client.training_set(self.in_order),
            "any order": lambda: client.training_set(self.any_order),
            "plain sorting": self.plain_sorting,
            "plain correlations": self.plain_with_correlations,
            "correlations": lambda: client.training_set(self.in_order, features=self.names),
            "plain reading": self.plain_reading,
        }
        taken: dict[str, list[float]] = {name: [] for name in (*calls, "first call")}
        order = np.random.default_rng(3)
        for _ in range(rounds):
            # Whoever comes after a call that has given its memory back to the system waits for that memory.
            for name in order.permutation(list(taken)).tolist():
                taken[name].append(self.first_call() if name == "first call" else timed(calls[name]))
        took = {name: min(times) for name, times in taken.items()}

        def ratio(name: str, one: str, two: str, limit: float | None = None) -> Result:
            return Result(name, took[one] / took[two], "", limit)

        return [
            Result("merge_asof on ready-made frames", took["plain"], "s"),
            Result("training_set, entities in order", took["in order"], "s"),
            ratio("  ratio", "in order", "plain", RATIO_LIMIT),
            Result("sort_values and merge_asof", took["plain sorting"], "s"),
            Result("training_set, entities in any order", took["any order"], "s"),
            ratio("  ratio", "any order", "plain sorting", RATIO_LIMIT),
            ratio("  ratio to merge_asof without the sorting", "any order", "plain"),
            Result("merge_asof twice, with correlations", took["plain correlations"], "s"),
            Result("training_set with correlations", took["correlations"], "s"),
            ratio("  ratio", "correlations", "plain correlations", RATIO_LIMIT),
            Result("read_sql and merge_asof", took["plain reading"], "s"),
            Result("training_set, first call", took["first call"], "s"),
            ratio("  ratio", "first call", "plain reading", RATIO_LIMIT),
            ratio("  ratio to merge_asof on ready-made frames", "first call", "plain"),
        ]

    def memory(self) -> list[Result]:
        """Return the peak of allocations of a first and of a later call."""
        with FeatureStore(self.url) as fresh:
            peaks = [_peak(lambda: fresh.training_set(self.any_order)) for _ in range(2)]
        return [
            Result(f"peak of allocations, {name} call", peak, "x", MEMORY_LIMIT)
            for name, peak in zip(("first", "later"), peaks, strict=True)
        ]


def _peak(function: Callable[[], pd.DataFrame]) -> float:
    """Return the peak of allocated memory during a call, in bytes per byte of the result."""
    tracemalloc.start()
    frame = function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / float(frame.memory_usage(index=False).sum())


def growth_in_a_process_of_its_own(path: Path, count: int) -> list[Result]:
    """Return by how much a process grows at most during its first training set; nothing where no /proc tells it."""
    if not _STATUS.exists():
        return []
    arguments = [sys.executable, "-m", "benchmarks.training_set", "--growth", str(path), "--entities", str(count)]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return [Result("growth of a process, first call", float(told), "x", MEMORY_LIMIT)]


def growth(path: Path, count: int) -> float:
    """Return the growth of this process during its first training set, in bytes per byte of the result."""
    entities = make_entities(count)
    with FeatureStore(f"sqlite:///{path}") as client:
        before = _resident("VmRSS")
        frame = client.training_set(entities)
        return (_resident("VmHWM") - before) / float(frame.memory_usage(index=False).sum())


def _resident(name: str) -> int:
    """Return the resident set, or its peak, in bytes."""
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def show(results: Sequence[Result], count: int, rows: int) -> None:
    """Print the table."""
    print(f"{count:,} entities, {rows:,} feature rows, {len(feature_columns())} features")
    for result in results:
        limit = "" if result.limit is None else f"   limit {result.limit:g}{'  BROKEN' if result.is_broken else ''}"
        print(f"  {result.name:<44}{result.value:8.3f} {result.unit:<1}{limit}")


def main() -> int:
    """Measure, print and write the table; return 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entities", type=int, default=ENTITIES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--growth", type=Path, metavar="DATABASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.growth is not None:
        print(growth(options.growth, options.entities))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "market.db"
        make_log(path)
        grown = growth_in_a_process_of_its_own(path, options.entities)
        contest = Contest(path, options.entities)
        contest.check()
        results = contest.times(options.rounds) + contest.memory() + grown
        contest.client.close()
    show(results, options.entities, len(contest.rows))
    RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    return 1 if any(result.is_broken for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
