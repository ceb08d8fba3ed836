"""`market-assets simulate`: the Yahoo simulator in the foreground.

Belongs here: starting it and saying how to use it. Does not belong here: the simulator.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from market_assets.cli.console import escape, program, tell
from market_assets.cli.failures import CommandFailedError, bad_option
from market_assets.cli.interrupts import Interrupted, collect_garbage
from market_assets.clock import Clock, OffsetClock, SystemClock


def simulate(*, host: str, port: int, seed: int, now: datetime | None, latency_ms: int) -> None:
    """Serve until interrupted, which is how it is meant to end."""
    from market_assets.calendars import LAST_DAY
    from market_assets.sources.simulator import serve_forever
    from market_assets.sources.simulator.market import FIRST_TRADE_DAY

    if now is not None and not FIRST_TRADE_DAY <= now.date() <= LAST_DAY:
        raise bad_option("--now", f"the simulated market runs from {FIRST_TRADE_DAY} to {LAST_DAY}")
    clock: Clock = OffsetClock(now) if now is not None else SystemClock()

    def ready(url: str) -> None:
        tell(f"The Yahoo simulator answers on {url}; Ctrl-C stops it. In another terminal:")
        tell(f"  [cyan]YAHOO_BASE_URL={url} {escape(program())} collect[/]")

    collect_garbage()
    try:
        serve_forever(
            clock, seed=seed, host=host, port=port, latency=timedelta(milliseconds=latency_ms), on_ready=ready
        )
    except OSError as error:
        raise CommandFailedError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another --port (0 picks a free one) or --host"
        ) from error
    except Interrupted:
        pass
    tell("The simulator has stopped.")
