"""`python -m market_assets.api.local_run RUN_ID DAY`: one collection, started by the API on its own machine.

Belongs here: the process's beginning and end. Does not belong here: the collection.
"""

from __future__ import annotations

import sys
from datetime import date

from market_assets.api.launch import API_KIND
from market_assets.cli.interrupts import run_stoppable
from market_assets.cli.log import load_settings
from market_assets.collection.days import DayRange
from market_assets.opening import open_store, require_source
from market_assets.run import RunOutcome, run_collection
from market_assets.stopping import Stop


def main(run_id: str, day: date) -> int:
    """Collect `day` as the run `run_id`; return 0 if the features were written."""
    settings = load_settings()
    store = open_store(settings)
    stop = Stop()

    def work() -> RunOutcome:
        return run_collection(settings, store, days=DayRange(day, day), kind=API_KIND, run_id=run_id, stop=stop)

    try:
        require_source(store, settings)
        outcome = run_stoppable(work, stop, "What had been stored is whole.")
    finally:
        store.close()
    if not outcome.succeeded:
        sys.stderr.write(f"run {run_id} failed: {outcome.failure}\n")
    return 0 if outcome.succeeded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], date.fromisoformat(sys.argv[2])))
