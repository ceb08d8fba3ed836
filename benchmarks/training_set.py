"""A training set of a million rows beside `merge_asof` on ready-made frames: `python -m benchmarks.training_set`.

Belongs here: making the log, the rounds, the limits and the table. Does not belong here: the client.

The log is a year of half-hourly rows of every feature. `merge_asof` gets the entities sorted and the features in one
frame, in memory; the client gets the entities and a database. Its first call reads the log, later ones over the same
rows do not (the log up to a watermark never changes): both are shown, and the limit is on the later ones. The two
results must be equal to the bit. Times are medians of rounds in turns, after one that warms up both. Memory is the peak
of what Python and numpy allocate, in bytes per byte of the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets import FeatureStore
from market_assets.clock import ManualClock
from market_assets.columns import feature_columns
from market_assets.store import Replacement, Store
from market_assets.store.tables import ML_FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "training_set.json"
START, DAYS = datetime(2025, 1, 1, tzinfo=UTC), 365
ENTITIES = 1_000_000
ROUNDS = 5

RATIO_LIMIT = 1.5
MEMORY_LIMIT = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; without a limit it is for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None


def make_log(path: Path) -> None:
    """Write a year of feature rows: each day in one write, backfilled, with gaps."""
    clock = ManualClock(START)
    store = Store.connect(f"sqlite:///{path}", clock=clock)
    store.migrate()
    rng = np.random.default_rng(2025)
    names = feature_columns()
    levels = 100.0 * np.exp(rng.normal(0.0, 0.001, (DAYS * 48, len(names))).cumsum(axis=0))
    levels[rng.random(levels.shape) < 0.02] = np.nan
    clock.set(START + timedelta(days=DAYS + 1))
    for day in range(DAYS):
        begin = START + timedelta(days=day)
        times = pd.date_range(begin, periods=48, freq="30min", unit="us")
        frame = pd.DataFrame(levels[day * 48 : (day + 1) * 48], columns=list(names))
        frame.insert(0, "observed_at", times)
        frame["feature_count"], frame["core_count"] = len(names), 43
        frame = frame.assign(reasons="{}", ages="{}", resolution="{}", basis="{}", feature_version="1")
        frame = frame.assign(origin="backfill", read_as_of=times)
        scope = ML_FEATURES.scope("", begin.date())
        store.replace([Replacement(ML_FEATURES, frame)], scopes=[scope], fetched_at=clock.now())
    store.close()


def make_entities(count: int) -> pd.DataFrame:
    """Return entities in the order of their times, as `merge_asof` asks."""
    rng = np.random.default_rng(7)
    span = DAYS * 86_400_000_000
    times = np.sort(rng.integers(0, span, count)) + int(START.timestamp()) * 1_000_000
    stamps = pd.DatetimeIndex(times.view("datetime64[us]")).tz_localize("UTC")
    return pd.DataFrame({"timestamp": stamps, "symbol": rng.choice(["BTC", "ETH"], count), "label": rng.random(count)})


def timed(function: Callable[[], pd.DataFrame]) -> float:
    """Return the seconds a call takes; its result is let go of."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak(function: Callable[[], pd.DataFrame]) -> float:
    """Return the peak of allocated memory during a call, in bytes per byte of the result."""
    tracemalloc.start()
    frame = function()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / float(frame.memory_usage(index=False).sum())


def measure(path: Path, count: int, rounds: int) -> list[Result]:
    """Run both in turns and return the table."""
    entities = make_entities(count)
    url = f"sqlite:///{path}"
    client = FeatureStore(url)
    delay = pd.Timedelta(minutes=1) + client.tick_latency
    ready = client.history(basis="at_T")[["observed_at", *feature_columns()]]
    ready["observed_at"] += delay

    def plain() -> pd.DataFrame:
        return pd.merge_asof(entities, ready, left_on="timestamp", right_on="observed_at")

    def ours() -> pd.DataFrame:
        return client.training_set(entities)

    expected, frame = plain(), ours()
    for name in feature_columns():
        np.testing.assert_array_equal(frame[name].to_numpy(), expected[name].to_numpy())
    del expected, frame
    plains, firsts, laters = [], [], []
    for _ in range(rounds):
        plains.append(timed(plain))
        laters.append(timed(ours))
        fresh = FeatureStore(url)
        firsts.append(timed(lambda fresh=fresh: fresh.training_set(entities)))  # type: ignore[misc]
        fresh.close()
    memory = peak(ours)
    client.close()
    return [
        Result("merge_asof on ready-made frames", median(plains), "s"),
        Result("training_set, the log in memory", median(laters), "s"),
        Result("training_set, first call, the log read", median(firsts), "s"),
        Result("ratio", median(laters) / median(plains), "", RATIO_LIMIT),
        Result("ratio of the first call", median(firsts) / median(plains), ""),
        Result("peak memory per byte of the result", memory, "", MEMORY_LIMIT),
    ]


def main() -> int:
    """Measure, print and write the table; return 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entities", type=int, default=ENTITIES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "market.db"
        make_log(path)
        results = measure(path, options.entities, options.rounds)
    broken = [result for result in results if result.limit is not None and result.value > result.limit]
    print(f"{options.entities:,} entities, {DAYS * 48:,} feature rows, {len(feature_columns())} features")
    for result in results:
        limit = "" if result.limit is None else f"   limit {result.limit:g}{'  BROKEN' if result in broken else ''}"
        print(f"  {result.name:<42}{result.value:8.3f} {result.unit}{limit}")
    RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
