"""One collection at a clock that stands still: what `market-assets collect` does, without its progress bar.

Belongs here: the call. Does not belong here: measuring it, and the collection. The settings come from the environment.
"""

from __future__ import annotations

import argparse
from datetime import datetime

from market_assets.clock import ManualClock
from market_assets.collection.days import DayRange
from market_assets.opening import open_store
from market_assets.run import run_collection
from market_assets.settings import Settings


def main() -> None:
    """Collect the day of `--now`; exit with 1 unless every ticker and the feature row were stored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    clock = ManualClock(parser.parse_args().now)
    settings = Settings.load()
    store = open_store(settings, clock=clock)
    try:
        outcome = run_collection(settings, store, days=DayRange.of(clock.now()), kind="tick", clock=clock)
    finally:
        store.close()
    if outcome.record is None or outcome.record.status != "ok":
        raise SystemExit(f"the collection failed: {outcome.failure or outcome.record}")


if __name__ == "__main__":
    main()
