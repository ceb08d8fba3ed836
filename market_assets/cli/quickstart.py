"""`market-assets quickstart`: from nothing to a table of features, with or without Yahoo.

Belongs here: choosing between Yahoo and the simulator, and what to do next. Does not belong here: collecting.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.cli.collect import collect_with_progress, report
from market_assets.cli.console import escape, output, program, say, tell
from market_assets.cli.failures import CommandFailedError
from market_assets.cli.feature_table import print_latest
from market_assets.cli.log import load_settings
from market_assets.clock import SystemClock
from market_assets.collection.days import DayRange
from market_assets.opening import database_file, open_store
from market_assets.reading import latest_row
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from datetime import date

    from market_assets.settings import Settings
    from market_assets.sources.yahoo import Reachability
    from market_assets.store import Store

#: a probe that fails like this will not fare better in a collection; other failures may be about its one ticker
_OUT_OF_REACH = frozenset({"unavailable", "timeout"})
_WORDS = {
    "unavailable": "no connection",
    "timeout": "no answer",
    "rate_limited": "rate limited",
    "auth": "cookie refused",
    "empty": "no data",
    "malformed": "not Yahoo's answer",
}


def quickstart(probe_seconds: float) -> int:
    """Probe Yahoo, collect from it or from the simulator, print the features; return the exit status."""
    settings = load_settings()
    with ExitStack() as stack:
        answer = _probe(settings, probe_seconds)
        if settings.yahoo_base_url is not None:
            if answer.code in _OUT_OF_REACH:
                raise CommandFailedError(
                    f"YAHOO_BASE_URL={settings.yahoo_base_url} does not answer ({_why(answer)}); "
                    f"start that server ({program()} simulate), or unset YAHOO_BASE_URL"
                )
        elif not answer.ok:
            settings = _simulated(settings, stack, _why(answer))
        store = open_store(settings)
        stack.callback(store.close)
        return _collect_and_show(settings, store)


def _probe(settings: Settings, seconds: float) -> Reachability:
    from market_assets.sources.yahoo import YahooSource

    timeout = timedelta(seconds=seconds)
    source = YahooSource(clock=SystemClock(), base_url=settings.yahoo_base_url, timeout=timeout)
    return source.probe(timeout=timeout)


def _why(answer: Reachability) -> str:
    return _WORDS.get(answer.code or "", answer.code or "no answer")


def _simulated(settings: Settings, stack: ExitStack, why: str) -> Settings:
    from market_assets.sources.simulator import SimulatorServer

    server = stack.enter_context(SimulatorServer(SystemClock()))
    # The configured database is left alone: real and simulated rows never mix.
    simulated = settings.simulated_at(server.url)
    # One line of at most 80 characters.
    tell(f"[yellow]Yahoo cannot be reached[/] ({why}): simulating it into {simulated.sqlalchemy_url.database}.")
    return simulated


def _collect_and_show(settings: Settings, store: Store) -> int:
    clock = SystemClock()
    outcome = collect_with_progress(settings, store, DayRange.of(clock.now()), "quickstart")
    row = latest_row(store, clock.now(), UNIVERSE)
    if row is None or not outcome.succeeded:
        return report(outcome) or 1
    print_latest(row, settings, [], store.source(), clock.now())
    status = report(outcome)
    if status == 0:
        _tell_next(settings, store, row.observed_at.date())
    return status


def _tell_next(settings: Settings, store: Store, day: date) -> None:
    say(f"Database: {escape(str(database_file(settings) or store.database.redacted_url))}")
    say("\n[bold]What next[/]")
    run, minutes = program(), settings.collection_interval_minutes
    look = [f"{run} features", f"{run} features --start {day} --out features.csv", f"{run} status"]
    ui = f"Collect every {minutes} minutes while the UI runs on http://127.0.0.1:3000:"
    if settings.source_label == "simulator":
        _step("Go on with simulated rows; the simulator runs in another terminal:", [f"{run} simulate"])
        _step("", ["export YAHOO_BASE_URL=http://127.0.0.1:8765", *look])
        _step(ui, ["make ui"])
        _step("Collect real bars into market.db, where Yahoo can be reached:", ["unset YAHOO_BASE_URL", "make run"])
    else:
        _step("Look again, write a range to a file, see what was collected:", look)
        _step(ui, ["make ui"])
    _step(
        "Use PostgreSQL (or mysql+pymysql://...) instead of a file:",
        ["export DATABASE_URL=postgresql+psycopg://user:password@host/database", f"{run} migrate"],
    )


def _step(why: str, commands: list[str]) -> None:
    if why:
        say(f"  {why}")
    for command in commands:
        # Never wrapped, so that it can be copied.
        output.print(f"    [cyan]{escape(command)}[/]", soft_wrap=True)
