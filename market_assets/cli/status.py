"""`market-assets status`: the overview for a person or a program.

Belongs here: the choice between the two, and the exit status. Does not belong here: what is told (`overview.py`), its
layout (status_table.py).
"""

from __future__ import annotations

import json
import sys

from market_assets.cli.log import load_settings
from market_assets.cli.reader import open_to_read, what_to_do
from market_assets.cli.status_table import print_status
from market_assets.clock import SystemClock
from market_assets.overview import gather


def status(*, as_json: bool) -> int:
    """Print the state; return 1 if it is not healthy."""
    settings = load_settings()
    now = SystemClock().now()
    store = open_to_read(settings, "status")
    try:
        state = gather(store, settings, now)
    finally:
        store.close()
    if as_json:
        sys.stdout.write(json.dumps(state, indent=2) + "\n")
    else:
        print_status(state, what_to_do(settings, "status"))
    return 0 if state["healthy"] else 1
