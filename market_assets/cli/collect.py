"""`market-assets collect`, and the progress bar that `quickstart` shares.

Belongs here: what a person sees of a collection. Does not belong here: the collection.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from market_assets.cli.console import errors, escape, program, say, tell
from market_assets.cli.failures import bad_option
from market_assets.cli.interrupts import collect_garbage, run_stoppable
from market_assets.cli.log import load_settings
from market_assets.cli.words import counted, without_request
from market_assets.clock import SystemClock
from market_assets.collection.days import DayRange
from market_assets.errors import SettingsError
from market_assets.opening import open_store, require_source
from market_assets.stopping import Stop

if TYPE_CHECKING:
    from datetime import date, datetime

    from market_assets.run import RunOutcome
    from market_assets.settings import Settings
    from market_assets.store import CollectionRecord, Store


#: whoever waits for the collection lock looks every second
_BETWEEN_RUNS_SECONDS = 2.5


def collect(start: date | None, end: date | None, accept_deletions: bool) -> int:
    """Collect today or a range of days; return the exit status."""
    settings = load_settings()
    days = _days(settings, SystemClock().now(), start, end)
    store = open_store(settings)
    try:
        if start is None:
            return report(collect_with_progress(settings, store, days, "ad_hoc", accept_deletions=accept_deletions))
        return _backfill(settings, store, days, accept_deletions=accept_deletions)
    finally:
        store.close()


def _backfill(settings: Settings, store: Store, days: DayRange, *, accept_deletions: bool) -> int:
    """Collect `days` in as many runs as the settings want, the oldest first; end with the first that fails."""
    runs = days.split(settings.backfill_days_per_run)
    for number, part in enumerate(runs):
        if number:
            # A tick that waits for the lock takes it now.
            time.sleep(_BETWEEN_RUNS_SECONDS)
        outcome = collect_with_progress(settings, store, part, "backfill", accept_deletions=accept_deletions)
        status = report(outcome)
        if status:
            if number:
                tell(f"Days before {part.first} are collected. Go on with --start {part.first}.")
            return status
    return 0


def collect_with_progress(
    settings: Settings, store: Store, days: DayRange, kind: str, *, accept_deletions: bool = False
) -> RunOutcome:
    """Run the collect job under a progress bar on standard error.

    Raises:
        SourceMismatchError: the database holds rows of another source.
        Interrupted: a signal came.
    """
    require_source(store, settings)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Where no screen is, the log says what the bar would.
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task("Starting Dagster", total=None)

        def moved(done: int, total: int, what: str) -> None:
            doing = f"Collected {what}" if done < total else "Computing features"
            bars.update(task, description=doing, completed=done, total=total)

        stop = Stop()

        def work() -> RunOutcome:
            from market_assets.run import run_collection

            import_module("market_assets.definitions")  # with Dagster
            collect_garbage()
            return run_collection(
                settings,
                store,
                days=days,
                kind=kind,
                accept_deletions=accept_deletions,
                progress=moved,
                stop=stop,
            )

        return run_stoppable(work, stop, "What had been stored is whole; the next collection goes on from there.")


def report(outcome: RunOutcome) -> int:
    """Print what became of the run; return 0 if the features were written, 1 otherwise."""
    record = outcome.record
    if record is None or not outcome.succeeded or record.status == "failed":
        why = without_request(outcome.failure) or "the run ended before it had stored anything."
        tell(f"[bold red]Failed.[/] {escape(why)}")
        tell(
            f"[cyan]{escape(program())} doctor[/] looks for the cause; LOG_LEVEL=DEBUG shows every request. "
            f"Run {outcome.run_id}."
        )
        return 1
    say(_summary(record))
    failed = record.summary["failed"]
    if failed:
        named = ", ".join(f"{name} ({message.partition(':')[0]})" for name, message in failed.items())
        tell(
            f"[yellow]Not collected:[/] {escape(named)}. What needs them is NULL; the next collection asks again, "
            f"and [cyan]{escape(program())} status[/] says more."
        )
    return 0


def _summary(record: CollectionRecord) -> str:
    summary = record.summary
    first, last = summary["first_day"], summary["last_day"]
    features = summary.get("features", {})
    rows = features.get("rows", 0)
    latest = f", the latest with {features['feature_count']} features" if "feature_count" in features else ""
    return (
        f"Collected {len(summary['stored'])} of {summary['tickers']} tickers for "
        f"{first if first == last else f'{first} to {last}'} from {record.source}: "
        f"{counted(rows, 'feature row')}{latest}."
    )


def _days(settings: Settings, now: datetime, start: date | None, end: date | None) -> DayRange:
    today = now.date()
    if start is None:
        if today < settings.collection_start_date:
            raise SettingsError(
                f"COLLECTION_START_DATE={settings.collection_start_date}: lies in the future; today is {today} (UTC)"
            )
        return DayRange(today, today)
    last = end or today
    for option, day in (("--start", start), ("--end", last)):
        if day > today:
            raise bad_option(option, f"{day} lies in the future; today is {today} (UTC)")
        if day < settings.collection_start_date:
            raise bad_option(
                option,
                f"{day} lies before COLLECTION_START_DATE, {settings.collection_start_date}; choose a later day",
            )
    if start > last:
        raise bad_option("--start", f"{start} lies after --end {last}; swap them")
    return DayRange(start, last)
