"""A process of its own that the race tests start: `python -m market_assets_tests.store.racer ACTION URL ...`.

Belongs here: what the other process does. Does not belong here: assertions.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from market_assets.store import CollectionLock, Store
from market_assets_tests.store.builders import FETCHED, write_bars

ROUNDS = 10
HELD = "held"


def write(store: Store, writer: int) -> None:
    """Write ROUNDS fetches of 40 bars; the fetches of the two writers alternate in time."""
    for number in range(ROUNDS):
        fetched_at = FETCHED + timedelta(minutes=2 * number + writer)
        mark = 1000.0 * (2 * number + writer)
        write_bars(store, [mark + bar for bar in range(20 + writer)], fetched_at=fetched_at, accept_deletions=True)


def main() -> None:
    """Run the action named on the command line."""
    action, url, *rest = sys.argv[1:]
    store = Store.connect(url)
    if action == "migrate":
        store.migrate()
        store.check_schema()
    elif action == "write":
        write(store, int(rest[0]))
    elif action == "hold":
        CollectionLock(store).acquire("a process to be killed", lease=timedelta(seconds=float(rest[0])))
        sys.stdout.write(HELD + "\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main()
