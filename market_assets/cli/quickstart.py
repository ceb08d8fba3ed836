"""`market-assets quickstart`: from nothing to a table of features, with or without Yahoo.

Belongs here: choosing between Yahoo and the simulator, and what to do next. Does not belong here: collecting.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.cli.collect import collect_with_progress, report
from market_assets.cli.console import errors, output
from market_assets.cli.features import print_latest
from market_assets.clock import SystemClock
from market_assets.collection.days import DayRange
from market_assets.reading import latest_row
from market_assets.settings import Settings
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from market_assets.store import Store


def quickstart(probe_seconds: float) -> int:
    """Probe Yahoo, collect from it or from the simulator, print the features; return the exit status."""
    settings = Settings.load()
    clock = SystemClock()
    with ExitStack() as stack:
        if settings.yahoo_base_url is None:
            from market_assets.sources.yahoo import YahooSource

            timeout = timedelta(seconds=probe_seconds)
            answer = YahooSource(clock=clock, timeout=timeout).probe(timeout=timeout)
            if not answer.ok:
                settings = _simulated(settings, stack, answer.code or "no answer")
        from market_assets.resources import open_store

        store = open_store(settings)
        stack.callback(store.close)
        return _collect_and_show(settings, store, clock)


def _simulated(settings: Settings, stack: ExitStack, why: str) -> Settings:
    from market_assets.sources.simulator import SimulatorServer

    server = stack.enter_context(SimulatorServer(SystemClock()))
    errors.print(
        f"[yellow]Yahoo does not answer from here[/] ({why}); collecting from the built-in simulator into simulated.db "
        "instead: every row says `simulator`.",
        highlight=False,
        soft_wrap=True,
    )
    # The configured database is left alone: real and simulated rows never mix.
    return settings.simulated_at(server.url)


def _collect_and_show(settings: Settings, store: Store, clock: SystemClock) -> int:
    outcome = collect_with_progress(settings, store, DayRange.of(clock.now()), "quickstart")
    row = latest_row(store, clock.now(), UNIVERSE)
    status = (
        report(outcome) if outcome.record is None or outcome.record.status == "failed" or not outcome.succeeded else 0
    )
    if status:
        return status
    if row is None:
        errors.print("[bold red]Failed.[/] The run ended without a feature row; look at market-assets status.")
        return 1
    print_latest(row, settings, [])
    report(outcome)
    _next_steps(settings, store)
    return 0


def _next_steps(settings: Settings, store: Store) -> None:
    simulated = settings.source_label == "simulator"
    output.print(f"\nSource: {settings.source_label}. Database: {store.describe().url}", highlight=False)
    output.print("\n[bold]What next[/]")
    steps = [
        ("make ui", "open Dagster's UI on http://127.0.0.1:3000; its schedules collect every 30 minutes while it runs"),
        ("market-assets status", "collections, coverage and errors; `doctor` says what to do about a problem"),
        ("market-assets features --start 2026-01-02 -f csv", "a range of rows as CSV, JSON or Parquet"),
        (
            "DATABASE_URL=postgresql+psycopg://user:password@host/db",
            "use PostgreSQL (or mysql+pymysql://...), then `migrate`",
        ),
    ]
    if simulated:
        steps.append(("make run", "again where Yahoo can be reached: it then collects real bars into market.db"))
    for command, text in steps:
        output.print(f"  [cyan]{command}[/]  {text}", highlight=False)
