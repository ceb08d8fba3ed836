"""`market-assets watch`: the eye outside of Dagster.

Belongs here: the loop and what is printed. Does not belong here: a look (`alerts/watching.py`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from market_assets.alerts.targets import targets_of
from market_assets.alerts.watching import Watch
from market_assets.cli.console import escape, program, say, tell
from market_assets.cli.failures import CommandFailedError
from market_assets.cli.interrupts import Interrupted, collect_garbage, run_stoppable
from market_assets.cli.log import load_settings
from market_assets.cli.words import counted
from market_assets.clock import SystemClock
from market_assets.opening import open_existing
from market_assets.stopping import Stop

if TYPE_CHECKING:
    from datetime import timedelta

    from market_assets.alerts.watching import Look


def watch(*, once: bool, every: timedelta) -> int:
    """Look once, or again and again until interrupted, which is how it is meant to end; return the exit status."""
    settings = load_settings()
    if not targets_of(settings):
        tell("[yellow]Nobody is told.[/] Set ALERT_URLS; docs/configuration.md says how.")
    watching = Watch(lambda: open_existing(settings), settings, SystemClock())
    if once:
        try:
            return _report(watching.look())
        finally:
            watching.close()
    stop = Stop()
    # A post that is under way may come to its end.
    stop.on_request(lambda: None)

    def work() -> None:
        collect_garbage()
        while True:
            watching.look()
            try:
                stop.sleep(every.total_seconds())
            except KeyboardInterrupt:
                watching.close()
                return

    say(f"Watching every {every.total_seconds():g} s; Ctrl-C stops it.")
    with suppress(Interrupted):
        run_stoppable(work, stop, "")
    tell("The watch has stopped.")
    return 0


def _report(look: Look) -> int:
    if look.trouble:
        raise CommandFailedError(f"{look.trouble} ({program()} doctor looks at each part)")
    say(f"To be told now: {escape(look.message.title)}" if look.message else "Nothing new is to be told.")
    if look.delivered is None:
        return 0
    for posted in look.delivered.posts:
        if posted.ok:
            say(f"[green]ok[/]   posted to {escape(posted.target)}")
        else:
            say(f"[red]FAIL[/] {escape(posted.target)}: {escape(posted.error)}")
    if look.delivered.waiting:
        say(f"Waiting: {counted(look.delivered.waiting, 'message')}; {escape(program())} alerts log shows them.")
    return 0 if all(posted.ok for posted in look.delivered.posts) else 1
