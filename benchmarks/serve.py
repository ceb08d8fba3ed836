"""The simulator as a process of its own, at a clock that stands still.

Belongs here: starting it and printing its URL. Does not belong here: the simulator.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from market_assets.clock import ManualClock
from market_assets.sources.simulator import serve_forever


def main() -> None:
    """Serve until terminated; print the URL once it can be connected to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    parser.add_argument("--latency-ms", type=int, default=0)
    given = parser.parse_args()
    serve_forever(
        ManualClock(given.now),
        port=0,
        latency=timedelta(milliseconds=given.latency_ms),
        on_ready=lambda url: print(url, flush=True),
    )


if __name__ == "__main__":
    main()
