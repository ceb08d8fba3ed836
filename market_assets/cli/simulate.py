"""`market-assets simulate`: the Yahoo simulator in the foreground.

Belongs here: starting it and saying how to use it. Does not belong here: the simulator.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from market_assets.cli.console import errors
from market_assets.clock import Clock, OffsetClock, SystemClock


def simulate(*, host: str, port: int, seed: int, now: datetime | None, latency_ms: int) -> None:
    """Serve until interrupted."""
    from market_assets.sources.simulator import serve_forever

    clock: Clock = OffsetClock(now) if now is not None else SystemClock()
    serve_forever(
        clock,
        seed=seed,
        host=host,
        port=port,
        latency=timedelta(milliseconds=latency_ms),
        on_ready=lambda url: errors.print(
            f"The Yahoo simulator answers on {url}. Use it with: YAHOO_BASE_URL={url} market-assets collect",
            highlight=False,
        ),
    )
